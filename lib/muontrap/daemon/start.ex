# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Start do
  @moduledoc false
  # The start of a program by its Daemon, and what the Daemon hears meanwhile.

  alias MuonTrap.Daemon.{Flow, Kept, Launch, Notify, Ready, State, Waiting}
  alias MuonTrap.{Error, Input, Late, Stdin}

  @doc """
  Starts the program. The time to become ready counts from `since_ms`, when nothing but the program was to be waited
  for.
  """
  @spec launch(State.t(), integer()) :: {:ok, State.t()} | {:error, Error.t()}
  def launch(state, since_ms) do
    options = Kept.get(state.kept)

    with {:ok, ready} <- Ready.new(options) do
      case Launch.start(options, ready) do
        {:ok, command} ->
          {:ok, started(%{state | command: command, ready: ready}, options, since_ms)}

        {:error, error} ->
          ready |> Ready.socket() |> Ready.close()
          {:error, error}
      end
    end
  end

  defp started(%{command: command, ready: ready} = state, options, since_ms) do
    left_ms = left(options.start_timeout, since_ms)
    # What was written before a first start is for this program.
    stdin = if state.restarts == 0, do: state.stdin, else: Stdin.new(options.stdin)
    Waiting.delete(state.waiting)

    %{
      state
      | phase: :starting,
        options: State.visible(options),
        kept: keep(state.kept, options),
        input: options.input |> Input.new(command) |> Input.write(command.handle),
        stdin: Stdin.write(stdin, command),
        socket: Ready.socket(ready),
        notify: if(options.ready == :notify, do: %Notify{}),
        timer: if(ready != :ready, do: Late.start(left_ms, :start_timeout)),
        waiting: nil
    }
  end

  # The input was handed over, and may be large. Most Daemons need nothing of it any more.
  defp keep(kept, %{restart_backoff: nil} = options) do
    if Enum.any?(options.stop || [], &match?({{_command, _args}, _pause_ms}, &1)),
      do: Kept.put(kept, %{options | input: nil}),
      else: Kept.drop(kept)
  end

  defp keep(kept, _options), do: kept

  defp left(:infinity, _since_ms), do: :infinity
  defp left(timeout_ms, since_ms), do: max(timeout_ms - (State.now_ms() - since_ms), 0)

  @doc """
  Waits until the program runs, and is ready if that was asked for. `handle` handles a message as `handle_info/2` does.

  Calls stay in the mailbox until `init/1` has returned. No output comes before the program runs, so the start waits
  for nothing but the start; after that output is handled here only as long as somebody waits for the program to
  become ready, and logged only when nothing else is to be heard.
  """
  @spec await(State.t(), (term(), State.t() -> reply)) :: {:ok, State.t()} | reply
        when reply: {:noreply, State.t()} | {:stop, term(), State.t()}
  def await(%{phase: phase, ready: :ready} = state, _handle) when phase != :starting,
    do: {:ok, state}

  def await(%{command: %{ref: ref}, socket: socket} = state, handle) do
    case news(ref, socket, if(Flow.idle?(state), do: :infinity, else: 0)) do
      nil -> state |> Flow.log() |> await(handle)
      message -> with {:noreply, state} <- handle.(message, state), do: await(state, handle)
    end
  end

  defp news(ref, socket, patience) do
    receive do
      {:muontrap, ^ref, _event} = message ->
        message

      {:EXIT, pid, reason} ->
        {:EXIT, pid, if(pid == Launch.parent(), do: {:shutdown, reason}, else: reason)}

      {:udp, ^socket, _address, _port, _data} = message ->
        message

      {:timeout, _timer, {about, _due, _wait}} = message
      when about in [:start_timeout, :watchdog] ->
        message

      {task_ref, _result} = message when is_reference(task_ref) ->
        message

      {:DOWN, _monitor, :process, _pid, _reason} = message ->
        message
    after
      patience -> nil
    end
  end
end
