# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Ending do
  @moduledoc false
  # The end of a program that its Daemon stops: asks it, in one or several steps, waits after each, and logs what it says
  # meanwhile.

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Command, Handle, Input, Late, Nif}
  alias MuonTrap.Daemon.{Flow, Kept, Launch, Orders, Reload, State, StopCommand}

  @margin_ms Launch.margin_ms()
  # How much longer than its grace a program may ask to stop for; a supervisor waits that long.
  @extension_ms 9_000

  # steps: what to do when the deadline has passed, and how long to wait after that; latest: the last deadline that a
  # program gets by asking for it; spare_ms: how much longer this step may take if it is heard of late that its time is
  # over; commands: that run meanwhile
  @enforce_keys [:steps, :latest]
  defstruct [:steps, :latest, :deadline, :spare_ms, commands: []]

  @doc "Stops a program that runs, and returns when nothing of it is left."
  @spec stop(State.t()) :: State.t()
  def stop(%{command: command} = state) do
    steps = if Handle.closed?(command.handle), do: kill(), else: steps(state, command.grace_ms)
    [{_kill, _margin_ms} | asked] = Enum.reverse(steps)
    asked_ms = Enum.sum(for {_act, pause_ms} <- asked, do: pause_ms)
    plan = %__MODULE__{steps: steps, latest: State.now_ms() + asked_ms + @extension_ms}
    step(state, plan)
  catch
    kind, reason ->
      Command.abort(command)
      :erlang.raise(kind, reason, __STACKTRACE__)
  end

  # What does not run yet can only be stopped by what starts it.
  defp steps(%{phase: :running, options: %{stop: [_first | _more] = steps}}, grace_ms) do
    acts = for {act, pause_ms} <- steps, do: {act, pause_ms || grace_ms}
    acts ++ kill()
  end

  defp steps(%{notify: nil}, grace_ms), do: [{{:stop, grace_ms}, grace_ms + @margin_ms}]

  # A second order to stop can only shorten the grace, so a program that may ask for more gets it at first.
  defp steps(_state, grace_ms),
    do: [{{:stop, grace_ms + @extension_ms}, grace_ms} | kill()]

  # All there is to do about a program that has ended, too.
  defp kill, do: [{{:stop, 0}, @margin_ms}]

  defp step(state, %{steps: [{act, pause_ms} | later]} = plan) do
    commands = act(act, pause_ms, state) ++ plan.commands
    deadline = State.now_ms() + pause_ms
    plan = %{plan | steps: later, commands: commands, deadline: deadline, spare_ms: pause_ms}
    drain(state, plan)
  end

  # Only after a crash between an event and its acknowledgement.
  defp step(state, %{steps: []} = plan) do
    Command.abort(state.command)
    finish(state, plan)
  end

  defp act({:stop, grace_ms}, _pause_ms, %{command: command}) do
    Nif.stop(command.handle, grace_ms)
    []
  end

  defp act({_program, _args} = command, pause_ms, state),
    do: [StopCommand.start(command, Kept.get(state.kept), state.os_pid, pause_ms)]

  defp act(signal, _pause_ms, %{command: command}) do
    # What has ended by now has done what was wanted.
    _ = Nif.signal(command.handle, signal)
    []
  end

  # A program that keeps talking gets no more time by that. What it wrote is logged to its end, as long as that
  # takes: a supervisor that does not want to wait kills the Daemon.
  defp drain(state, %{steps: steps, deadline: deadline} = plan) do
    if steps != [] and State.now_ms() >= deadline,
      do: in_vain(state, plan),
      else: hear_end(state, plan)
  end

  defp hear_end(%{command: %{ref: ref} = command, socket: socket} = state, plan) do
    idle? = Flow.idle?(state)

    # The Daemon has failed in handling the terminal event, as by what a function given has raised.
    heard? = Handle.closed?(command.handle)
    patience_ms = if idle? and not heard?, do: left_ms(plan), else: 0

    receive do
      {:muontrap, ^ref, {stream, lines, bytes}} when stream in [:stdout, :stderr] ->
        drain(Flow.take(state, stream, lines, bytes), plan)

      {:muontrap, ^ref, terminal} when is_terminal(terminal) ->
        Command.report(command, terminal)
        finish(state, plan)

      {:muontrap, ^ref, _started_or_about_input} ->
        drain(state, plan)

      {:udp, ^socket, _address, _port, datagram} ->
        {_alive, state} = Orders.take(state, socket, datagram)
        drain(state, extend(plan, datagram))
    after
      patience_ms ->
        cond do
          not idle? -> state |> Flow.log() |> drain(plan)
          heard? -> finish(state, plan)
          true -> in_vain(state, plan)
        end
    end
  end

  defp left_ms(plan), do: Late.at_once_ms(max(plan.deadline - State.now_ms(), 0))

  defp in_vain(state, plan) do
    if State.now_ms() < plan.deadline, do: hear_end(state, plan), else: late(state, plan)
  end

  defp late(state, plan) do
    case Late.more_ms(plan.deadline, plan.spare_ms) do
      0 -> step(state, plan)
      more_ms -> hear_end(state, longer(plan, more_ms))
    end
  end

  # What a program may ask for counts from where it stood still, too.
  defp longer(%{latest: latest, spare_ms: spare_ms} = plan, more_ms) do
    deadline = State.now_ms() + more_ms
    %{plan | deadline: deadline, latest: latest + more_ms, spare_ms: spare_ms - more_ms}
  end

  # Nobody waits any longer for what gets SIGKILL.
  defp extend(%{steps: []} = plan, _datagram), do: plan

  defp extend(plan, datagram),
    do: %{plan | deadline: max(plan.deadline, min(extended(plan, datagram), plan.latest))}

  defp extended(plan, datagram), do: Orders.extended(plan.deadline, datagram)

  defp finish(state, plan) do
    {_said, state} = Orders.take_last(state)
    state = over(state)

    for command <- plan.commands,
        do: StopCommand.await(command, plan.latest - State.now_ms() + @margin_ms)

    state
  end

  @doc "Puts away what only a program that runs needs, and logs the last of its output."
  @spec over(State.t()) :: State.t()
  def over(state) do
    Input.close(state.input)
    state = state |> Flow.log(:all) |> Flow.tell_dropped() |> Reload.over()
    for timer <- [state.timer, state.watchdog], timer, do: :erlang.cancel_timer(timer)
    %{state | phase: :over, input: nil, timer: nil, watchdog: nil}
  end
end
