# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.CgroupTest do
  use MuonTrap.Case

  import MuonTrap.Cgroups
  import MuonTrap.Trees, only: [program: 1]

  alias MuonTrap.{Cgroup, Command, Error}

  @moduletag :cgroup

  defp path(name), do: Path.join(base(), "#{name}-#{System.unique_integer([:positive])}")

  test "500 commands in 500 groups leave no directory" do
    if offers?() do
      before = groups()

      1..500
      |> Task.async_stream(
        fn n -> MuonTrap.cmd("echo", ["#{n}"], cgroup_base: Path.join(base(), "many")) end,
        max_concurrency: 8,
        timeout: :infinity
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
    for path <- ["..", "a/../b", "/../a", "", "a//b", ".", "a\0b"],
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

  test ":self is below the VM's own group" do
    with [{_version, %{own: own} = hierarchy} | _rest] when own != nil <-
           MuonTrap.Cgroup.Layout.hierarchies(layout()),
         true <- offers?() do
      {output, 0} = MuonTrap.cmd("cat", ["/proc/self/cgroup"], cgroup_base: :self)
      group = ~r{:/#{Regex.escape(own)}/?(muontrap-\d+-#{System.pid()}-\d+-\d+)$}m
      assert [_all, name] = Regex.run(group, output)
      refute File.exists?(Path.join([hierarchy.mount, own, name]))
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
