# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Launch do
  @moduledoc false
  # The start of a Daemon's program: after whoever was there before.

  alias MuonTrap.Daemon.{Ready, Streams}
  alias MuonTrap.{Command, Error, Late, Native, Nif, Options}

  require Logger

  # The kernel needs time to tear a big tree down.
  @margin_ms 10_000

  @doc "How much longer than its grace a stop can take."
  @spec margin_ms() :: pos_integer()
  def margin_ms, do: @margin_ms

  @doc """
  Waits until the same command of a Daemon that was killed is gone, and until the port is free that tells of
  readiness. The caller gets messages meanwhile; the end of `parent` ends the wait.
  """
  @spec await_room(Options.t(), pid() | nil) :: :ok | {:error, Error.t()}
  def await_room(options, parent) do
    await_predecessors(options)
    Ready.await_free(options, parent)
  end

  # A Daemon that was killed could not wait for the end of its program. The native part may not have
  # noticed yet that it died.
  defp await_predecessors(%{command: command, args: args} = options) do
    deadline = now_ms() + options.delay_to_sigkill + @margin_ms

    for id <- Native.predecessors(command, args), Nif.notify_gone(id) do
      receive do
        {:muontrap_gone, ^id} -> :ok
      after
        Late.at_once_ms(max(deadline - now_ms(), 0)) ->
          Logger.error(
            "#{inspect(command)} is started again although that of a killed Daemon still runs: " <>
              "MuonTrap.list/0 shows both"
          )
      end
    end
  end

  @doc "Starts the program, which the caller owns."
  @spec start(Options.t(), Ready.t()) :: {:ok, Command.t()} | {:error, Error.t()}
  def start(options, ready) do
    {stdout, stderr} = Streams.outputs(options)
    stdin = if options.stdin == :pipe or options.input, do: :pipe, else: :null
    env = Ready.env(ready, options.watchdog)
    more = [announce: true, lines: Streams.lines(options), env: env]
    Command.start(options, {stdin, stdout, stderr}, more)
  end

  @doc "The process that started the caller, a GenServer."
  @spec parent() :: pid() | nil
  def parent do
    case Process.get(:"$ancestors") do
      [pid | _rest] when is_pid(pid) -> pid
      [name | _rest] when is_atom(name) -> Process.whereis(name)
      _none -> nil
    end
  end

  defp now_ms, do: System.monotonic_time(:millisecond)
end
