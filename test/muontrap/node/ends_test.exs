# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Node.EndsTest do
  @moduledoc "Programs on another node are ended by whatever ends between the two."

  use MuonTrap.Case

  import MuonTrap.NodeTrees
  import MuonTrap.Nodes, only: [call: 4, eval: 3, outcome: 2, spawn_eval: 3]

  alias MuonTrap.{Error, Trees}

  setup :network

  # One program on each of two nodes; both run when this returns.
  defp pipeline(calling, first, second, %{token: token, env: env}) do
    code = ~S"""
    MuonTrap.stream!("yes", [], node: first, env: env)
    |> MuonTrap.pipe!("cat", [], node: second, env: env)
    |> Stream.run()
    """

    binding = [first: first.node, second: second.node, env: env]
    caller = spawn_eval(calling, code, binding)
    assert Trees.eventually(fn -> length(Trees.carrying(token)) == 2 end)
    caller
  end

  describe "nothing is left on either node when" do
    test "the caller is killed", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        caller = stubborn(calling, working, context)
        before = processes(calling)
        call(calling, Process, :exit, [caller, :kill])
        assert gone?(context.token)
        assert idle?(working)
        # The caller and its line.
        assert Trees.eventually(fn -> processes(calling) <= before - 2 end)
      end
    end

    test "the caller raises, stops early or runs out of time", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        binding = [node: working.node, env: context.env, script: script()]

        code = ~S"""
        opts = [node: node, env: env, delay_to_sigkill: 50]
        stream = fn -> MuonTrap.stream!("sh", ["-c", script], opts) end
        raised = try do Enum.each(stream.(), fn _ -> raise "no" end) rescue error in RuntimeError -> error.message end
        left = fn -> MuonTrap.Trees.carrying(opts |> get_in([:env]) |> hd() |> elem(1)) end
        one = left.()
        taken = Enum.take(stream.(), 1)
        two = left.()
        late = MuonTrap.cmd("sh", ["-c", script], [timeout: 1_000] ++ opts)
        {raised, one, taken, two, late, left.(), Process.info(self(), :messages)}
        """

        assert {"no", [], ["stands\n"], [], {"stands\n", :timeout}, [], {:messages, []}} =
                 eval(calling, code, binding)
      end
    end

    test "a pipeline ends early, though the first program does not want to", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        code = ~S"""
        script = "trap '' TERM; while :; do echo y; done; sleep 1000"
        lines =
          MuonTrap.stream!("sh", ["-c", script], node: node, env: env, delay_to_sigkill: 1_000)
          |> MuonTrap.pipe!("head", ["-n", "1"])
          |> Enum.to_list()
        {lines, MuonTrap.Trees.carrying(env |> hd() |> elem(1)), Process.info(self(), :messages)}
        """

        assert {["y\n"], [], {:messages, []}} =
                 eval(calling, code, node: working.node, env: context.env)
      end
    end

    test "the calling node closes the connection", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        caller = stubborn(calling, working, context)
        assert call(calling, Node, :disconnect, [working.node])
        assert {%Error{step: :node, reason: :disconnect} = error, []} = outcome(calling, caller)

        assert Exception.message(error) ==
                 ~s(cannot run the program on the node "#{working.node}": this node has closed the connection ) <>
                   "(disconnect)"

        assert gone?(context.token)
        assert idle?(working)
      end
    end

    test "the working node closes the connection", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        caller = stubborn(calling, working, context)
        assert call(working, Node, :disconnect, [calling.node])
        assert {%Error{step: :node, reason: :connection_closed}, []} = outcome(calling, caller)
        assert gone?(context.token)
        assert idle?(working)
      end
    end

    test "the nodes are parted and join again at once, much being on its way", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        binding = [node: working.node, env: context.env]

        code =
          ~S|MuonTrap.stream!("yes", [], node: node, env: env, stdio_window: 1_000_000) \|> Stream.run()|

        for _ <- 1..5 do
          caller = spawn_eval(calling, code, binding)
          assert Trees.eventually(fn -> Trees.carrying(context.token) != [] end)
          assert call(working, Node, :disconnect, [calling.node])
          assert {%Error{step: :node}, []} = outcome(calling, caller)
          # A cookie of another cluster keeps it apart; the same one lets it come back.
          assert call(calling, Node, :connect, [working.node])
          assert gone?(context.token)
        end

        assert idle?(working)
      end
    end

    test "the calling VM is killed", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        _caller = stubborn(calling, working, context)
        Trees.kill(calling.os_pid, "KILL")
        assert gone?(context.token)
        assert idle?(working)
      end
    end

    test "the calling VM hangs: after net_ticktime", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        caller = stubborn(calling, working, context)
        Trees.kill(calling.os_pid, "STOP")
        assert gone?(context.token)
        assert idle?(working)
        Trees.kill(calling.os_pid, "CONT")
        assert {%Error{step: :node, reason: reason}, []} = outcome(calling, caller)
        assert reason in [:connection_closed, :net_tick_timeout]
      end
    end

    test "the working VM is killed", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        caller = stubborn(calling, working, context)
        Trees.kill(working.os_pid, "KILL")
        assert {%Error{step: :node, reason: :connection_closed}, []} = outcome(calling, caller)
        assert gone?(context.token)
      end
    end

    test "the working VM stops in order", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        caller = stubborn(calling, working, context)
        call(working, :init, :stop, [])
        assert {%Error{step: :node, reason: reason}, []} = outcome(calling, caller)
        assert reason in [:connection_closed, :killed, :shutdown]
        assert gone?(context.token)
      end
    end

    test "the working VM hangs, and goes on later", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        caller = stubborn(calling, working, context)
        Trees.kill(working.os_pid, "STOP")
        assert {%Error{step: :node, reason: :net_tick_timeout}, []} = outcome(calling, caller)
        assert length(Trees.carrying(context.token)) == 3
        Trees.kill(working.os_pid, "CONT")
        assert gone?(context.token)
        assert idle?(working)
      end
    end

    test "the process that owns the command there is killed", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        caller = stubborn(calling, working, context)
        [%{owner: owner}] = call(working, MuonTrap, :list, [])
        call(working, Process, :exit, [owner, :kill])
        assert {%Error{step: :node, reason: :killed}, []} = outcome(calling, caller)
        assert gone?(context.token)
      end
    end

    test "one node of a pipeline is killed", context do
      for [calling, first, second] <- [nodes(context, [:calling, :first, :second])] do
        caller = pipeline(calling, first, second, context)
        Trees.kill(first.os_pid, "KILL")
        assert {%Error{step: :node, subject: subject}, []} = outcome(calling, caller)
        assert subject == Atom.to_string(first.node)
        assert gone?(context.token)
        assert idle?(second)
      end
    end

    test "the caller of a pipeline on two nodes is killed", context do
      for [calling, first, second] <- [nodes(context, [:calling, :first, :second])] do
        _caller = pipeline(calling, first, second, context)
        Trees.kill(calling.os_pid, "KILL")
        assert gone?(context.token)
        assert idle?(first) and idle?(second)
      end
    end
  end
end
