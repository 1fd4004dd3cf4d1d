# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ChildWorldTest do
  @moduledoc "What a program finds when it starts, told by one that looks around."

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Trees}

  defp world(opts \\ []) do
    {output, 0} = MuonTrap.cmd(Trees.program("inspect"), ["one", "two"], opts)
    parse(output)
  end

  defp parse(output) do
    for line <- String.split(output, "\n", trim: true), into: %{} do
      [key, value] = String.split(line, "=", parts: 2)
      {key, value}
    end
  end

  defp keys(world, prefix),
    do: for({key, _value} <- world, String.starts_with?(key, prefix), do: key) |> Enum.sort()

  defp own(field) do
    [_all, value] = Regex.run(~r/^#{field}:\s*(.*)$/m, File.read!("/proc/self/status"))
    value
  end

  defp root?, do: Cgroups.root?() or Cgroups.announce("root is needed to change the user")

  test "three descriptors, the first of them empty" do
    world = world()
    assert keys(world, "fd.") == ["fd.0", "fd.1", "fd.2"]
    assert world["fd.0"] == "/dev/null"
    assert world["fd.1"] =~ "pipe:"
  end

  test "signals that are neither blocked nor ignored" do
    assert %{"SigBlk" => blocked, "SigIgn" => ignored} = world()
    assert {String.to_integer(blocked, 16), String.to_integer(ignored, 16)} == {0, 0}
  end

  test "a session and a group of its own, no terminal, and a shim as parent" do
    assert %{"pid" => pid, "pgid" => pid, "sid" => pid, "tty" => "none"} = world = world()
    assert world["parent_comm"] == "muontrap-shim"
  end

  test "the arguments, the environment and the directory as given" do
    directory = System.tmp_dir!()

    world =
      world(arg0: "odd name", cd: directory, clear_env: true, env: [{"A", "b=c"}, {"EMPTY", ""}])

    assert %{"argv.0" => "odd name", "argv.1" => "one", "argv.2" => "two"} = world
    assert keys(world, "env.") == ["env.A"]
    assert world["env.A"] == "b=c"
    assert world["cwd"] == directory
    assert world()["cwd"] == File.cwd!()
  end

  test "the VM's limits and marks unless told otherwise" do
    world = world()
    assert world["Cpus_allowed_list"] == own("Cpus_allowed_list")
    assert world["oom_score_adj"] == String.trim(File.read!("/proc/self/oom_score_adj"))
    assert world["NoNewPrivs"] == own("NoNewPrivs")
    assert String.to_integer(world["Umask"], 8) == String.to_integer(own("Umask"), 8)
    {limit, 0} = System.cmd("sh", ["-c", "echo $(ulimit -Sn):$(ulimit -Hn)"])
    assert world["rlimit.nofile"] == String.trim(limit)
  end

  test "the limits and marks it was told" do
    world =
      world(
        umask: 0o077,
        nice: 5,
        rlimits: [nofile: {100, 200}, core: 0],
        oom_score_adj: 500,
        no_new_privs: true
      )

    assert String.to_integer(world["Umask"], 8) == 0o077
    assert world["nice"] == "5"
    assert world["rlimit.nofile"] == "100:200"
    assert world["rlimit.core"] == "0:0"
    assert world["oom_score_adj"] == "500"
    assert world["NoNewPrivs"] == "1"
  end

  test "the user with its own group and groups, none of the VM's" do
    if root?() do
      [_name, _password, uid, gid | _rest] =
        File.read!("/etc/passwd")
        |> String.split("\n")
        |> Enum.find(&String.starts_with?(&1, "nobody:"))
        |> String.split(":")

      for user <- ["nobody", String.to_integer(uid)] do
        world = world(uid: user)
        assert world["Uid"] |> String.split() |> Enum.uniq() == [uid]
        assert world["Gid"] |> String.split() |> Enum.uniq() == [gid]
        assert String.split(world["Groups"]) -- [gid] == []
      end

      world = world(uid: 4321, gid: 1234, groups: [77, 88])
      assert world["Uid"] |> String.split() |> Enum.uniq() == ["4321"]
      assert world["Gid"] |> String.split() |> Enum.uniq() == ["1234"]
      assert world["Groups"] |> String.split() |> Enum.sort() == ["77", "88"]
    end
  end

  test "does not begin when a restriction cannot be applied" do
    marker = Path.join(System.tmp_dir!(), "muontrap-#{System.unique_integer([:positive])}")

    for {opts, step} <- [
          {[uid: "no-such-user"], {:setuid, "no-such-user"}},
          {[gid: "no-such-group"], {:setgid, "no-such-group"}},
          {[rlimits: [core: 0, nofile: {:infinity, :infinity}]], {:rlimit, "nofile"}}
        ] do
      error = assert_raise MuonTrap.Error, fn -> MuonTrap.cmd("touch", [marker], opts) end
      assert {error.step, error.subject} == step
    end

    refute File.exists?(marker)
  end

  test "has the affinity of the VM even if the scheduler that started it is bound" do
    ebin = Application.app_dir(:muontrap, "ebin")
    code = "{out, 0} = MuonTrap.cmd(#{inspect(Trees.program("inspect"))}, []); IO.write(out)"

    {output, 0} =
      System.cmd("elixir", ["--erl", "+sbt db", "-pa", ebin, "-e", code], stderr_to_stdout: true)

    assert parse(output)["Cpus_allowed_list"] == own("Cpus_allowed_list")
  end

  @tag :privileged
  test "has as many descriptors as its VM, be they few or very many" do
    ebin = Application.app_dir(:muontrap, "ebin")

    code = ~S"""
    for _ <- 1..20, do: {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
    {limits, 0} = MuonTrap.cmd("sh", ["-c", "echo $(ulimit -Sn) $(ulimit -Hn)"])
    IO.write(limits)
    """

    for limit <- [64, many()] do
      script = "ulimit -n #{limit} && exec elixir -pa #{ebin} -e \"$0\""
      {output, 0} = System.cmd("sh", ["-c", script, code], stderr_to_stdout: true)
      assert output == "#{limit} #{limit}\n"
    end
  end

  # A million, or as many as may be had here.
  defp many do
    wanted = 1_000_000
    {_error, status} = System.cmd("sh", ["-c", "ulimit -n #{wanted}"], stderr_to_stdout: true)

    if status == 0 do
      wanted
    else
      {limit, 0} = System.cmd("sh", ["-c", "ulimit -Hn"])
      Cgroups.announce("a VM with a million descriptors")
      String.trim(limit)
    end
  end
end
