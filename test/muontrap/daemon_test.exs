# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DaemonTest do
  use ExUnit.Case

  import ExUnit.CaptureLog

  alias MuonTrap.{Cgroups, Daemon, Error}

  setup do
    Process.flag(:trap_exit, true)
    on_exit(fn -> until(fn -> MuonTrap.list() == [] end) end)
  end

  defp program(name), do: Application.app_dir(:muontrap, "priv/test_programs/#{name}")

  defp until(true?, left_ms \\ 10_000) do
    cond do
      true?.() ->
        :ok

      left_ms <= 0 ->
        flunk("not in time")

      true ->
        receive do
        after
          10 -> until(true?, left_ms - 10)
        end
    end
  end

  defp to_self do
    test = self()
    fn line -> send(test, {:line, line}) end
  end

  defp lines(acc \\ []) do
    receive do
      {:line, line} -> lines([line | acc])
    after
      0 -> Enum.reverse(acc)
    end
  end

  defp stopped(pid) do
    assert_receive {:EXIT, ^pid, reason}, 10_000
    reason
  end

  defp supervise(children, opts \\ []) do
    opts = Keyword.merge([strategy: :one_for_one, max_restarts: 1000, max_seconds: 1], opts)
    {:ok, supervisor} = Supervisor.start_link(children, opts)
    supervisor
  end

  defp child(supervisor, id \\ Daemon) do
    {^id, pid, _type, _modules} = List.keyfind(Supervisor.which_children(supervisor), id, 0)
    pid
  end

  defp alive?(os_pid), do: File.exists?("/proc/#{os_pid}")

  # Below those that the kernel hands out, which a connection of somebody else may get between two starts.
  defp free_port do
    port = Enum.random(10_000..30_000)

    case :gen_tcp.listen(port, ip: {127, 0, 0, 1}) do
      {:ok, socket} ->
        :ok = :gen_tcp.close(socket)
        port

      {:error, :eaddrinuse} ->
        free_port()
    end
  end

  defp answer(port) do
    {:ok, socket} =
      :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, packet: :line])

    {:ok, line} = :gen_tcp.recv(socket, 0, 5_000)
    :ok = :gen_tcp.close(socket)
    line |> String.trim() |> String.to_integer()
  end

  describe "in a supervision tree" do
    test "has a child specification whose shutdown covers the grace" do
      assert %{id: Daemon, restart: :permanent, type: :worker, shutdown: 10_500} =
               Daemon.child_spec(["true", []])

      assert %{shutdown: 70_000, start: {Daemon, :start_link, ["true", [], _opts]}} =
               Daemon.child_spec(["true", [], [delay_to_sigkill: 60_000]])
    end

    test "the program is gone when terminate_child returns, with all that it started" do
      script = "trap '' TERM; setsid sleep 1000 & sleep 1000 & echo $!; wait; wait"

      supervisor =
        supervise([
          {Daemon, ["sh", ["-c", script], [logger_fun: to_self(), delay_to_sigkill: 100]]}
        ])

      os_pid = supervisor |> child() |> Daemon.os_pid()
      assert_receive {:line, sleep}, 5_000
      assert alive?(os_pid) and alive?(sleep)

      :ok = Supervisor.terminate_child(supervisor, Daemon)
      refute alive?(os_pid) or alive?(sleep)
      assert MuonTrap.list() == []
    end

    test "finds its port free in each of 200 restarts by the supervisor" do
      port = free_port()
      opts = [ready: {:output, ~r/^ready$/}]
      supervisor = supervise([{Daemon, [program("tcp_server"), ["#{port}"], opts]}])

      os_pids =
        for _ <- 1..200 do
          os_pid = supervisor |> child() |> Daemon.os_pid()
          assert answer(port) == os_pid
          :ok = Supervisor.terminate_child(supervisor, Daemon)
          refute alive?(os_pid)
          {:ok, _pid} = Supervisor.restart_child(supervisor, Daemon)
          os_pid
        end

      assert length(Enum.uniq(os_pids)) == 200
      Supervisor.stop(supervisor)
    end

    test "finds its port free in each of 20 restarts after the Daemon was killed" do
      port = free_port()
      opts = [ready: {:output, ~r/^ready$/}]
      spec = {Daemon, [program("tcp_server"), ["#{port}"], opts]}
      supervisor = supervise([Supervisor.child_spec(spec, shutdown: :brutal_kill)])

      for _ <- 1..10 do
        assert answer(port) == supervisor |> child() |> Daemon.os_pid()
        :ok = Supervisor.terminate_child(supervisor, Daemon)
        {:ok, _pid} = Supervisor.restart_child(supervisor, Daemon)
      end

      for _ <- 1..10 do
        pid = child(supervisor)
        assert answer(port) == Daemon.os_pid(pid)
        Process.exit(pid, :kill)
        until(fn -> child(supervisor) not in [pid, :restarting, :undefined] end)
      end

      Supervisor.stop(supervisor)
    end

    test "waits for a program that takes long to die after its Daemon was killed" do
      opts = [delay_to_sigkill: 500, logger_fun: to_self()]
      args = ["-c", "trap '' TERM; echo started; while :; do sleep 1; done"]
      {:ok, pid} = Daemon.start_link("sh", args, opts)
      os_pid = Daemon.os_pid(pid)
      assert_receive {:line, "started"}, 5_000
      Process.exit(pid, :kill)
      assert stopped(pid) == :killed

      {:ok, next} = Daemon.start_link("sh", args, opts)
      refute alive?(os_pid)
      GenServer.stop(next)
    end

    test "a transient one is not restarted after status 0, and is after another" do
      flag = Path.join(System.tmp_dir!(), "muontrap-#{System.unique_integer([:positive])}")
      on_exit(fn -> File.rm(flag) end)
      script = "if [ -e #{flag} ]; then exit 0; else touch #{flag}; exit 1; fi"
      spec = Supervisor.child_spec({Daemon, ["sh", ["-c", script]]}, restart: :transient)
      supervisor = supervise([spec])
      until(fn -> child(supervisor) == :undefined end)
      assert File.exists?(flag)
      Supervisor.stop(supervisor)
    end

    test "is found by its name" do
      {:ok, pid} = Daemon.start_link("sleep", ["1000"], name: __MODULE__.Sleep)
      assert is_integer(Daemon.os_pid(__MODULE__.Sleep))

      assert {:error, {:already_started, ^pid}} =
               Daemon.start_link("sleep", ["1000"], name: __MODULE__.Sleep)

      GenServer.stop(pid)

      {:ok, pid} = Daemon.start_link("sleep", ["1000"], name: {:global, :muontrap_test})
      assert is_integer(Daemon.os_pid({:global, :muontrap_test}))
      GenServer.stop(pid)
    end

    test "ends with the process that started it" do
      test = self()

      starter =
        spawn(fn ->
          {:ok, pid} = Daemon.start_link("sleep", ["1000"])
          send(test, {:os_pid, Daemon.os_pid(pid)})

          receive do
            :never -> :ok
          end
        end)

      assert_receive {:os_pid, os_pid}, 5_000
      Process.exit(starter, :kill)
      until(fn -> not alive?(os_pid) end)
    end
  end

  describe "the stop reason" do
    test "follows the exit status" do
      for {code, reason} <- [{0, :normal}, {1, :error_exit_status}, {255, :error_exit_status}] do
        {:ok, pid} = Daemon.start_link(program("exit_with"), ["#{code}"])
        assert stopped(pid) == reason
      end
    end

    test "is what exit_status_to_reason makes of a status other than 0" do
      opts = [exit_status_to_reason: &{:status, &1}]
      {:ok, pid} = Daemon.start_link(program("exit_with"), ["7"], opts)
      assert stopped(pid) == {:status, 7}
      {:ok, pid} = Daemon.start_link(program("exit_with"), ["0"], opts)
      assert stopped(pid) == :normal
      {:ok, pid} = Daemon.start_link("sh", ["-c", "kill -KILL $$"], opts)
      assert stopped(pid) == {:status, 137}
    end
  end

  describe "a failed start" do
    test "returns the error, without a crash report" do
      log =
        capture_log(fn ->
          assert {:error, %Error{step: :lookup, subject: "no-such-program", reason: :enoent}} =
                   Daemon.start_link("no-such-program", [])

          assert {:error, %Error{step: :exec, reason: :eacces}} =
                   Daemon.start_link("/etc/passwd", [])

          assert {:error, %Error{step: :chdir, subject: "/no/such", reason: :enoent}} =
                   Daemon.start_link("true", [], cd: "/no/such")

          assert {:error, %Error{reason: :unknown_user}} =
                   Daemon.start_link("true", [], uid: "no-such-user")
        end)

      assert log == ""
    end

    test "raises for options that make no sense" do
      assert_raise ArgumentError, fn -> Daemon.start_link("true", [], no_such_option: 1) end
    end
  end

  describe "output" do
    test "of 20,000 lines is logged to the last line, in order" do
      {:ok, pid} = Daemon.start_link("seq", ["1", "20000"], logger_fun: to_self())
      assert stopped(pid) == :normal
      assert lines() == Enum.map(1..20_000, &"#{&1}")
    end

    test "is logged to the last line even if no newline ends it" do
      {:ok, pid} = Daemon.start_link("printf", ["one\\ntwo"], logger_fun: to_self())
      assert stopped(pid) == :normal
      assert lines() == ["one", "two"]
    end

    test "that a program writes when it is asked to stop is logged" do
      script = "trap 'echo bye; exit 0' TERM; echo hello; while :; do sleep 0.01; done"
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], logger_fun: to_self())
      assert_receive {:line, "hello"}, 5_000
      GenServer.stop(pid)
      assert lines() == ["bye"]
    end

    test "goes to functions given by module and name" do
      {:ok, pid} = Daemon.start_link("echo", ["hello"], logger_fun: {__MODULE__, :tell, [self()]})
      assert stopped(pid) == :normal
      assert lines() == ["hello"]
    end

    test "is logged with level, prefix, transformed and with metadata" do
      opts = [log_output: :warning, log_prefix: "p> ", log_transform: &String.upcase/1]
      opts = [logger_metadata: [colour: :red, muontrap_cmd: "mine"]] ++ opts

      log =
        capture_log(
          [metadata: [:colour, :muontrap_cmd], format: "$level $metadata$message\n"],
          fn ->
            {:ok, pid} = Daemon.start_link("echo", ["hello"], opts)
            assert stopped(pid) == :normal
          end
        )

      assert log =~ "p> HELLO"
      assert log =~ "colour=red"
      assert log =~ "muontrap_cmd=echo"
      assert log =~ ~r/^warn/
    end

    test "has a level of its own for standard error" do
      log =
        capture_log([format: "$level $message\n"], fn ->
          opts = [log_output: :info, log_stderr: :error]
          {:ok, pid} = Daemon.start_link("sh", ["-c", "echo out; echo err >&2"], opts)
          assert stopped(pid) == :normal
        end)

      assert log =~ "info sh: out"
      assert log =~ "error sh: err"
    end

    test "of standard error is captured alone or together with standard output" do
      script = ["-c", "echo out; echo err >&2"]

      for {opts, expected} <- [
            {[], ["out"]},
            {[stderr_to_stdout: true], ["out", "err"]},
            {[capture_stderr_only: true], ["err"]}
          ] do
        {:ok, pid} = Daemon.start_link("sh", script, [logger_fun: to_self()] ++ opts)
        assert stopped(pid) == :normal
        assert lines() == expected
      end
    end

    test "is not read when nothing asks for it" do
      {:ok, pid} = Daemon.start_link("sh", ["-c", "seq 1 20000; ls -l /proc/self/fd >&2"])
      assert stopped(pid) == :normal

      {:ok, pid} = Daemon.start_link("sleep", ["1000"])
      os_pid = Daemon.os_pid(pid)

      assert for(fd <- 0..2, do: File.read_link!("/proc/#{os_pid}/fd/#{fd}")) ==
               List.duplicate("/dev/null", 3)

      GenServer.stop(pid)
    end

    test "survives a logger that raises, throws and exits" do
      test = self()

      for fail <- [fn -> raise "no" end, fn -> throw(:no) end, fn -> exit(:no) end] do
        fun = fn line ->
          send(test, {:line, line})
          if line == "2", do: fail.()
        end

        log =
          capture_log(fn ->
            {:ok, pid} = Daemon.start_link("seq", ["1", "3"], logger_fun: fun)
            assert stopped(pid) == :normal
          end)

        assert lines() == ["1", "2", "3"]
        assert log =~ ~s(output of "seq" is not logged)
      end
    end

    test "waits for a slow logger: neither mailbox nor window grow" do
      test = self()

      fun = fn line ->
        send(test, {:line, line, self()})

        receive do
          :go_on -> :ok
        end
      end

      {:ok, pid} = Daemon.start_link("yes", [], logger_fun: fun, stdio_window: 4096)
      assert_receive {:line, "y", ^pid}, 5_000

      until(fn ->
        [%{unacknowledged_bytes: bytes, window_bytes: 4096}] = MuonTrap.list()
        bytes == 4096
      end)

      {:message_queue_len, length} = Process.info(pid, :message_queue_len)
      assert length <= 2
      Process.exit(pid, :kill)
      assert stopped(pid) == :killed
    end
  end

  def tell(line, pid), do: send(pid, {:line, line})

  describe "control" do
    test "sends signals by name and number to the program" do
      script = "trap 'echo hup' HUP; trap 'echo usr1' USR1; echo on; while :; do sleep 0.01; done"
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], logger_fun: to_self())
      assert_receive {:line, "on"}, 5_000
      assert Daemon.signal(pid, :sighup) == :ok
      assert_receive {:line, "hup"}, 5_000
      assert Daemon.signal(pid, 10) == :ok
      assert_receive {:line, "usr1"}, 5_000
      assert_raise ArgumentError, fn -> Daemon.signal(pid, :sigfoo) end
      assert Daemon.signal(pid, :sigkill) == :ok
      assert stopped(pid) == :error_exit_status
    end

    test "stops with stop_signal" do
      script = "trap 'echo int; exit 0' INT; echo on; while :; do sleep 0.01; done"

      {:ok, pid} =
        Daemon.start_link("sh", ["-c", script], logger_fun: to_self(), stop_signal: :sigint)

      assert_receive {:line, "on"}, 5_000
      GenServer.stop(pid)
      assert lines() == ["int"]
    end

    test "writes to the program and closes its input" do
      {:ok, pid} = Daemon.start_link("cat", [], stdin: :pipe, logger_fun: to_self())
      assert Daemon.write(pid, ["one", ?\n]) == :ok
      assert_receive {:line, "one"}, 5_000
      assert Daemon.write(pid, "two") == :ok
      assert Daemon.close_stdin(pid) == :ok
      assert stopped(pid) == :normal
      assert lines() == ["two"]
    end

    test "keeps a bounded amount for a program that does not read, and answers at once" do
      {:ok, pid} = Daemon.start_link("sleep", ["1000"], stdin: :pipe)
      megabyte = String.duplicate("x", 1_048_576)
      assert Daemon.write(pid, megabyte) == :ok
      assert Daemon.write(pid, megabyte) == {:error, :eagain}
      assert Daemon.close_stdin(pid) == :ok
      assert Daemon.write(pid, "x") == {:error, :epipe}
      assert is_integer(Daemon.os_pid(pid))
      GenServer.stop(pid)
    end

    test "writes more than a pipe holds in order" do
      {:ok, pid} = Daemon.start_link("cat", [], stdin: :pipe, logger_fun: to_self())
      assert Daemon.write(pid, Enum.map(1..50_000, &"#{&1}\n")) == :ok
      assert Daemon.close_stdin(pid) == :ok
      assert stopped(pid) == :normal
      assert lines() == Enum.map(1..50_000, &"#{&1}")
    end

    test "has no input to write to unless asked for" do
      {:ok, pid} = Daemon.start_link("sleep", ["1000"])
      assert Daemon.write(pid, "x") == {:error, :epipe}
      GenServer.stop(pid)
    end

    test "feeds input:" do
      for input <- ["a\nb\n", ["a\n", "b\n"], Stream.map(["a\n", "b\n"], & &1)] do
        {:ok, pid} = Daemon.start_link("cat", [], input: input, logger_fun: to_self())
        assert stopped(pid) == :normal
        assert lines() == ["a", "b"]
      end
    end

    test "counts" do
      script = "printf 12345; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo; sleep 1000"
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], logger_fun: to_self())
      assert_receive {:line, "12345"}, 10_000
      statistics = Daemon.statistics(pid)
      assert %{stdout_bytes: 6, stderr_bytes: 0, output_byte_count: 6} = statistics
      assert statistics.os_pid == Daemon.os_pid(pid)
      assert statistics.cpu_time_us > 0
      assert statistics.memory_peak_bytes > 100_000
      assert statistics.uptime_ms >= 0
      GenServer.stop(pid)
    end

    test "knows its cgroup" do
      {:ok, pid} = Daemon.start_link("sleep", ["1000"])
      assert Daemon.cgroup_path(pid) == nil
      assert Daemon.cgroup_config(pid) == %{}
      assert Daemon.cgget(pid, "pids.max") == {:error, :enoent}
      GenServer.stop(pid)

      if Cgroups.offers?(["pids"]) do
        opts = [cgroup_base: Cgroups.base(), cgroup: %{pids_max: 10}]
        {:ok, pid} = Daemon.start_link("sleep", ["1000"], opts)
        assert Daemon.cgroup_path(pid) =~ Cgroups.base()
        assert Daemon.cgget(pid, "pids.max") == {:ok, "10\n"}
        assert Daemon.cgset(pid, "pids", "pids.max", 20) == :ok
        assert Daemon.cgget(pid, "pids", "pids.max") == {:ok, "20\n"}
        assert %{pids_max: 20} = Daemon.cgroup_config(pid)
        assert %{cgroup: %{pids_current: 1}} = Daemon.statistics(pid)
        GenServer.stop(pid)
      end
    end
  end

  describe "wait_for" do
    test "runs before the program without blocking the start" do
      test = self()

      wait = fn ->
        send(test, {:waiting, self()})

        receive do
          :go_on -> :ok
        end
      end

      {:ok, pid} = Daemon.start_link("echo", ["hello"], wait_for: wait, logger_fun: to_self())
      assert_receive {:waiting, task}, 5_000
      assert Daemon.os_pid(pid) == nil
      assert Daemon.signal(pid, :sigterm) == {:error, :esrch}
      assert %{os_pid: nil, output_byte_count: 0} = Daemon.statistics(pid)
      send(task, :go_on)
      assert stopped(pid) == :normal
      assert lines() == ["hello"]
    end

    test "ends with the Daemon, and the Daemon with it" do
      test = self()

      forever = fn ->
        send(test, {:waiting, self()})
        Process.sleep(:infinity)
      end

      {:ok, pid} = Daemon.start_link("true", [], wait_for: forever)
      assert_receive {:waiting, task}, 5_000
      GenServer.stop(pid)
      refute Process.alive?(task)

      {:ok, pid} = Daemon.start_link("true", [], wait_for: fn -> exit(:broken) end)
      assert stopped(pid) == :broken
      {:ok, pid} = Daemon.start_link("true", [], wait_for: fn -> exit(:normal) end)
      assert stopped(pid) == :normal
    end

    test "is followed by a failed start" do
      {:ok, pid} = Daemon.start_link("no-such-program", [], wait_for: fn -> :ok end)
      assert %Error{step: :lookup, reason: :enoent} = stopped(pid)
    end
  end

  describe "ready" do
    test "waits for a line of output" do
      script = "echo one; sleep 0.1; echo two; sleep 1000"
      opts = [ready: {:output, ~r/^two$/}, logger_fun: to_self()]
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], opts)
      assert lines() == ["one", "two"]
      GenServer.stop(pid)
    end

    test "waits for a port" do
      port = free_port()
      {:ok, pid} = Daemon.start_link(program("tcp_server"), ["#{port}"], ready: {:tcp, port})
      assert answer(port) == Daemon.os_pid(pid)
      GenServer.stop(pid)
    end

    test "waits for a function" do
      counter = :counters.new(1, [])

      fun = fn ->
        :counters.add(counter, 1, 1)
        :counters.get(counter, 1) == 3
      end

      {:ok, pid} = Daemon.start_link("sleep", ["1000"], ready: {:fun, fun})
      assert :counters.get(counter, 1) == 3
      GenServer.stop(pid)

      assert {:error, :broken} =
               Daemon.start_link("sleep", ["1000"], ready: {:fun, fn -> exit(:broken) end})
    end

    test "waits for READY=1" do
      start = System.monotonic_time(:millisecond)
      {:ok, pid} = Daemon.start_link(program("notify_ready"), ["200"], ready: :notify)
      assert System.monotonic_time(:millisecond) - start >= 200
      assert is_integer(Daemon.os_pid(pid))
      GenServer.stop(pid)
    end

    test "fails after start_timeout, with nothing left" do
      for ready <- [{:output, ~r/never/}, {:tcp, free_port()}, {:fun, fn -> false end}, :notify] do
        assert {:error, %Error{step: :start_timeout, subject: "sleep", reason: :timeout}} =
                 Daemon.start_link("sleep", ["1000"], ready: ready, start_timeout: 100)

        assert MuonTrap.list() == []
      end
    end

    test "fails when the program ends first" do
      assert {:error, %Error{step: :ready, reason: :exited} = error} =
               Daemon.start_link(program("exit_with"), ["3"], ready: {:fun, fn -> false end})

      assert Exception.message(error) =~ "exit status 3"
    end

    test "lets the next child of rest_for_one find the port" do
      port = free_port()
      test = self()

      supervisor =
        supervise(
          [
            {Daemon, [program("tcp_server"), ["#{port}"], [ready: {:tcp, port}]]},
            {Task, fn -> send(test, {:answer, answer(port)}) end}
          ],
          strategy: :rest_for_one
        )

      assert_receive {:answer, os_pid}, 5_000
      assert os_pid == supervisor |> child() |> Daemon.os_pid()
      Supervisor.stop(supervisor)
    end
  end
end
