# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Node.RefusalsTest do
  @moduledoc "Where no program can be run on another node, none has, and the error says why."

  use MuonTrap.Case

  import MuonTrap.NodeTrees
  import MuonTrap.Nodes, only: [eval: 2, eval: 3]

  alias MuonTrap.{Error, Nodes}

  setup :network

  describe "nothing has run where" do
    test "this VM is no node" do
      assert %Error{step: :node, reason: :notalive, hint: hint} =
               catch_error(MuonTrap.cmd("true", [], node: :"worker@127.0.0.1"))

      assert hint =~ "--sname"
      refute_received _anything
    end

    test "there is no such node", context do
      for [calling] <- [nodes(context, [:calling])] do
        code = ~S|MuonTrap.cmd("true", [], node: :"nobody@127.0.0.1")|
        assert %Error{reason: :noconnection} = error = catch_error(eval(calling, code))
        assert Exception.message(error) =~ "the same cookie"
      end
    end

    test "the node has no muontrap, or one that speaks otherwise", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        code = ~S|MuonTrap.cmd("true", [], node: node, env: [{"A", "secret"}])|

        other = ~S"""
        Code.compiler_options(ignore_module_conflict: true)
        defmodule MuonTrap.Remote.Owner do
          def open(_protocol, _line, _to, _ref), do: {:error, "3.0.0 (protocol 7)"}
        end
        """

        elixir = Enum.reject(:code.get_path(), &(to_string(&1) =~ "/muontrap/"))
        empty = Nodes.bare(context.network, :empty, elixir)
        run = fn there -> catch_error(eval(calling, code, node: there.node)) end
        assert %Error{step: :node, reason: :no_muontrap} = run.(empty)
        eval(working, other)
        assert %Error{step: :node, reason: :incompatible, hint: hint} = run.(working)
        assert hint =~ "that one 3.0.0 (protocol 7)"
      end
    end

    test "the option names no node" do
      for node <- ["worker@host", :worker, :"@host", 1] do
        assert_raise ArgumentError,
                     ~r/invalid option :node for MuonTrap.cmd\/3: expected the name of a node/,
                     fn ->
                       MuonTrap.cmd("true", [], node: node)
                     end
      end
    end
  end
end
