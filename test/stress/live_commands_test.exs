# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Stress.LiveCommandsTest do
  @moduledoc "Thousands of commands that run do not slow down a new one: measured by what the spawner does for it."

  use ExUnit.Case

  alias MuonTrap.{Cgroups, Command, Counts, Nif, Options}

  @moduletag :stress
  @moduletag timeout: 600_000

  @live 5_000
  @runs 400

  # With the kernel's search through all children, or a loop over them, it was ten times as much.
  @bound 2.5

  # Too large for a shim that has others to serve, so the spawner forks one.
  @large [env: [{"LARGE", String.duplicate("x", 20_000)}]]

  setup do: Counts.unchanged()

  test "#{@live} that run cost the spawner next to nothing for each new one" do
    assert {"", 0} = MuonTrap.cmd("true", [])

    if cpu_ns() || Cgroups.announce("the kernel does not count the CPU time of a process") do
      options = Options.validate!(:cmd, "sleep", ["1000"], [])
      _warm = cost(@large)
      few = best_cost(@large)

      commands =
        for _ <- 1..@live do
          {:ok, command} = Command.start(options, {:null, :null, :null})
          command
        end

      assert length(MuonTrap.list()) == @live
      many = best_cost(@large)
      # A shim that is ready does without the spawner.
      ready = best_cost([])

      Enum.each(commands, &Command.stop/1)
      for command <- commands, do: assert({:ended, _outcome} = Command.abort(command))
      assert many < few * @bound, inspect(few: few, many: many)
      assert ready < few / 10, inspect(few: few, ready: ready)
    end
  end

  # What others do on the machine only ever adds to it.
  defp best_cost(opts), do: Enum.min(for _ <- 1..5, do: cost(opts))

  defp cost(opts) do
    before = cpu_ns()
    for _ <- 1..@runs, do: {"", 0} = MuonTrap.cmd("true", [], opts)
    (cpu_ns() - before) / @runs
  end

  # Of the spawner, see Documentation/scheduler/sched-stats.rst of the kernel.
  defp cpu_ns do
    with {:ok, statistics} <- File.read("/proc/#{Nif.spawner_pid()}/schedstat"),
         {ns, _rest} when ns > 0 <- Integer.parse(statistics) do
      ns
    else
      _unknown -> nil
    end
  end
end
