# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Restart do
  @moduledoc false
  # A Daemon with `:restart_backoff` stays when its program is over, rests for a while, and starts it again.

  alias MuonTrap.Daemon
  alias MuonTrap.Daemon.{Backoff, Launch, Output, Ready, Report, State, Waiting}
  alias MuonTrap.{Stdin, Text}

  @doc "Whether the program is started again after what would be this stop reason."
  @spec again?(State.t(), term()) :: boolean()
  # A failed start is whoever's who waits for it.
  def again?(%{starting?: true}, _reason), do: false
  def again?(%{options: %{restart_backoff: nil}}, _reason), do: false
  def again?(%{options: %{restart_backoff: %{on: :failure}}}, :normal), do: false
  def again?(_state, _reason), do: true

  @doc "Forgets the program that is over, and asks for the message `{:timeout, timer, :again}`."
  @spec rest(State.t(), term()) :: State.t()
  def rest(%{options: options} = state, reason) do
    backoff = options.restart_backoff
    failures = if healthy?(state, backoff), do: 1, else: state.failures + 1
    delay_ms = Backoff.delay_ms(backoff, failures)
    tell(state, reason, failures, delay_ms)
    Ready.close(state.socket)
    until_ms = State.now_ms() + delay_ms

    %{
      state
      | phase: :resting,
        failures: failures,
        timer: State.start_timer(delay_ms, :again),
        waiting: Waiting.put(options, until_ms),
        output: Output.forget(state.output),
        # Nobody reads what is written now.
        stdin: Stdin.new(:null),
        ready: :ready,
        command: nil,
        socket: nil,
        notify: nil,
        os_pid: nil,
        since_ms: nil,
        ended: nil
    }
  end

  defp healthy?(%{since_ms: nil}, _backoff), do: false

  defp healthy?(state, backoff),
    do: state.ready == :ready and State.now_ms() - state.since_ms >= backoff.healthy_after

  defp tell(%{options: options, ended: ended}, reason, failures, delay_ms) do
    command = Text.repair(options.command)
    # The end of a program is told already.
    if ended == nil, do: Daemon.log(:error, "#{command}: #{text(reason)}")
    times = if failures == 1, do: "", else: ", after #{failures} failures in a row"
    Daemon.log(:info, "#{command}: Process starts again in #{Report.duration(delay_ms)}#{times}")
  end

  defp text(error) when is_exception(error), do: Exception.message(error)

  # Where it was raised is what the process says that raised it.
  defp text({error, [_ | _]}) when is_exception(error), do: Exception.format_banner(:error, error)
  defp text(reason), do: Exception.format_exit(reason)

  @doc """
  Waits for what is to be waited for before a start, in a process of its own: `:wait_for`, then room. The result of the
  first is of no interest, that of the second comes as `{ref, {room, since_ms}}`.
  """
  @spec prepare(State.t()) :: State.t()
  def prepare(%{options: %{wait_for: nil}} = state), do: make_room(state)

  # Nothing of this module is on its stack. It may wait for hours, and whoever runs code that is purged is killed.
  def prepare(%{options: options} = state),
    do: %{state | wait_task: {:wait_for, Task.async(options.wait_for)}}

  @doc "Waits for room only."
  @spec make_room(State.t()) :: State.t()
  def make_room(%{options: options} = state) do
    since_ms = State.now_ms()
    task = Task.async(fn -> {Launch.await_room(options, nil), since_ms} end)
    %{state | wait_task: {:room, task}}
  end

  @doc "The rest is over."
  @spec begin(State.t()) :: State.t()
  def begin(state),
    do: prepare(%{state | phase: :waiting, timer: nil, restarts: state.restarts + 1})
end
