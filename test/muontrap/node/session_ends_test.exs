# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Node.SessionEndsTest do
  @moduledoc "Conversations with programs on another node are ended by whatever ends between the two, and say what it was."

  use MuonTrap.Case

  import MuonTrap.NodeTrees
  import MuonTrap.Nodes, only: [call: 4, eval: 2, outcome: 2]

  alias MuonTrap.{Error, Trees}

  setup :network

  # What somebody who waits in a call is told, and what comes then.
  @reads """
  {:ok, session} = MuonTrap.open("sh", ["-c", script], node: node, env: env, delay_to_sigkill: 50)
  {:ok, "stands"} = MuonTrap.Session.read_line(session, 60_000)
  Process.register(self(), :opener)
  {:error, error} = MuonTrap.Session.read(session, :infinity)
  {:error, ^error} = MuonTrap.Session.read(session)
  {:error, :closed} = MuonTrap.Session.write(session, "more")
  {:error, ^error} = MuonTrap.Session.await(session, :infinity)
  {:error, :closed} = MuonTrap.Session.read(session)
  raise error
  """

  # The same of one that is sent events, and waits for room to write.
  @is_told """
  opts = [node: node, env: env, delay_to_sigkill: 50, active: true, lines: 1]
  {:ok, session} = MuonTrap.open("sh", ["-c", script], opts)
  receive do {:muontrap, ^session, {:stdout, "stands"}} -> :ok end
  Process.register(self(), :opener)
  writer = Task.async(fn -> MuonTrap.Session.write(session, :binary.copy("x", 10_000_000)) end)
  error = receive do {:muontrap, ^session, {:error, error}} -> error end
  {:error, :closed} = Task.await(writer, :infinity)
  raise error
  """

  # Whoever opened it has nothing to do with it any more.
  @hands_over """
  {:ok, session} = MuonTrap.open("sh", ["-c", script], node: node, env: env, delay_to_sigkill: 50)
  owner = spawn(fn -> receive(do: (:never -> :ok)) end)
  Process.register(owner, :owner)
  :ok = MuonTrap.Session.controlling_process(session, owner)
  """

  defp sessions(node) do
    code = ~S"""
    Enum.count(Process.list(), fn pid ->
      match?({_, {MuonTrap.Session.Server, _, _}}, Process.info(pid, :dictionary) |> elem(1) |> List.keyfind(:"$initial_call", 0))
    end)
    """

    eval(node, code)
  end

  # Nothing is left of it: neither there, nor the session here.
  defp all_gone?(calling, working, token) do
    gone?(token) and idle?(working) and Trees.eventually(fn -> sessions(calling) == 0 end)
  end

  # A caller that has the session, and has heard of it.
  defp opened(calling, working, context, code) do
    caller = stubborn(calling, working, context, code)
    assert Trees.eventually(fn -> call(calling, Process, :whereis, [:opener]) == caller end)
    caller
  end

  for {how, code} <- [{"reads", @reads}, {"is sent events, and writes", @is_told}] do
    describe "who #{how} is told when" do
      @code code

      test "the connection is closed by either side", context do
        for [calling, working] <- [nodes(context, [:calling, :working])],
            {from, to, reason} <- [
              {calling, working, :disconnect},
              {working, calling, :connection_closed}
            ] do
          caller = opened(calling, working, context, @code)
          assert call(from, Node, :disconnect, [to.node])
          assert {%Error{step: :node, reason: ^reason} = error, []} = outcome(calling, caller)
          assert error.subject == Atom.to_string(working.node)
          assert all_gone?(calling, working, context.token)
        end
      end

      test "the working VM is killed", context do
        for [calling, working] <- [nodes(context, [:calling, :working])] do
          caller = opened(calling, working, context, @code)
          Trees.kill(working.os_pid, "KILL")
          assert {%Error{step: :node, reason: :connection_closed}, []} = outcome(calling, caller)
          assert gone?(context.token)
          assert Trees.eventually(fn -> sessions(calling) == 0 end)
        end
      end

      test "the working VM hangs: after net_ticktime", context do
        for [calling, working] <- [nodes(context, [:calling, :working])] do
          caller = opened(calling, working, context, @code)
          Trees.kill(working.os_pid, "STOP")
          assert {%Error{step: :node, reason: :net_tick_timeout}, []} = outcome(calling, caller)
          Trees.kill(working.os_pid, "CONT")
          assert all_gone?(calling, working, context.token)
        end
      end

      test "the helper of the program, or its owner there, is killed", context do
        for [calling, working] <- [nodes(context, [:calling, :working])] do
          caller = opened(calling, working, context, @code)
          [%{owner: owner}] = call(working, MuonTrap, :list, [])
          call(working, Process, :exit, [owner, :kill])
          assert {%Error{step: :node, reason: :killed}, []} = outcome(calling, caller)
          assert all_gone?(calling, working, context.token)

          caller = opened(calling, working, context, @code)
          [%{os_pid: os_pid}] = call(working, MuonTrap, :list, [])
          Trees.kill(Trees.parent(os_pid), "KILL")
          assert {%Error{step: :shim, reason: :died}, []} = outcome(calling, caller)
          assert all_gone?(calling, working, context.token)
        end
      end

      test "nobody is left to be told: who opened it, the session, or the calling VM is killed",
           context do
        for [calling, working] <- [nodes(context, [:calling, :working])] do
          opened(calling, working, context, @code)
          call(calling, Process, :exit, [call(calling, Process, :whereis, [:opener]), :kill])
          assert all_gone?(calling, working, context.token)

          caller = opened(calling, working, context, @code)
          assert sessions(calling) == 1
          kill_session(calling)
          assert all_gone?(calling, working, context.token)
          call(calling, Process, :exit, [caller, :kill])

          opened(calling, working, context, @code)
          Trees.kill(calling.os_pid, "KILL")
          assert gone?(context.token)
          assert idle?(working)
        end
      end
    end
  end

  defp kill_session(node) do
    code = ~S"""
    for pid <- Process.list(),
        {:dictionary, dictionary} <- [Process.info(pid, :dictionary)],
        match?({_, {MuonTrap.Session.Server, _, _}}, List.keyfind(dictionary, :"$initial_call", 0)),
        do: Process.exit(pid, :kill)
    """

    eval(node, code)
  end

  test "it ends with the one that it was handed to, and not with the one that opened it",
       context do
    for [calling, working] <- [nodes(context, [:calling, :working])] do
      opener = stubborn(calling, working, context, @hands_over)
      owner = fn -> call(calling, Process, :whereis, [:owner]) end
      assert Trees.eventually(fn -> is_pid(owner.()) end)
      # It has handed it over by then.
      assert {:nothing, []} = outcome(calling, opener)
      refute call(calling, Process, :alive?, [opener])
      assert length(Trees.carrying(context.token)) == 3
      call(calling, Process, :exit, [owner.(), :kill])
      assert all_gone?(calling, working, context.token)
    end
  end

  test "it ends when its owner does while the program is started, at whatever moment", context do
    for [calling, working] <- [nodes(context, [:calling, :working])] do
      code = ~S"""
      for round <- 1..60 do
        opener = spawn(fn -> MuonTrap.open("sh", ["-c", script], node: node, env: env, delay_to_sigkill: 50) end)
        # From before it is asked for to after it stands.
        :timer.tc(fn -> Enum.each(1..(round * 1_000), fn _ -> :erlang.yield() end) end)
        Process.exit(opener, :kill)
      end
      """

      binding = [node: working.node, env: context.env, script: script()]
      MuonTrap.Nodes.eval(calling, code, binding)
      assert all_gone?(calling, working, context.token)
    end
  end
end
