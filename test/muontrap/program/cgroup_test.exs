# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Program.CgroupTest do
  @moduledoc """
  The control groups of the program `muontrap`.
  """

  use ExUnit.Case, async: false
  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Ports, Trees}

  @moduletag :cgroup

  defp group, do: Path.join(Cgroups.base(), Trees.token())
  defp run(args), do: Ports.collect(Ports.open(["--capture-output" | args], [:stderr_to_stdout]))

  test "a limit by name is set in the cgroup version that there is, and the group goes" do
    if Cgroups.offers?(["memory"]) do
      group = group()

      script =
        "cat /proc/self/cgroup; cat $(find /sys/fs/cgroup -path '*#{group}/memory.*' -name 'memory.limit_in_bytes' -o -path '*#{group}/memory.max' 2>/dev/null)"

      args = ["--group", group, "--cgroup", "memory_max=64M", "--", "sh", "-c", script]
      assert {output, 0} = run(args)
      assert output =~ group
      assert output =~ ~r/^67108864$/m
      assert gone?(group)
    end
  end

  test "files of either version are understood" do
    if Cgroups.offers?(["memory"]) do
      for file <- ["memory.limit_in_bytes", "memory.max"] do
        group = group()
        find = "find /sys/fs/cgroup -path '*#{group}/#{"memory.*"}' "
        names = "'(' -name memory.limit_in_bytes -o -name memory.max ')'"
        args = ["-g", group, "-c", "memory", "-s", "#{file}=33554432"]

        assert {output, 0} =
                 run(args ++ ["--", "sh", "-c", "cat $(#{find} #{names} 2>/dev/null)"])

        assert output == "33554432\n"
        assert gone?(group)
      end
    end
  end

  test "the program that takes more memory than it may is killed, and that is said" do
    if Cgroups.offers?(["memory"]) do
      args = ["--group", group(), "--cgroup", "memory_max=16M", "--"]

      assert {text, 137} =
               run(args ++ ["sh", "-c", "exec " <> Trees.program("allocate") <> " 256"])

      assert text =~ "because memory ran out"
    end
  end

  test "SIGKILL to muontrap, or to its helper, leaves neither process nor group" do
    for who <- [:program, :helper] do
      if Cgroups.offers?() do
        {group, token} = {group(), Trees.token()}
        {args, opts} = Ports.tree(:double_fork, token, ["--group", group])
        port = Ports.open(args, opts)
        Ports.await(port, "ready")
        refute gone?(group)
        pid = Ports.pid(port)
        Trees.kill(if(who == :program, do: pid, else: Ports.helper(pid)), "KILL")
        assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
        assert Trees.eventually(fn -> gone?(group) end)
      end
    end
  end

  test "a group that others are in is refused" do
    if Cgroups.offers?() do
      {group, token} = {group(), Trees.token()}
      {args, opts} = Ports.tree(:direct, token, ["--group", group])
      port = Ports.open(args, opts)
      Ports.await(port, "ready")
      assert {text, 125} = run(["--group", group, "--", "true"])
      assert text =~ "holds processes that are not ours; name an empty group"
      assert Trees.carrying(token) != []
      Port.close(port)
      assert Trees.eventually(fn -> gone?(group) end)
    end
  end

  test "what this machine has not is refused with its name" do
    assert {text, 125} = run(["-g", "a/b", "-c", "no-such-controller", "--", "true"])
    assert text =~ "\"no-such-controller\"; /proc/cgroups lists"
  end

  defp gone?(group), do: not Enum.any?(Cgroups.groups(), &String.ends_with?(&1, group))
end
