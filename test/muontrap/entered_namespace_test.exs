# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.EnteredNamespaceTest do
  @moduledoc """
  A process that was forked in the PID namespace of somebody else, by nsenter(1), falls to the first process there
  when its parent ends. No descendant of ours, it is known by its cgroup alone.
  """

  use ExUnit.Case

  alias MuonTrap.{Cgroups, Trees}

  setup do
    if Trees.possible?(:pid_namespace) do
      {control, first} = namespace()
      Trees.signal_on_exit(first)
      %{control: control, first: first}
    else
      :ok
    end
  end

  # Of a process that is no part of a command. Returns it and the first process of the namespace.
  defp namespace do
    args = ["--pid", "--fork", "--kill-child", Trees.program("child")]
    unshare = System.find_executable("unshare")
    port = Port.open({:spawn_executable, unshare}, [:binary, args: args])
    assert_receive {^port, {:data, "ready\n"}}, 60_000
    {:os_pid, pid} = Port.info(port, :os_pid)
    [first] = Trees.children(pid)
    {port, first}
  end

  for mechanism <- [:cgroup_v1, :cgroup_v2] do
    @tag :cgroup
    test "it is killed where the command has a cgroup: #{mechanism}", context do
      if context[:first] && Cgroups.provides?(unquote(mechanism)) do
        token = Trees.token()
        enter = "nsenter --target #{context.first} --pid sh -c 'setsid sleep 1000 & echo entered'"
        opts = [env: [{"MUONTRAP_TOKEN", token}]] ++ Cgroups.contained_by(unquote(mechanism))
        assert %{output: "entered\n", survivors: []} = MuonTrap.run("sh", ["-c", enter], opts)
        assert Trees.carrying(token) == []
        assert File.exists?("/proc/#{context.first}")
      end
    end
  end
end
