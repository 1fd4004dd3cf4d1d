# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.NodeTrees do
  @moduledoc "Trees of programs that run on one node for a caller on another: how they are started, and what is left of them."

  import ExUnit.Assertions
  import MuonTrap.Nodes, only: [call: 4, eval: 2, spawn_eval: 3]

  alias MuonTrap.{Nodes, Trees}

  # Two processes, one in a session of its own, neither of which ends by SIGTERM.
  @script "trap '' TERM; setsid sleep 1000 & echo stands; sleep 1000; sleep 1000"
  @run """
  MuonTrap.cmd("sh", ["-c", script], node: node, env: env, delay_to_sigkill: 50)
  """

  @doc "A setup: `:token` and `:env` to find the processes of a test by, and the network for `nodes/2`."
  @spec network(map()) :: map()
  def network(_context) do
    token = Trees.token()
    network = Nodes.possible?() && Nodes.network()
    %{token: token, env: [{"MUONTRAP_TOKEN", token}], network: network}
  end

  @doc "Nodes of these names; none where there can be none, so that `for [a, b] <- [nodes(context, [:a, :b])]` does nothing."
  @spec nodes(map(), [atom()]) :: [Nodes.t()]
  def nodes(%{network: network}, names),
    do: if(network, do: Nodes.start(network, names), else: [])

  @doc "The script of a tree of three that wants to stay."
  @spec script() :: String.t()
  def script, do: @script

  @doc "Such a tree on `working`, which stands when this returns. Returns its caller, which is on `calling`."
  @spec stubborn(Nodes.t(), Nodes.t(), map(), String.t()) :: pid()
  def stubborn(calling, working, %{token: token, env: env}, code \\ @run) do
    caller = spawn_eval(calling, code, node: working.node, env: env, script: @script)
    assert Trees.eventually(fn -> length(Trees.carrying(token)) == 3 end)
    caller
  end

  @doc "Whether all processes of a test end."
  @spec gone?(String.t()) :: boolean()
  def gone?(token), do: Trees.eventually(fn -> Trees.carrying(token) == [] end)

  @doc "Whether a node comes to run nothing, and nothing for another one."
  @spec idle?(Nodes.t()) :: boolean()
  def idle?(node) do
    owner? =
      "Process.list() |> Enum.any?(&match?({_, [{MuonTrap.Remote.Owner, _, _, _} | _]}, " <>
        "Process.info(&1, :current_stacktrace)))"

    Trees.eventually(fn -> call(node, MuonTrap, :list, []) == [] and not eval(node, owner?) end)
  end

  @doc "How many processes a node has. Each takes some time to be gone after its last message."
  @spec processes(Nodes.t()) :: non_neg_integer()
  def processes(node), do: length(call(node, :erlang, :processes, []))
end
