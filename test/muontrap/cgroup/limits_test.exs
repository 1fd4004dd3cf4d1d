# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.LimitsTest do
  use MuonTrap.Case

  import ExUnit.CaptureLog
  import MuonTrap.Cgroups
  import MuonTrap.Trees, only: [program: 1]

  alias MuonTrap.{Cgroup, Command, Error}

  @moduletag :cgroup

  defp path(name), do: Path.join(base(), "#{name}-#{System.unique_integer([:positive])}")

  defp ended(command) do
    case Command.next(command, :infinity) do
      {{:ended, outcome}, _command} -> outcome
      {{stream, _bytes}, command} when stream in [:stdout, :stderr] -> ended(command)
    end
  end

  defp memory(bytes) do
    # Without it the program would be swapped out instead.
    case MuonTrap.cmd("true", [],
           cgroup_base: base(),
           cgroup: %{memory_max: bytes, memory_swap_max: 0}
         ) do
      {"", 0} -> %{memory_max: bytes, memory_swap_max: 0}
    end
  rescue
    Error -> %{memory_max: bytes}
  end

  test "a limit without room for the program ends it, and is named" do
    if offers?(["memory"]) do
      for limit <- ["8192", "0"] do
        opts = [
          cgroup_controllers: ["memory"],
          cgroup_path: path("tiny"),
          cgroup_sets: [{"memory", "memory.limit_in_bytes", limit}]
        ]

        log = capture_log(fn -> assert {"", 137} = MuonTrap.cmd("echo", ["hello"], opts) end)
        assert log =~ ~r/the memory limit of its cgroup .*memory\.\w+ is #{limit} bytes/

        result = MuonTrap.run("echo", ["hello"], opts)
        assert %{oom_killed: true, os_pid: nil, status: {:signaled, :sigkill}} = result
        assert MuonTrap.list() == []

        Process.flag(:trap_exit, true)
        {:error, error} = MuonTrap.Daemon.start_link("echo", ["hello"], opts)
        assert Exception.message(error) =~ "is #{limit} bytes"
        # Since OTP 26 the start takes it out of the mailbox.
        receive(do: ({:EXIT, _daemon, {:shutdown, ^error}} -> :ok), after: (0 -> :ok))
      end

      # What is too much for any program says so as ever.
      opts = [cgroup_base: base(), cgroup: memory(64 * 1024 * 1024)]
      long = String.duplicate("a", 200_000)
      assert_raise ErlangError, ~r/:e2big/, fn -> MuonTrap.cmd("echo", [long], opts) end
    end
  end

  test "a program that takes 200 MB under a limit of 64 MB is killed and reported" do
    if offers?(["memory"]) do
      limit = memory(64 * 1024 * 1024)
      opts = [cgroup_base: base(), cgroup: limit]
      assert {"", 137} = MuonTrap.cmd(program("allocate"), ["200"], opts)

      assert %{oom_killed: true, status: {:signaled, :sigkill}, exit_status: 137, survivors: []} =
               MuonTrap.run(program("allocate"), ["200"], opts)

      Process.flag(:trap_exit, true)
      {:ok, daemon} = MuonTrap.Daemon.start_link(program("allocate"), ["200"], opts)
      assert_receive {:EXIT, ^daemon, {:oom_killed, 137}}

      {command, plan} =
        start(program("allocate"), ["200"], cgroup_path: path("oom"), cgroup: limit)

      assert %{oom_killed: true, status: {:signaled, 9}, survivors: [], leftovers: []} =
               ended(command)

      assert Cgroup.statistics(plan) == %{}

      {command, plan} =
        start(program("allocate"), ["8"], cgroup_path: path("fits"), cgroup: limit, ready: true)

      stats = Cgroup.statistics(plan)
      assert stats.memory_current in (8 * 1024 * 1024)..(64 * 1024 * 1024)
      assert stats.memory_events.oom_kill == 0
      # memory.peak exists since Linux 5.19.
      assert Map.get(stats, :memory_peak, stats.memory_current) >= 8 * 1024 * 1024
      assert {:ended, %{oom_killed: false}} = Command.abort(command)
    end
  end

  test "an OOM kill of a child is reported, too" do
    if offers?(["memory"]) do
      opts = [cgroup_path: path("oom"), cgroup: memory(64 * 1024 * 1024)]
      script = "#{program("allocate")} 200; exit 3"
      {command, _plan} = start("sh", ["-c", script], opts)
      assert %{oom_killed: true, status: {:exited, 3}} = ended(command)

      assert %{oom_killed: true, status: {:exited, 3}} = MuonTrap.run("sh", ["-c", script], opts)
      assert %{oom_killed: false} = MuonTrap.run("sh", ["-c", "exit 3"], opts)
    end
  end

  test "a busy loop under a quota of 20 % gets 20 % of the CPU, and the throttling is counted" do
    if offers?(["cpu"]) do
      opts = [cgroup_path: path("burn"), cgroup: %{cpu_max: {20_000, 100_000}}]
      {command, plan} = start(program("burn"), [], opts)
      throttled? = fn times -> fn -> cpu_stat(plan).nr_throttled >= times end end
      eventually(throttled?.(1))

      since_us = System.monotonic_time(:microsecond)
      from = cpu_stat(plan)
      eventually(throttled?.(from.nr_throttled + 30))
      until = cpu_stat(plan)
      periods = (System.monotonic_time(:microsecond) - since_us) / 100_000

      # At both ends there is a period that counts in part. What a busy machine does not give, it does not get.
      quotas = (until.usage_usec - from.usage_usec) / 20_000
      assert quotas < 1.1 * (periods + 2)
      assert quotas > 0.8 * (until.nr_throttled - from.nr_throttled)
      assert until.throttled_usec > from.throttled_usec
      assert Cgroup.config(plan).cpu_max == {20_000, 100_000}
      assert {:ended, %{survivors: [], leftovers: []}} = Command.abort(command)
    end
  end

  defp cpu_stat(plan), do: Cgroup.statistics(plan).cpu_stat

  test "a fork bomb under pids_max: 50 is dead as soon after the stop as a tree that does not grow" do
    if offers?(["pids"]) do
      {bombs_us, trees_us} =
        Enum.unzip(for _ <- 1..5, do: {stop_us("fork_bomb", 50), stop_us("mixed_tree", 100)})

      assert Enum.min(bombs_us) < 5 * Enum.max(trees_us), inspect({bombs_us, trees_us})
    end
  end

  # How long it takes until a tree of 50 is dead.
  defp stop_us(program, pids_max) do
    opts = [cgroup_path: path("bomb"), cgroup: %{pids_max: pids_max}, delay_to_sigkill: 0]
    {command, plan} = start(program(program), ["50"], [ready: true] ++ opts)
    # pids.peak exists since Linux 6.1.
    if program == "fork_bomb", do: assert(Map.get(Cgroup.statistics(plan), :pids_peak, 50) == 50)
    {:ok, procs} = Cgroup.get(plan, "cgroup.procs")
    assert length(String.split(procs)) > 25
    {us, {:ended, %{survivors: [], leftovers: []}}} = :timer.tc(fn -> Command.abort(command) end)
    refute File.exists?(hd(plan.groups).path)
    us
  end

  test "forks that pids_max refuses are counted" do
    if offers?(["pids"]) do
      opts = [cgroup_path: path("forks"), cgroup: %{pids_max: 5}]
      script = "for i in 1 2 3 4 5 6 7 8; do (sleep 100 &) & done; sleep 100"
      # The last one does not fork: it is refused as well.
      {command, plan} = start("sh", ["-c", "sh -c '#{script}' 2>/dev/null; exec sleep 100"], opts)
      eventually(fn -> Cgroup.statistics(plan)[:pids_events][:max] not in [0, nil] end)
      assert {:ended, %{survivors: [], leftovers: []}} = Command.abort(command)
    end
  end
end
