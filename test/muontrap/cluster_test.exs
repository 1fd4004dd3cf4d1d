# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ClusterTest do
  @moduledoc "What guides/cluster.md says of the other ways to have a program run on another node."

  use MuonTrap.Case

  import MuonTrap.Nodes, only: [call: 4, eval: 3, spawn_eval: 3]
  import MuonTrap.NodeTrees, only: [network: 1, nodes: 2]

  alias MuonTrap.Trees

  setup :network

  defp stands?(token, count \\ 1),
    do: Trees.eventually(fn -> length(Trees.carrying(token)) == count end)

  defp gone?(token), do: stands?(token, 0)

  # Round trips to both, which give it time to end if it does.
  defp stays?(token, nodes) do
    for(_ <- 1..100, node <- nodes, do: call(node, :erlang, :node, []))
    length(Trees.carrying(token)) == 1
  end

  defp end_commands(node) do
    for %{owner: owner} <- call(node, MuonTrap, :list, []),
        do: call(node, Process, :exit, [owner, :kill])
  end

  describe ":erpc.call/4 of a function of muontrap" do
    @erpc ~S|:erpc.call(node, MuonTrap, :cmd, ["sleep", ["1000"], [env: env]])|

    test "leaves the command to itself when its caller, or the calling VM, is killed", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        caller = spawn_eval(calling, @erpc, node: working.node, env: context.env)
        assert stands?(context.token)
        call(calling, Process, :exit, [caller, :kill])
        assert stays?(context.token, [calling, working])
        Trees.kill(calling.os_pid, "KILL")
        assert Trees.eventually(fn -> call(working, Node, :list, []) == [] end)
        assert stays?(context.token, [working])
        end_commands(working)
        assert gone?(context.token)
      end
    end

    test "leaves it to itself after its own timeout, but not after that of the command",
         context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        binding = [node: working.node, env: context.env]

        code = ~S"""
        try do
          :erpc.call(node, MuonTrap, :cmd, ["sleep", ["1000"], [env: env]], 500)
        catch
          :error, {:erpc, :timeout} -> :timeout
        end
        """

        assert eval(calling, code, binding) == :timeout
        assert stays?(context.token, [calling, working])
        end_commands(working)
        assert gone?(context.token)

        code = ~S|:erpc.call(node, MuonTrap, :cmd, ["sleep", ["1000"], [env: env, timeout: 500]])|
        assert eval(calling, code, binding) == {"", :timeout}
        assert Trees.carrying(context.token) == []
      end
    end

    test "ends it with the working VM", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        _caller = spawn_eval(calling, @erpc, node: working.node, env: context.env)
        assert stands?(context.token)
        Trees.kill(working.os_pid, "KILL")
        assert gone?(context.token)
      end
    end
  end

  describe "a task of a supervisor on the other node" do
    @task ~S"""
    {Jobs, node}
    |> Task.Supervisor.async(MuonTrap, :cmd, ["sleep", ["1000"], [env: env]])
    |> Task.await(:infinity)
    """

    test "ends with its caller, the calling VM and the connection", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        {:ok, _pid} = supervised(working, {Task.Supervisor, name: Jobs})
        binding = [node: working.node, env: context.env]
        caller = spawn_eval(calling, @task, binding)
        assert stands?(context.token)
        call(calling, Process, :exit, [caller, :kill])
        assert gone?(context.token)

        _caller = spawn_eval(calling, @task, binding)
        assert stands?(context.token)
        call(working, Node, :disconnect, [calling.node])
        assert gone?(context.token)

        _caller = spawn_eval(calling, @task, binding)
        assert stands?(context.token)
        Trees.kill(calling.os_pid, "KILL")
        assert gone?(context.token)
      end
    end
  end

  describe "a Daemon placed on the other node" do
    @child {MuonTrap.Daemon, ["sleep", ["1000"], [env: :env]]}
    @place ~S"""
    {:ok, daemon} = DynamicSupervisor.start_child({Workers, node}, child)
    {node(daemon), is_integer(MuonTrap.Daemon.os_pid(daemon)), daemon}
    """

    defp child(env), do: put_elem(@child, 1, ["sleep", ["1000"], [env: env]])

    test "is answered from here, ends when it is told, and with its node", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        {:ok, _pid} = supervised(working, {DynamicSupervisor, name: Workers})
        binding = [node: working.node, child: child(context.env)]
        there = working.node
        assert {^there, true, daemon} = eval(calling, @place, binding)
        assert stands?(context.token)

        code = ~S|DynamicSupervisor.terminate_child({Workers, node}, daemon)|
        assert eval(calling, code, node: there, daemon: daemon) == :ok
        assert Trees.carrying(context.token) == []

        assert {^there, true, _daemon} = eval(calling, @place, binding)
        assert stands?(context.token)
        Trees.kill(working.os_pid, "KILL")
        assert gone?(context.token)
      end
    end

    test "outlives the process that placed it, its VM and the connection", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        {:ok, _pid} = supervised(working, {DynamicSupervisor, name: Workers})
        binding = [node: working.node, child: child(context.env)]
        _over = spawn_eval(calling, @place, binding)
        assert stands?(context.token)
        Trees.kill(calling.os_pid, "KILL")
        assert Trees.eventually(fn -> call(working, Node, :list, []) == [] end)
        assert stays?(context.token, [working])
      end
    end

    test "by :erpc without a supervisor is over with the call", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        code = ~S|:erpc.call(node, MuonTrap.Daemon, :start_link, ["sleep", ["1000"], [env: env]])|
        assert {:ok, daemon} = eval(calling, code, node: working.node, env: context.env)
        assert node(daemon) == working.node
        assert gone?(context.token)
        assert Trees.eventually(fn -> not call(working, Process, :alive?, [daemon]) end)
      end
    end
  end

  @guide "guides/cluster.md"
  # What these need is not there. They were tried, or read, as the guide says.
  @libraries ["FLAME", "Horde"]

  test "the examples of the guide run", context do
    blocks =
      for [_all, code] <- Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(@guide)),
          not String.contains?(code, @libraries),
          do: code

    assert length(blocks) >= 5

    for [calling, working] <- [nodes(context, [:calling, :working])] do
      {:ok, _pid} = supervised(working, {DynamicSupervisor, name: MyApp.Workers})
      {:ok, _pid} = supervised(working, {Task.Supervisor, name: MyApp.Tasks})

      results =
        for code <- blocks,
            do: eval(calling, String.replace(code, ~S(:"worker@host"), inspect(working.node)), [])

      assert ["2\n1\n"] in results
      assert {:node, :noconnection, "nobody@127.0.0.1"} in results
      assert {"hello\n", 0} in results
      assert Trees.eventually(fn -> call(working, MuonTrap, :list, []) == [] end)
    end
  end

  # Started by a process that stays, as an application's is.
  defp supervised(node, child),
    do: call(node, Supervisor, :start_child, [MuonTrap.Supervisor, child])
end
