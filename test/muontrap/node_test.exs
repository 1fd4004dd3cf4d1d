# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.NodeTest do
  @moduledoc "Programs on another node: with all that they have in this one, and ended by whatever ends between the two."

  use MuonTrap.Case

  import MuonTrap.Nodes, only: [call: 4, eval: 2, eval: 3, outcome: 2, spawn_eval: 3]

  alias MuonTrap.{Error, ExitError, Nodes, Result, Trees}

  setup do
    token = Trees.token()

    %{
      token: token,
      env: [{"MUONTRAP_TOKEN", token}],
      network: Nodes.possible?() && Nodes.network()
    }
  end

  # Two processes, one in a session of its own, neither of which ends by SIGTERM.
  @stubborn "trap '' TERM; setsid sleep 1000 & echo stands; sleep 1000; sleep 1000"
  @run_stubborn """
  MuonTrap.cmd("sh", ["-c", script], node: node, env: env, delay_to_sigkill: 50)
  """

  defp nodes(%{network: network}, names),
    do: if(network, do: Nodes.start(network, names), else: [])

  # The caller on `calling`, and the tree of its program on `working`, which stands.
  defp stubborn(calling, working, %{token: token, env: env}) do
    caller = spawn_eval(calling, @run_stubborn, node: working.node, env: env, script: @stubborn)
    assert Trees.eventually(fn -> length(Trees.carrying(token)) == 3 end)
    caller
  end

  defp gone?(token), do: Trees.eventually(fn -> Trees.carrying(token) == [] end)

  defp idle?(node) do
    owner? =
      "Process.list() |> Enum.any?(&match?({_, [{MuonTrap.Remote.Owner, _, _, _} | _]}, " <>
        "Process.info(&1, :current_stacktrace)))"

    Trees.eventually(fn -> call(node, MuonTrap, :list, []) == [] and not eval(node, owner?) end)
  end

  # A process takes some time to be gone after its last message.
  defp processes(node), do: length(call(node, :erlang, :processes, []))

  describe "a program on another node" do
    test "has its environment, directory and PATH, by every function", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        node = [node: working.node]

        code = ~S"""
        [
          MuonTrap.cmd("sh", ["-c", "echo $WHERE"], node: node),
          MuonTrap.cmd!("sh", ["-c", "echo $WHERE"], node: node),
          MuonTrap.shell("echo $WHERE; exit 3", node: node),
          MuonTrap.run("sh", ["-c", "echo $WHERE; echo $OWN >&2"], env: [{"OWN", "x"}], capture_stderr: true, node: node),
          MuonTrap.run!("pwd", [], cd: "/", node: node).output,
          MuonTrap.stream!("sh", ["-c", "echo $WHERE; echo $WHERE"], lines: 1, node: node) |> Enum.to_list(),
          MuonTrap.stream("sh", ["-c", "echo $WHERE; exit 3"], node: node) |> Enum.to_list(),
          ["a\n"] |> MuonTrap.pipe!("sed", ["s/a/b/"], node: node) |> Enum.to_list(),
          MuonTrap.cmd("sh", ["-c", "echo $WHERE"], node: node()),
          Process.info(self(), :messages)
        ]
        """

        there = "working\n"

        assert [cmd, cmd!, shell, run, pwd, stream!, stream, pipe!, own, messages] =
                 eval(calling, code, node)

        assert {cmd, cmd!, shell, pwd} == {{there, 0}, there, {there, 3}, "/\n"}
        assert %Result{status: {:exited, 0}, output: ^there, stderr: "x\n"} = run
        assert run.os_pid > 0 and run.usage.max_rss_bytes > 0
        assert stream! == ["working", "working"]
        assert [^there, {:exit, %Result{status: {:exited, 3}}}] = stream
        assert pipe! == ["b\n"]
        assert own == {"calling\n", 0}
        assert messages == {:messages, []}
      end
    end

    test "is fed by functions of the caller, and what it says goes to functions of the caller",
         context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        code = ~S"""
        input = Stream.map(1..3, &"#{&1} #{node()}\n")
        fun = fn acc, {:cont, bytes} -> [acc, bytes, "#{node()}"]; acc, :done -> IO.iodata_to_binary(acc); _acc, :halt -> :ok end
        {output, 0} = MuonTrap.cmd("sort", ["-r"], node: node, input: input, into: %MuonTrapTest.Sink{fun: fun})
        output
        """

        here = calling.node

        assert eval(calling, code, node: working.node) ==
                 "3 #{here}\n2 #{here}\n1 #{here}\n#{here}"
      end
    end

    test "loses nothing, in neither direction, whatever the window is", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        code = ~S"""
        input = :binary.copy("0123456789", 100_000)
        for window <- [1_000, 10_240, 1_048_576] do
          {output, 0} = MuonTrap.cmd("cat", [], node: node, input: input, stdio_window: window)
          true = output == input
        end
        {"\0", 0} = MuonTrap.cmd("head", ["-c", "1", "/dev/zero"], node: node, stdio_window: 1)
        lines = MuonTrap.cmd!("seq", ["20000"], node: node, lines: 1, into: [])
        true = lines == Enum.map(1..20_000, &Integer.to_string/1)
        for _ <- 1..50, do: {:whole, 66_890} = {:whole, byte_size(MuonTrap.cmd!("head", ["-c", "66890", "/dev/zero"], node: node))}
        Process.info(self(), :messages)
        """

        assert eval(calling, code, node: working.node) == {:messages, []}
      end
    end

    test "waits for a caller that takes its time", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        code = ~S"""
        stream = MuonTrap.stream!("yes", [], node: node, stdio_window: 4_096)
        {:suspended, [_first], go_on} = Enumerable.reduce(stream, {:cont, []}, &{:suspend, [&1 | &2]})
        read = fn -> :erpc.call(node, MuonTrap, :list, []) |> hd() |> Map.fetch!(:stdout_bytes) end
        full? = MuonTrap.Trees.eventually(fn -> read.() == 4_096 end)
        more = for _ <- 1..200, uniq: true, do: read.()
        {:suspended, chunks, go_on} = go_on.({:cont, []})
        {:suspended, chunks, go_on} = go_on.({:cont, chunks})
        # The first half was acknowledged with the step before, and the second one now.
        goes_on? = MuonTrap.Trees.eventually(fn -> read.() in 6_144..8_192 end)
        {full?, more, Enum.map(chunks, &byte_size/1), goes_on?, go_on.({:halt, :over}), MuonTrap.Trees.eventually(fn -> :erpc.call(node, MuonTrap, :list, []) == [] end)}
        """

        assert {true, [4_096], [2_048, 2_048], true, {:halted, :over}, true} =
                 eval(calling, code, node: working.node)
      end
    end

    test "holds its input back when it does not read, and needs not read it", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        code = ~S"""
        pulled = :counters.new(1, [])
        piece = String.duplicate("x", 1_000)
        input = Stream.repeatedly(fn -> :counters.add(pulled, 1, 1_000); piece end)
        task = Task.async(fn -> MuonTrap.cmd("sleep", ["1000"], node: node, input: input, timeout: 5_000) end)
        # What is on its way, a pipe, and what the one who pulls is ahead.
        full? = MuonTrap.Trees.eventually(fn -> :counters.get(pulled, 1) > 131_072 end)
        result = Task.await(task, :infinity)
        pulled = :counters.get(pulled, 1)
        test = self()
        watched = Stream.resource(fn -> nil end, &{[piece], &1}, fn _ -> send(test, :halted) end)
        task = Task.async(fn -> MuonTrap.cmd("sh", ["-c", "exec <&-; sleep 1000"], node: node, input: watched) end)
        halted? = receive do :halted -> MuonTrap.Trees.eventually(fn -> length(:erpc.call(node, MuonTrap, :list, [])) == 1 end) after 30_000 -> false end
        Task.shutdown(task, :brutal_kill)
        {full?, result, pulled, MuonTrap.cmd("head", ["-c", "3"], node: node, input: input), halted?}
        """

        assert {true, {"", :timeout}, pulled, {"xxx", 0}, true} =
                 eval(calling, code, node: working.node)

        assert pulled < 250_000
      end
    end

    test "fails as it does here, in words of that node", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        node = [node: working.node]
        run = fn code -> catch_error(eval(calling, code, node)) end
        assert run.(~S|MuonTrap.cmd("no_such_program", [], node: node)|) == :enoent
        assert run.(~S|MuonTrap.cmd("true", [], node: node, cd: "/no such place")|) == :enoent

        assert %Error{reason: :unknown_user, subject: "no such user"} =
                 run.(~S|MuonTrap.cmd("true", [], node: node, uid: "no such user")|)

        script = ~S"""
        MuonTrap.stream!("sh", ["-c", "echo why >&2; exit 3"], capture_stderr: true, node: node) |> Stream.run()
        """

        assert %ExitError{stderr: "why\n", result: %Result{status: {:exited, 3}}} = run.(script)

        assert {"", :timeout} =
                 eval(calling, ~S|MuonTrap.cmd("sleep", ["1000"], node: node, timeout: 50)|, node)

        assert %ArgumentError{} = run.(~S|MuonTrap.cmd("true", [], node: node, into: 1)|)
        assert idle?(working)
      end
    end

    test "is told of on the calling node alone", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        stand_in = ~S"""
        defmodule :telemetry do
          def execute([:muontrap, :command, event], measurements, metadata),
            do: send(metadata.owner, {event, measurements, metadata, node()})
        end
        """

        eval(calling, stand_in)
        eval(working, stand_in)
        code = ~S|MuonTrap.cmd("echo", ["five"], node: node); Process.info(self(), :messages)|
        there = working.node
        here = calling.node

        assert {:messages, [{:start, _, %{node: ^there}, ^here}, {:stop, numbers, stop, ^here}]} =
                 eval(calling, code, node: working.node)

        assert %{stdout_bytes: 5, stderr_bytes: 0} = numbers
        assert %{status: {:exited, 0}, stopped: false, command: "echo", node: ^there} = stop
      end
    end

    test "leaves no process and no connection's end behind", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        run = fn ->
          eval(calling, ~S|for _ <- 1..20, do: MuonTrap.cmd("true", [], node: node)|,
            node: working.node
          )
        end

        run.()
        before = {processes(calling), processes(working)}
        run.()
        assert Trees.eventually(fn -> {processes(calling), processes(working)} <= before end)
      end
    end

    test "can be signalled, and answers when there is nobody to signal", context do
      for [calling, working] <- [nodes(context, [:calling, :working])] do
        code = ~S"""
        options = MuonTrap.Options.validate!(:run, "sh", ["-c", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done"], node: node)
        {:ok, command} = MuonTrap.Command.start(options, {:null, :pipe, :inherit}, announce: true)
        {{:started, pid}, command} = MuonTrap.Command.next(command, :infinity)
        {{:stdout, "ready\n"}, command} = MuonTrap.Command.next(command, :infinity)
        :ok = MuonTrap.Handle.signal(command.handle, 10)
        {{:ended, outcome}, command} = MuonTrap.Command.next(command, :infinity)
        # As what was on its way when the connection broke after the end.
        send(command.handle.alias, {:muontrap, command.ref, :late})
        {is_integer(pid), outcome.status, MuonTrap.Handle.signal(command.handle, 10), Process.info(self(), :messages)}
        """

        assert eval(calling, code, node: working.node) ==
                 {true, {:exited, 7}, {:error, :esrch}, {:messages, []}}
      end
    end
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
        binding = [node: working.node, env: context.env, script: @stubborn]

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
        binding = [first: first.node, second: second.node, env: context.env]

        code = ~S"""
        MuonTrap.stream!("yes", [], node: first, env: env)
        |> MuonTrap.pipe!("cat", [], node: second, env: env)
        |> Stream.run()
        """

        caller = spawn_eval(calling, code, binding)
        assert Trees.eventually(fn -> length(Trees.carrying(context.token)) == 2 end)
        Trees.kill(first.os_pid, "KILL")
        assert {%Error{step: :node, subject: subject}, []} = outcome(calling, caller)
        assert subject == Atom.to_string(first.node)
        assert gone?(context.token)
        assert idle?(second)
      end
    end

    test "the caller of a pipeline on two nodes is killed", context do
      for [calling, first, second] <- [nodes(context, [:calling, :first, :second])] do
        binding = [first: first.node, second: second.node, env: context.env]

        code = ~S"""
        MuonTrap.stream!("yes", [], node: first, env: env)
        |> MuonTrap.pipe!("cat", [], node: second, env: env)
        |> Stream.run()
        """

        _caller = spawn_eval(calling, code, binding)
        assert Trees.eventually(fn -> length(Trees.carrying(context.token)) == 2 end)
        Trees.kill(calling.os_pid, "KILL")
        assert gone?(context.token)
        assert idle?(first) and idle?(second)
      end
    end
  end

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
