# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Ending do
  @moduledoc false
  # The end of a program that its Daemon stops: asks it, waits, and logs what it says meanwhile.

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Command, Input, Nif}
  alias MuonTrap.Daemon.{Flow, Launch, Orders, State}

  @margin_ms Launch.margin_ms()
  # How much longer than its grace a program may ask to stop for; a supervisor waits that long.
  @extension_ms 9_000

  @doc "Stops a program that runs, and returns when nothing of it is left."
  @spec stop(State.t()) :: State.t()
  def stop(%{command: command, notify: notify} = state) do
    # A second order to stop can only shorten the grace, so a program that may ask for more gets it at first.
    more_ms = if notify, do: @extension_ms, else: 0
    Nif.stop(command.handle, command.grace_ms + more_ms)
    drain(state, State.now_ms() + command.grace_ms + if(notify, do: 0, else: @margin_ms))
  catch
    kind, reason ->
      Command.abort(command)
      :erlang.raise(kind, reason, __STACKTRACE__)
  end

  # A program that keeps talking gets no more time by that. What it wrote is logged to its end, as long as that
  # takes: a supervisor that does not want to wait kills the Daemon.
  defp drain(state, deadline) do
    if state.notify && State.now_ms() >= deadline,
      do: overdue(state),
      else: hear_end(state, deadline)
  end

  defp hear_end(%{command: %{ref: ref} = command} = state, deadline) do
    idle? = Flow.idle?(state)
    patience_ms = if idle?, do: max(deadline - State.now_ms(), 0), else: 0

    receive do
      {:muontrap, ^ref, {stream, lines, bytes}} when stream in [:stdout, :stderr] ->
        drain(Flow.take(state, stream, lines, bytes), deadline)

      {:muontrap, ^ref, terminal} when is_terminal(terminal) ->
        Command.report(command, terminal)
        over(state)

      {:muontrap, ^ref, _started_or_about_input} ->
        drain(state, deadline)

      {:udp, socket, _address, _port, datagram} ->
        {_alive, state} = Orders.take(state, socket, datagram)
        drain(state, Orders.extended(deadline, datagram))
    after
      patience_ms -> if idle?, do: overdue(state), else: state |> Flow.log() |> drain(deadline)
    end
  end

  # The grace of a program that may have asked for more is over.
  defp overdue(%{command: command, notify: notify} = state) when notify != nil do
    Nif.stop(command.handle, 0)
    drain(%{state | notify: nil}, State.now_ms() + @margin_ms)
  end

  # Only after a crash between an event and its acknowledgement.
  defp overdue(state) do
    Command.abort(state.command)
    over(state)
  end

  @doc "Puts away what only a program that runs needs, and logs the last of its output."
  @spec over(State.t()) :: State.t()
  def over(state) do
    Input.close(state.input)
    state = Flow.log(state, :all)
    for timer <- [state.timer, state.watchdog], timer, do: :erlang.cancel_timer(timer)
    %{state | phase: :over, input: nil, timer: nil, watchdog: nil}
  end
end
