# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.NodeTest do
  @moduledoc "Programs on another node, with all that they have on this one."

  use MuonTrap.Case

  import MuonTrap.NodeTrees
  import MuonTrap.Nodes, only: [eval: 2, eval: 3]

  alias MuonTrap.{Error, ExitError, Result, Trees}

  setup :network

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
        ask = fn ->
          {:asked, ref} = MuonTrap.Handle.ask(command.handle, {:signal, 10})
          receive do {^ref, answer} -> answer; {:DOWN, ^ref, :process, _owner, _reason} -> :nobody end
        end
        :ok = ask.()
        {{:ended, outcome}, command} = MuonTrap.Command.next(command, :infinity)
        # As what was on its way when the connection broke after the end.
        send(command.handle.alias, {:muontrap, command.ref, :late})
        {is_integer(pid), outcome.status, ask.(), Process.info(self(), :messages)}
        """

        assert eval(calling, code, node: working.node) ==
                 {true, {:exited, 7}, :nobody, {:messages, []}}
      end
    end
  end
end
