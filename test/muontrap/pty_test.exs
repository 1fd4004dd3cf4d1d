# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.PtyTest do
  use MuonTrap.Case

  import MuonTrap.Daemons, only: [to_self: 0]

  alias MuonTrap.{Cgroups, Command, Daemon, Nif, Options, Terminal, Trees}

  @patience_ms 60_000

  defp sh(script, opts \\ []), do: MuonTrap.cmd("sh", ["-c", script], [pty: true] ++ opts)

  defp installed?(program),
    do: System.find_executable(program) != nil or Cgroups.announce("there is no #{program}")

  # The terminals that a process holds the masters of.
  defp masters(pid) do
    for name <- File.ls!("/proc/#{pid}/fd"),
        {:ok, target} <- [File.read_link("/proc/#{pid}/fd/#{name}")],
        String.ends_with?(target, "/ptmx"),
        do: target
  end

  describe "a program with a terminal" do
    test "has it as all three streams and as the controlling one, and leads its foreground" do
      script = ~S(test -t 0 && test -t 1 && test -t 2 && tty; ps -o pid=,sid=,tpgid= -p $$)
      assert {output, 0} = sh(script)
      assert ["/dev/pts/" <> _number, ids] = String.split(output, "\r\n", trim: true)
      assert [pid, pid, pid] = String.split(ids)
    end

    test "finds its size before it runs" do
      assert MuonTrap.cmd("stty", ["size"], pty: true) == {"24 80\r\n", 0}
      assert MuonTrap.cmd("stty", ["size"], pty: [rows: 7, cols: 300]) == {"7 300\r\n", 0}
    end

    test "finds the name of it in TERM, never that of the VM's" do
      term = fn opts -> sh(~S(printf "$TERM"), opts) |> elem(0) end
      assert term.([]) == "xterm"
      assert term.(env: [{"TERM", "vt100"}]) == "vt100"
      assert term.(pty: [term: "screen"]) == "screen"
      assert term.(pty: [term: "screen"], env: [{"TERM", "vt100"}]) == "screen"
      assert sh(~S(printf "$TERM"), pty: false, env: [{"TERM", nil}]) == {"", 0}
    end

    test "owns it, also as another user" do
      if Cgroups.root?() or Cgroups.announce("root is needed to change the user") do
        script = ~S|stat -c %U "$(tty)"; echo by name >"$(tty)"; echo by tty >/dev/tty|
        assert sh(script, uid: "nobody") == {"nobody\r\nby name\r\nby tty\r\n", 0}
      end
    end

    test "finds a sane one, whatever the one before left" do
      assert {"", 137} = sh("stty raw -echo; kill -9 $$")
      assert {modes, 0} = sh("stty -a")
      assert modes =~ ~r/ icanon / and modes =~ ~r/ echo / and modes =~ ~r/ onlcr /
    end

    test "is the only one that has it" do
      terminal = Terminal.open("cat", [])
      assert [_to_read, _to_type] = masters("self")
      spawner = Nif.spawner_pid()
      for pid <- [spawner | Trees.children(spawner)], do: assert(masters(pid) == [])
      assert {:ended, _outcome} = Terminal.stop(terminal)
      assert masters("self") == []
    end
  end

  describe "output" do
    test "has a return before each newline; lines have neither" do
      assert sh("echo one; echo two >&2") == {"one\r\ntwo\r\n", 0}
      assert sh("echo one; echo; printf two", lines: 1, into: []) == {["one", "", "two"], 0}
    end

    test "arrives to its last byte before the end is told" do
      expected = Enum.map_join(1..2_000, &"#{&1}\r\n")
      for _ <- 1..50, do: assert(MuonTrap.cmd("seq", ["2000"], pty: true) == {expected, 0})
    end

    test "goes on after a pause" do
      assert sh("for i in 1 2 3; do echo $i; sleep 0.05; done") == {"1\r\n2\r\n3\r\n", 0}
    end

    test "of a program that has closed it comes once it opens it again" do
      script =
        "exec <&- >&- 2>&-; sleep 0.3; echo back >/dev/tty; sleep 0.3; echo again >/dev/tty"

      assert sh(script) == {"back\r\nagain\r\n", 0}
    end

    test "of one that has closed it keeps nobody busy" do
      terminal = Terminal.open("sh", ["-c", "echo ready; exec <&- >&- 2>&-; exec sleep 1000"])
      {_shown, terminal} = Terminal.expect(terminal, "ready")
      # The owner has taken what there was, and waits.
      deadline = System.monotonic_time(:millisecond) + 300
      assert {:timeout, _command} = Command.next(terminal.command, deadline)

      idle? = fn ->
        before = reactor_ticks()
        receive(after: (200 -> reactor_ticks() == before))
      end

      # The kernel calls it ready all the time.
      assert Trees.eventually(idle?, 20_000)
      assert {:ended, _outcome} = Terminal.stop(terminal)
    end

    # The CPU time of the one thread that waits for all.
    defp reactor_ticks do
      for task <- Path.wildcard("/proc/self/task/*"),
          File.read!(Path.join(task, "comm")) == "muontrap\n" do
        task |> Path.join("stat") |> File.read!() |> String.split() |> Enum.slice(13, 2)
      end
    end

    test "is over when a background child still holds the terminal, and so is that child" do
      token = Trees.token()
      script = "(trap '' HUP; exec sleep 1000) & echo done; exit 3"
      env = [{"MUONTRAP_TOKEN", token}]
      assert sh(script, env: env) == {"done\r\n", 3}
      assert Trees.carrying(token) == []
    end

    test "waits in the terminal while its owner has a window of it" do
      options = Options.validate!(:run, "yes", [], pty: true, stdio_window: 1_000)
      {:ok, command} = Command.start(options, {:null, :pipe, :stdout}, announce: true)
      {{:started, pid}, command} = Command.next(command, :infinity)
      {{:stdout, _bytes}, command} = Command.next(command, :infinity)
      state = fn -> File.read!("/proc/#{pid}/stat") |> String.split() |> Enum.at(2) end
      assert Trees.eventually(fn -> state.() == "S" end)
      info = Nif.info(command.handle)
      assert info.stdout_bytes <= 1_000 and info.unacknowledged_bytes <= 1_000
      # It goes on.
      for _ <- 1..100, reduce: command do
        command ->
          assert {{:stdout, bytes}, command} = Command.next(command, :infinity)
          assert byte_size(bytes) <= 1_000
          command
      end

      assert {:ended, _outcome} = Command.abort(command)
    end

    test "is streamed, and that of a program in a pipeline" do
      stream = MuonTrap.stream!("sh", ["-c", "echo one; echo two"], pty: true, lines: 1)
      assert Enum.to_list(stream) == ["one", "two"]
      assert MuonTrap.stream!("yes", [], pty: true, lines: 1) |> Enum.take(2) == ["y", "y"]
      sorted = ["b\n", "a\n"] |> MuonTrap.pipe!("sh", ["-c", "stty -echo; sort"], pty: true)
      assert sorted |> Enum.join() |> String.ends_with?("a\r\nb\r\n")
    end
  end

  describe "another size" do
    test "is told by SIGWINCH, and found" do
      script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done"
      terminal = Terminal.open("sh", ["-c", script])
      {_shown, terminal} = Terminal.expect(terminal, "ready")
      assert Nif.resize(terminal.command.handle, 50, 132) == :ok
      assert {{:exited, 0}, shown} = Terminal.finish(terminal)
      assert shown =~ "50 132"
      assert Nif.resize(terminal.command.handle, 50, 132) == {:error, :esrch}
    end

    test "is nothing for a program without a terminal" do
      daemon = start_supervised!({Daemon, ["cat", []]})
      assert Daemon.resize(daemon, 10, 20) == {:error, :enotty}
      assert_raise ArgumentError, ~r/got: 0 and 20/, fn -> Daemon.resize(daemon, 0, 20) end
    end
  end

  describe "a stop" do
    @both "trap 'echo asked' TERM; trap 'echo hung up; exit' HUP; echo ready; while :; do sleep 0.01; done"

    test "hangs up on who is still there after half of the grace" do
      assert {output, :timeout} = sh(@both, timeout: 500, delay_to_sigkill: 6_000)
      assert output =~ ~r/ready\r\nasked\r\nhung up\r\n/
    end

    test "asks only once whom it asks by SIGHUP" do
      script = "trap 'echo hung up' HUP; while :; do sleep 0.01; done"
      opts = [timeout: 500, delay_to_sigkill: 1_000, stop_signal: :sighup]
      assert sh(script, opts) == {"hung up\r\n", :timeout}
    end

    test "ends a shell, which ignores what asks others, long before it is killed" do
      if installed?("bash") do
        opts = [pty: true, stdin: :open, timeout: 500, delay_to_sigkill: 6_000]
        result = MuonTrap.run("bash", ["--norc", "-i"], opts)
        # As a shell that was hung up on: SIGKILL would be 137.
        assert result.timed_out and result.exit_status == 129
      end
    end

    test "leaves those alone who end in time" do
      script =
        "trap 'echo asked; exit' TERM; trap 'echo hung up' HUP; while :; do sleep 0.01; done"

      assert sh(script, timeout: 500, delay_to_sigkill: 6_000) == {"asked\r\n", :timeout}
    end
  end

  describe "a Daemon" do
    test "logs what its program shows, types, changes the size and ends the input" do
      args = ["-c", "stty size; while read line; do echo \"got $line\"; stty size; done"]
      opts = [pty: [rows: 9, cols: 99], logger_fun: to_self()]
      daemon = start_supervised!({Daemon, ["sh", args, opts]}, restart: :temporary)
      assert_receive {:line, "9 99"}, @patience_ms
      assert Daemon.resize(daemon, 11, 111) == :ok
      assert Daemon.write(daemon, "word\n") == :ok
      for line <- ["word", "got word", "11 111"], do: assert_receive({:line, ^line}, @patience_ms)
      monitor = Process.monitor(daemon)
      assert Daemon.close_stdin(daemon) == :ok
      assert_receive {:DOWN, ^monitor, :process, ^daemon, :normal}, @patience_ms
    end

    test "reads a terminal that nobody wants to see, so that its program does not wait" do
      daemon = start_supervised!({Daemon, ["yes", [], [pty: true]]})
      much? = fn -> Daemon.statistics(daemon).stdout_bytes > 1_000_000 end
      assert Trees.eventually(much?)
    end
  end

  describe "the option" do
    test "is refused with a size or a name that makes no sense" do
      for {value, culprit} <- [
            {[rows: 0], "{:rows, 0}"},
            {[cols: 65_536], "{:cols, 65536}"},
            {[term: ""], "{:term, \"\"}"},
            {[term: "a\0b"], inspect({:term, "a\0b"})},
            {[lines: 3], "{:lines, 3}"},
            {:yes, ":yes"}
          ] do
        message = ~r/invalid option :pty for .* got: #{Regex.escape(culprit)}$/
        assert_raise ArgumentError, message, fn -> MuonTrap.cmd("true", [], pty: value) end
      end
    end

    test "is refused beside others that want a stream for themselves" do
      for {kind, option} <- [
            cmd: {:use_stdio, false},
            run: {:capture_stderr, true},
            cmd: {:capture_stderr_only, true},
            daemon: {:stderr, :null},
            daemon: {:log_stderr, :info}
          ] do
        message = ~r/cannot take :pty together with #{inspect(elem(option, 0))}/

        assert_raise ArgumentError, message, fn ->
          Options.validate!(kind, "true", [], [option, pty: true])
        end
      end
    end
  end

  test "the examples of the guide give what it says" do
    examples = Regex.scan(~r/^iex> (.+)\n(\{.*\})/m, File.read!("guides/terminals.md"))
    assert length(examples) >= 6

    for [_all, code, result] <- examples do
      assert Code.eval_string(code) |> elem(0) == Code.eval_string(result) |> elem(0)
    end
  end
end
