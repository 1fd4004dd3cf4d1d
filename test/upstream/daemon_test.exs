# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Upstream.DaemonTest do
  @moduledoc """
  `MuonTrap.Daemon` as MuonTrap 1.8 and 2.0 document it: its option table, its functions, its place under a supervisor.
  """

  use MuonTrap.Case

  import ExUnit.{CaptureIO, CaptureLog}
  import MuonTrap.Daemons
  import MuonTrap.Trees, only: [program: 1]

  alias MuonTrap.{Daemon, OtherVM, Trees}

  setup :trap_exits

  # Runs a program to its end, and returns what was logged.
  defp log_of(command, args, opts, format \\ [format: "$level $metadata$message\n"]) do
    capture_log(format, fn ->
      {:ok, pid} = Daemon.start_link(command, args, opts)
      stopped(pid)
    end)
  end

  describe "under a supervisor" do
    test "a child is a list of command, arguments and options" do
      for opts <- [[], [[]], [[cd: "/"]], [%{cd: "/"}]] do
        start = ["my_server", ["--options", "foo"] | opts]
        spec = Daemon.child_spec(start)
        assert %{id: Daemon, restart: :permanent, type: :worker} = spec
        assert {Daemon, :start_link, ["my_server", ["--options", "foo"], _opts]} = spec.start
      end
    end

    test "two have ids of their own, and names by which they are called" do
      child = fn id ->
        Supervisor.child_spec({Daemon, ["sleep", ["1000"], [name: id]]}, id: id)
      end

      supervisor = supervise([child.(:server1), child.(:server2)])
      assert Supervisor.count_children(supervisor).active == 2
      assert Daemon.os_pid(:server1) != Daemon.os_pid(:server2)
      Supervisor.stop(supervisor)
    end

    test "a transient one is started again after a failure alone, a temporary one never" do
      for {restart, expected} <- [transient: ["failed", "succeeded"], temporary: ["failed"]] do
        file = Path.join(System.tmp_dir!(), "muontrap-#{System.unique_integer([:positive])}")
        on_exit(fn -> File.rm(file) end)
        script = "test -e #{file} && echo succeeded && exit; touch #{file}; echo failed; exit 1"
        args = ["sh", ["-c", script], [logger_fun: to_self()]]
        supervisor = supervise([Supervisor.child_spec({Daemon, args}, restart: restart)])
        for line <- expected, do: assert_receive({:line, ^line})

        await(fn -> Supervisor.count_children(supervisor).active == 0 end)
        refute_received {:line, _any}
        Supervisor.stop(supervisor)
      end
    end

    test "a permanent one is started again whatever its end" do
      args = ["sh", ["-c", "echo again"], [logger_fun: to_self()]]
      supervisor = supervise([{Daemon, args}])
      for _ <- 1..3, do: assert_receive({:line, "again"})
      Supervisor.stop(supervisor)
    end

    test "termination and an exit signal end the program" do
      supervisor = supervise([{Daemon, ["sleep", ["1000"]]}])
      os_pid = Daemon.os_pid(child(supervisor))
      assert alive?(os_pid)
      :ok = Supervisor.terminate_child(supervisor, Daemon)
      refute alive?(os_pid)
      Supervisor.stop(supervisor)

      {:ok, pid} = Daemon.start_link("sleep", ["1000"])
      os_pid = Daemon.os_pid(pid)
      Process.exit(pid, :oops)
      assert stopped(pid) == :oops
      refute alive?(os_pid)
    end

    test "one that writes without end, or ignores SIGTERM, is ended too" do
      deaf = ["-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"]

      for {command, args} <- [{"yes", []}, {"sh", deaf}] do
        opts = [log_output: :debug, delay_to_sigkill: 50]

        capture_log(fn ->
          {:ok, pid} = Daemon.start_link(command, args, opts)
          os_pid = Daemon.os_pid(pid)
          await(fn -> Daemon.statistics(pid).output_byte_count > 0 end)
          GenServer.stop(pid)
          refute alive?(os_pid)
        end)
      end
    end
  end

  describe "log options" do
    test "log nothing unless asked to" do
      log = log_of("sh", ["-c", "echo out; echo err >&2"], stderr_to_stdout: true)
      assert log == "info sh: Process exited successfully\n"
    end

    test "log lines with each of Logger's levels" do
      for level <- [:emergency, :alert, :critical, :error, :warning, :warn, :notice, :info] do
        # Logger 1.14 has four names for all of them in what it prints.
        assert log_of("echo", ["hello"], log_output: level) =~ "echo: hello\n"
      end
    end

    test "put the program, or what is given, before each line" do
      path = System.find_executable("echo")
      assert log_of(path, ["hello"], log_output: :error) =~ "#{path}: hello\n"
      log = log_of("echo", ["hello"], log_output: :error, log_prefix: "echo says: ")
      assert log =~ "echo says: hello\n"
    end

    test "transform lines" do
      opts = [log_output: :error, log_transform: &String.replace(&1, "hello", "goodbye")]
      assert log_of("echo", ["hello"], opts) =~ "echo: goodbye\n"
      # As documented for those whose logger knows what to do with odd bytes.
      opts = [log_output: :error, log_transform: &Function.identity/1]
      assert log_of("echo", ["hello"], opts) =~ "echo: hello\n"
    end

    test "make text of what is none" do
      args = ["x\\377\\376ti\\200g\\n"]
      assert log_of("printf", args, log_output: :error) =~ "printf: x\uFFFD\uFFFDti\uFFFDg\n"
    end

    test "take standard error together with standard output, or alone" do
      args = ["-c", "echo out; echo err >&2"]
      both = log_of("sh", args, log_output: :error, stderr_to_stdout: true)
      assert both =~ "sh: out\n" and both =~ "sh: err\n"
      alone = log_of("sh", args, log_output: :error, capture_stderr_only: true)
      assert alone =~ "sh: err\n"
      refute alone =~ "sh: out\n"
    end

    test "add metadata, of which two keys cannot be changed" do
      opts = [log_output: :error, logger_metadata: [foo: :bar, muontrap_cmd: "mine"]]
      keys = [metadata: [:foo, :muontrap_cmd, :muontrap_args], format: "$metadata$message\n"]
      log = log_of("echo", ["-n", "hello"], opts, keys)
      assert log =~ "foo=bar muontrap_cmd=echo muontrap_args=-n hello echo: hello\n"
    end

    test "replace the logger altogether" do
      for fun <- [to_self(), {__MODULE__, :told, [self()]}] do
        opts = [
          logger_fun: fun,
          log_output: :error,
          log_prefix: "p",
          log_transform: fn _ -> "t" end
        ]

        log = log_of("echo", ["hello"], opts)
        assert lines() == ["hello"]
        assert log == "info echo: Process exited successfully\n"
      end

      assert log_of("echo", ["hello"], logger_fun: {__MODULE__, :told}) =~ "told hello"
    end

    test "log all of a thousand lines through a small window" do
      line = String.duplicate("0123456789", 6)
      script = "for i in $(seq 1000); do echo #{line}; done"
      log = log_of("sh", ["-c", script], log_output: :error, stdio_window: 101)
      assert length(String.split(log, line)) == 1001
    end
  end

  def told(line, test \\ nil) do
    require Logger
    if test, do: send(test, {:line, line}), else: Logger.info(["told ", line])
  end

  describe "streams" do
    test "the input stays open: programs that end with it live on" do
      for {command, args} <- [{"cat", []}, {"sh", []}, {"sh", ["-s"]}] do
        {:ok, pid} = Daemon.start_link(command, args)
        os_pid = Daemon.os_pid(pid)
        # They have come to read, and wait.
        await(fn -> File.read!("/proc/#{os_pid}/stat") =~ ") S " end)
        assert Daemon.os_pid(pid) == os_pid
        assert alive?(os_pid)
        GenServer.stop(pid)
      end
    end

    test "standard error is that of the VM, so that no complaint gets lost" do
      code = """
      Logger.configure(level: :none)
      for opts <- [[], [log_output: :error], [logger_fun: &Function.identity/1], [stderr: :null]] do
        Process.flag(:trap_exit, true)
        {:ok, pid} = MuonTrap.Daemon.start_link("sh", ["-c", "echo complaint >&2; echo out"], opts)
        receive do {:EXIT, ^pid, :normal} -> :ok end
      end
      """

      {output, status} = OtherVM.run(OtherVM.directory(), [], code)
      assert {output, status} == {String.duplicate("complaint\n", 3), 0}
    end
  end

  describe "wait_for" do
    test "runs first, holds nobody up, and its value is of no matter" do
      test = self()

      wait = fn ->
        send(test, {:waits, self()})

        receive do
          :go_on -> :ignored
        end
      end

      {:ok, pid} = Daemon.start_link("sleep", ["1000"], wait_for: wait)
      assert_receive {:waits, waiting}
      assert Daemon.os_pid(pid) == :error
      assert %{output_byte_count: 0} = Daemon.statistics(pid)
      send(waiting, :go_on)
      await(fn -> Daemon.os_pid(pid) != :error end)
      assert alive?(Daemon.os_pid(pid))
      GenServer.stop(pid)
    end

    test "that raises ends the Daemon, whose program never runs" do
      file = Path.join(System.tmp_dir!(), "muontrap-#{System.unique_integer([:positive])}")
      {:ok, pid} = Daemon.start_link("touch", [file], wait_for: fn -> raise "boom" end)
      assert {%RuntimeError{message: "boom"}, _stacktrace} = stopped(pid)
      refute File.exists?(file)
    end
  end

  describe "the stop reason" do
    test "tells success, failure and what a function makes of it, and the end is logged" do
      for {code, reason, text} <- [
            {0, :normal, "info sh: Process exited successfully\n"},
            {1, :error_exit_status, "error sh: Process exited with status 1, pid "}
          ] do
        log =
          capture_log([format: "$level $message\n"], fn ->
            {:ok, pid} = Daemon.start_link("sh", ["-c", "exit #{code}"])
            assert stopped(pid) == reason
          end)

        assert log =~ text
      end

      to_reason = fn
        138 -> :usr1
        status -> {:other, status}
      end

      opts = [exit_status_to_reason: to_reason]
      {:ok, pid} = Daemon.start_link("sh", ["-c", "kill -USR1 $$"], opts)
      assert stopped(pid) == :usr1
      {:ok, pid} = Daemon.start_link("sh", ["-c", "exit 3"], opts)
      assert stopped(pid) == {:other, 3}
    end

    test "is that of System.cmd/3 for a program that is not there" do
      assert {:error, %MuonTrap.Error{reason: :enoent}} = Daemon.start_link("no-such-program", [])
    end
  end

  describe "functions" do
    test "os_pid is right after the start of a program that ends at once" do
      for _ <- 1..20 do
        {:ok, pid} = Daemon.start_link("true", [])
        assert is_integer(Daemon.os_pid(pid))
        assert stopped(pid) == :normal
      end
    end

    test "statistics count the bytes of output that somebody wants" do
      for {opts, count} <- [
            {[log_output: :debug], 4},
            {[log_output: :debug, stderr_to_stdout: true], 10},
            {[capture_stderr_only: true], 6},
            {[], 0}
          ] do
        script = "echo out; echo error >&2; sleep 1000"
        {:ok, pid} = Daemon.start_link("sh", ["-c", script], opts)
        await(fn -> Daemon.statistics(pid).output_byte_count == count end)
        assert Daemon.statistics(pid).cgroup == %{}
        GenServer.stop(pid)
      end
    end

    test "environment variables reach the program" do
      args = ["-c", "echo $MUONTRAP_TEST_VAR"]
      env = [{"MUONTRAP_TEST_VAR", "HELLO_THERE"}]
      {:ok, pid} = Daemon.start_link("sh", args, env: env, logger_fun: to_self())
      assert stopped(pid) == :normal
      assert lines() == ["HELLO_THERE"]
    end

    test "a Daemon that is killed, and one whose owner ends, leave nothing" do
      token = Trees.token()
      opts = [env: [{"MUONTRAP_TOKEN", token}]]

      owner =
        spawn(fn ->
          {:ok, _pid} =
            Daemon.start_link(program("daemonize"), [], opts) && Process.sleep(:infinity)
        end)

      await(fn -> Trees.carrying(token) != [] end)
      Process.exit(owner, :oops)
      await(fn -> Trees.carrying(token) == [] end)

      {:ok, pid} = Daemon.start_link(program("mixed_tree"), ["20"], opts)
      await(fn -> length(Trees.carrying(token)) >= 20 end)
      Process.exit(pid, :kill)
      await(fn -> Trees.carrying(token) == [] end)
      assert stopped(pid) == :killed
    end
  end

  test "a logger that gets odd bytes does not bring the log down" do
    shown =
      capture_io(:user, fn ->
        {:ok, pid} = Daemon.start_link("printf", ["a\\377b\\n"], log_output: :error)
        stopped(pid)
        Logger.flush()
      end)

    refute shown =~ "FORMATTER"
  end
end
