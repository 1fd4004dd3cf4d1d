# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Bench.Death do
  @moduledoc "From the death of an owner to the end of what it ran."

  alias Bench.Programs
  alias MuonTrap.Daemon

  @variable "MUONTRAP_BENCH"

  @doc """
  Starts a Daemon, kills it, and returns after how many ms none of its processes ran any more. `watcher` is the program
  `watch`.
  """
  @spec of_owner(port(), String.t(), [String.t()], keyword()) :: float()
  def of_owner(watcher, program, args, opts) do
    token = token()
    {:ok, daemon} = Daemon.start_link(program, args, [env: [{@variable, token}]] ++ opts)
    Process.unlink(daemon)
    "watching" = Programs.ask(watcher, "watch #{await_carrying(token)}")
    start = monotonic_ns()
    Process.exit(daemon, :kill)
    [ended] = watcher |> Programs.answer() |> Programs.numbers()
    Bench.await(fn -> MuonTrap.list() == [] end)
    (ended - start) / 1.0e6
  end

  @doc "The floor: the same processes below a bare Port, killed by the watcher itself, one after the other."
  @spec of_processes(port(), String.t(), [String.t()], (port() -> term())) :: float()
  def of_processes(watcher, program, args, await_ready) do
    token = token()
    env = [{String.to_charlist(@variable), String.to_charlist(token)}]
    port = Port.open({:spawn_executable, program}, [:binary, :exit_status, args: args, env: env])
    await_ready.(port)
    [ns] = watcher |> Programs.ask("kill #{await_carrying(token)}") |> Programs.numbers()
    receive(do: ({^port, {:exit_status, _status}} -> :ok))
    ns / 1.0e6
  end

  defp token, do: "bench-#{System.pid()}-#{System.unique_integer([:positive])}-end"

  # Before execve(2) a process has the environment of the VM, and within it for a moment none.
  defp await_carrying(token, patience_ms \\ 60_000) do
    case carrying(token) do
      "" when patience_ms < 0 -> raise "nothing runs that has #{token} in its environment"
      "" -> receive(after: (5 -> await_carrying(token, patience_ms - 5)))
      pids -> pids
    end
  end

  # Wherever they have gone, they keep their environment.
  defp carrying(token) do
    pids =
      for name <- File.ls!("/proc"),
          {pid, ""} <- [Integer.parse(name)],
          {:ok, environment} <- [File.read("/proc/#{pid}/environ")],
          String.contains?(environment, token),
          do: pid

    Enum.join(pids, " ")
  end

  # The clock of the watcher. What the VM calls monotonic time begins elsewhere.
  defp monotonic_ns do
    source = :erlang.system_info(:os_monotonic_time_source)
    System.convert_time_unit(source[:time], :native, :nanosecond)
  end
end
