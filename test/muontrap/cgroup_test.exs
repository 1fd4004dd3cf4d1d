# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.CgroupTest do
  use ExUnit.Case

  import MuonTrap.Cgroups
  import MuonTrap.Trees, only: [program: 1]

  alias MuonTrap.{Cgroup, Command, Error}

  @moduletag :cgroup
  @moduletag timeout: 180_000

  setup do
    before = groups()

    on_exit(fn ->
      assert MuonTrap.list() == []
      assert groups() == before
    end)
  end

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

  test "a program that takes 200 MB under a limit of 64 MB is killed and reported" do
    if offers?(["memory"]) do
      limit = memory(64 * 1024 * 1024)
      opts = [cgroup_base: base(), cgroup: limit]
      assert {"", 137} = MuonTrap.cmd(program("allocate"), ["200"], opts)

      assert %{oom_killed: true, status: {:signaled, :sigkill}, exit_status: 137, survivors: []} =
               MuonTrap.run(program("allocate"), ["200"], opts)

      Process.flag(:trap_exit, true)
      {:ok, daemon} = MuonTrap.Daemon.start_link(program("allocate"), ["200"], opts)
      assert_receive {:EXIT, ^daemon, {:oom_killed, 137}}, 60_000

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
      eventually(fn -> Cgroup.statistics(plan).cpu_stat.nr_throttled > 0 end)

      from = usage(plan)
      Process.sleep(5_000)
      until = usage(plan)

      share = (elem(until, 0) - elem(from, 0)) / (elem(until, 1) - elem(from, 1))
      assert_in_delta share, 0.20, 0.03
      assert Cgroup.statistics(plan).cpu_stat.throttled_usec > 0
      assert Cgroup.config(plan).cpu_max == {20_000, 100_000}
      assert {:ended, %{survivors: [], leftovers: []}} = Command.abort(command)
    end
  end

  # In microseconds: of CPU time, and of time.
  defp usage(plan) do
    %{cpu_stat: %{usage_usec: usage}} = Cgroup.statistics(plan)
    {usage, System.monotonic_time(:microsecond)}
  end

  test "a fork bomb under pids_max: 50 is dead within 100 ms of the stop" do
    if offers?(["pids"]) do
      opts = [
        ready: true,
        cgroup_path: path("bomb"),
        cgroup: %{pids_max: 50},
        delay_to_sigkill: 0
      ]

      {command, plan} = start(program("fork_bomb"), ["50"], opts)
      stats = Cgroup.statistics(plan)
      # pids.peak exists since Linux 6.1.
      assert Map.get(stats, :pids_peak, 50) == 50

      {:ok, procs} = Cgroup.get(plan, "cgroup.procs")
      assert length(String.split(procs)) > 25
      since = System.monotonic_time(:millisecond)
      assert {:ended, %{survivors: [], leftovers: []}} = Command.abort(command)
      took = System.monotonic_time(:millisecond) - since
      # Emulated machines are ten times slower.
      assert took <= if(System.get_env("IN_CGROUP_VM"), do: 1_000, else: 100)
      refute File.exists?(hd(plan.groups).path)
    end
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

  test "500 commands in 500 groups leave no directory" do
    if offers?() do
      before = groups()

      1..500
      |> Task.async_stream(
        fn n -> MuonTrap.cmd("echo", ["#{n}"], cgroup_base: Path.join(base(), "many")) end,
        max_concurrency: 8,
        timeout: 60_000
      )
      |> Enum.with_index(1)
      |> Enum.each(fn {result, n} -> assert result == {:ok, {"#{n}\n", 0}} end)

      assert groups() == before
    end
  end

  for program <- ["new_session", "daemonize", "ignore_sigterm", "stopped", "own_group"] do
    test "#{program} does not get out of its group" do
      if offers?() do
        opts = [ready: true, cgroup_path: path("tree"), delay_to_sigkill: 50]
        {command, plan} = start(program(unquote(program)), [], opts)
        {:ok, procs} = Cgroup.get(plan, "cgroup.procs")
        assert procs != ""
        assert {:ended, %{survivors: [], leftovers: []}} = Command.abort(command)
        # It could not be removed with a process inside.
        refute File.exists?(hd(plan.groups).path)
      end
    end
  end

  test "each hierarchy contains a tree, as far as it can be written" do
    # One controller of each hierarchy leads there; a named one of v1 has none that can be asked for.
    for {_version, hierarchy} <- MuonTrap.Cgroup.Layout.hierarchies(layout()),
        controller <- Enum.take(hierarchy.controllers, 1),
        not String.starts_with?(controller, "name="),
        offers?([controller]) do
      opts = [
        ready: true,
        cgroup_path: path("each"),
        cgroup_controllers: [controller],
        delay_to_sigkill: 50
      ]

      {command, plan} = start(program("mixed_tree"), ["8"], opts)
      group = Enum.find(plan.groups, &(&1.mount == hierarchy.mount))
      {:ok, procs} = File.read(Path.join(group.path, "cgroup.procs"))
      assert length(String.split(procs)) >= 8, hierarchy.mount
      assert {:ended, %{survivors: [], leftovers: []}} = Command.abort(command)
      refute File.exists?(group.path)
    end
  end

  test "no instruction of the program runs outside" do
    if offers?() do
      name = path("inside")
      {output, 0} = MuonTrap.cmd("cat", ["/proc/self/cgroup"], cgroup_path: name)
      assert output =~ ~r{:/(.*/)?#{Regex.escape(Path.basename(name))}$}m
    end
  end

  test "an existing empty group is used and left in place" do
    if offers?() do
      name = path("existing")
      {:ok, plan} = Cgroup.plan(options(cgroup_path: name))
      for group <- plan.groups, do: File.mkdir_p!(group.path)
      assert {_output, 0} = MuonTrap.cmd("true", [], cgroup_path: name)
      for group <- plan.groups, do: assert(File.dir?(group.path))
      for group <- plan.groups, do: File.rmdir!(group.path)
      if root?(), do: for(group <- plan.groups, do: File.rmdir(Path.dirname(group.path)))
    end
  end

  defp options(program \\ "true", args \\ [], opts),
    do: MuonTrap.Options.validate!(:cmd, program, args, opts)

  test "a group with other processes is refused and not touched" do
    if offers?() do
      name = path("taken")
      {command, plan} = start("sleep", ["100"], cgroup_path: name)
      error = assert_raise Error, fn -> MuonTrap.cmd("true", [], cgroup_path: name) end
      assert %{step: :cgroup_create, reason: :foreign_processes} = error
      assert {:ok, procs} = Cgroup.get(plan, "cgroup.procs")
      assert procs != ""
      assert {:ended, %{status: {:signaled, 15}}} = Command.abort(command)
    end
  end

  test "the group of a shim that is killed goes away, and so does all that is in it" do
    if offers?() do
      for option <- [:cgroup_path, :cgroup_base] do
        before = groups()

        options =
          options("sh", ["-c", "setsid sleep 100 & exec sleep 100"], [{option, path("shim")}])

        {:ok, command} = Command.start(options, {:null, :pipe, :null}, announce: true)
        {{:started, pid}, command} = Command.next(command, :infinity)
        group = eventually(fn -> List.first(groups() -- before) end)
        {:ok, stat} = File.read("/proc/#{pid}/stat")
        [shim] = Regex.run(~r/\) \S (\d+)/, stat, capture: :all_but_first)
        {"", 0} = System.cmd("kill", ["-KILL", shim])
        assert {{:lost, _failure, []}, _command} = Command.next(command, :infinity)
        eventually(fn -> groups() == before end)
        refute File.exists?(group)
      end
    end
  end

  test "paths that lead elsewhere are refused" do
    for path <- ["..", "a/../b", "/a", "", "a//b", ".", "a\0b"],
        option <- [:cgroup_path, :cgroup_base] do
      assert_raise ArgumentError, fn -> MuonTrap.cmd("true", [], [{option, path}]) end
    end

    for {_version, %{own: own}} when own not in [nil, ""] <-
          Enum.take(MuonTrap.Cgroup.Layout.hierarchies(layout()), 1),
        offers?() do
      error = assert_raise Error, fn -> MuonTrap.cmd("true", [], cgroup_path: own) end
      assert error.reason in [:own_cgroup, :foreign_processes]
    end
  end

  test "a path of odd bytes works" do
    if offers?() do
      name = Path.join(base(), "a b:\t\"ü\\040" <> <<1, 0xFF, 0x7F>>)
      assert {"here\n", 0} = MuonTrap.cmd("echo", ["here"], cgroup_path: name)
    end
  end

  test "groups that the program makes go away with it" do
    if offers?() and root?() do
      name = path("nested")
      {:ok, plan} = Cgroup.plan(options(cgroup_path: name))
      [%{path: directory} | _rest] = plan.groups

      script =
        "mkdir -p '#{directory}/x/y/z' '#{directory}/w'; echo 0 > '#{directory}/x/y/cgroup.procs'; exec sleep 100"

      {command, _plan} = start("sh", ["-c", script], cgroup_path: name)

      eventually(fn ->
        File.read("#{directory}/x/y/cgroup.procs") not in [{:ok, ""}, {:error, :enoent}]
      end)

      assert {:ended, %{survivors: [], leftovers: []}} = Command.abort(command)
    end
  end

  test "old options and new ones mean the same on every machine" do
    if offers?(["memory"]) do
      for opts <- [
            [cgroup: %{memory_max: 67_108_864}],
            [
              cgroup_controllers: ["memory"],
              cgroup_sets: [{"memory", "memory.limit_in_bytes", "67108864"}]
            ],
            [cgroup_sets: [{"memory", "memory.limit_in_bytes", 67_108_864}]],
            [cgroup_sets: [{"memory", "memory.max", "64M"}]]
          ] do
        {command, plan} = start("sleep", ["100"], [cgroup_path: path("old")] ++ opts)
        assert Cgroup.config(plan).memory_max == 67_108_864

        for file <- ["memory.max", "memory.limit_in_bytes"] do
          assert Cgroup.get(plan, file) == {:ok, "67108864\n"}
          assert Cgroup.get(plan, "memory", file) == {:ok, "67108864\n"}
        end

        Command.abort(command)
      end
    end
  end

  test "settings are written and read while the program runs, and go round" do
    if offers?(["cpu", "memory", "pids"]) do
      limits = %{cpu_weight: 50, cpu_max: {50_000, 200_000}, memory_max: 67_108_864, pids_max: 20}
      {command, plan} = start("sleep", ["100"], cgroup_path: path("set"), cgroup: limits)
      config = Cgroup.config(plan)
      assert Map.take(config, Map.keys(limits)) == limits

      assert Cgroup.set(plan, "pids.max", 30) == :ok
      assert Cgroup.get(plan, "pids.max") == {:ok, "30\n"}
      assert Cgroup.set(plan, "memory", "memory.limit_in_bytes", "33554432") == :ok
      assert Cgroup.set(plan, "cpu.max", "max") == :ok
      assert %{pids_max: 30, memory_max: 33_554_432, cpu_max: :max} = Cgroup.config(plan)
      assert Cgroup.set(plan, "cpu.cfs_quota_us", "20000") == :ok
      assert Cgroup.config(plan).cpu_max == {20_000, 200_000}

      assert {:error, :einval} = Cgroup.set(plan, "pids.max", "many")
      assert {:error, :enoent} = Cgroup.set(plan, "memory.nothing", 1)
      assert {:error, :enoent} = Cgroup.get(plan, "nothing")
      assert {:error, :einval} = Cgroup.get(plan, "memory", "../../etc/passwd")
      Command.abort(command)

      {command, plan} = start("sleep", ["100"], cgroup_path: path("again"), cgroup: config)
      assert Cgroup.config(plan) == config
      Command.abort(command)
    end
  end

  test "without a group there is nothing to read" do
    assert Cgroup.plan(options([])) == {:ok, nil}
    assert {Cgroup.path(nil), Cgroup.config(nil), Cgroup.statistics(nil)} == {nil, %{}, %{}}
    assert Cgroup.get(nil, "memory.max") == {:error, :enoent}
    assert Cgroup.set(nil, "memory.max", 1) == {:error, :enoent}
  end

  test ":self is below the VM's own group" do
    with [{_version, %{own: own} = hierarchy} | _rest] when own != nil <-
           MuonTrap.Cgroup.Layout.hierarchies(layout()),
         true <- offers?() do
      {output, 0} = MuonTrap.cmd("cat", ["/proc/self/cgroup"], cgroup_base: :self)
      assert output =~ ~r{:/#{Regex.escape(own)}/?muontrap-\d+-#{System.pid()}-\d+-\d+$}m

      assert Path.wildcard(Path.join([hierarchy.mount, own, "muontrap-*-#{System.pid()}-*"])) ==
               []
    end
  rescue
    error in Error ->
      refute root?()
      assert Exception.message(error) =~ "Delegate=yes"
      announce("the VM's own group is not delegated")
  end

  test "what is missing is named with what mends it" do
    if offers?() do
      error =
        assert_raise Error, fn ->
          MuonTrap.cmd("true", [], cgroup_base: base(), cgroup_controllers: ["no_such"])
        end

      assert %{step: :cgroup_enable, reason: :no_controller, subject: "no_such"} = error
      assert Exception.message(error) =~ "cgroup_enable=no_such"

      error =
        assert_raise Error, fn ->
          MuonTrap.cmd("true", [],
            cgroup_base: base(),
            cgroup_sets: [{"cgroup", "cgroup.nothing", 1}]
          )
        end

      assert error.reason in [:no_controller, :enoent, :eacces]
    end

    unless root?() do
      error =
        assert_raise Error, fn ->
          MuonTrap.cmd("true", [], cgroup_base: "not-mine-#{System.pid()}")
        end

      assert %{step: :cgroup_create, reason: :eacces} = error
      assert Exception.message(error) =~ ~r/sudo (cgcreate -a \$\(whoami\)|mkdir -p)/
    end
  end

  test "groups of a dead VM are swept at the first start, and no others" do
    if offers?() do
      base = path("sweep")
      own = MuonTrap.Nif.cgroup_name(1)
      ["muontrap", namespace, pid, start, id] = String.split(own, "-")
      dead = "muontrap-#{namespace}-#{pid}-#{String.to_integer(start) + 1}-#{id}"
      of_a_container = "muontrap-1-#{pid}-#{start}-#{id}"
      {:ok, plan} = Cgroup.plan(options(cgroup_path: base))
      directory = hd(plan.groups).path
      gone = [dead, of_a_container]
      kept = [own, "of-somebody-else"]
      for name <- gone ++ kept, do: File.mkdir_p!(Path.join(directory, name))

      assert {"", 0} = MuonTrap.cmd("true", [], cgroup_base: base)
      for name <- gone, do: refute(File.exists?(Path.join(directory, name)))
      for name <- kept, do: File.rmdir!(Path.join(directory, name))
      File.rmdir!(directory)
      if root?(), do: File.rmdir(Path.dirname(directory))
    end
  end
end
