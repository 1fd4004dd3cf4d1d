# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DaemonTest do
  use ExUnit.Case
  import ExUnit.CaptureLog

  alias MuonTrap.{Daemon, Error}

  @port 47_111

  setup do
    Process.flag(:trap_exit, true)
    on_exit(fn -> assert poll(fn -> MuonTrap.list() == [] end) end)
  end

  defp program(name), do: Application.app_dir(:muontrap, "priv/test_programs/#{name}")

  # Bounded, and generous: the machine may be slow.
  defp poll(condition, left \\ 6000) do
    cond do
      condition.() -> true
      left == 0 -> false
      true -> receive(after: (10 -> poll(condition, left - 1)))
    end
  end

  defp alive?(os_pid), do: File.exists?("/proc/#{os_pid}")

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

  describe "start_link/3" do
    test "returns when the program runs, and its own pid is known" do
      {:ok, daemon} = Daemon.start_link("sleep", ["1000"])
      os_pid = Daemon.os_pid(daemon)
      assert File.read!("/proc/#{os_pid}/comm") == "sleep\n"
      GenServer.stop(daemon)
      refute alive?(os_pid)
    end

    test "tells why a program cannot be started, without a crash report" do
      log =
        capture_log(fn ->
          assert {:error, %Error{step: :lookup, subject: "no-such", reason: :enoent}} =
                   Daemon.start_link("no-such", [])

          assert {:error, %Error{step: :chdir, subject: "/no/such", reason: :enoent}} =
                   Daemon.start_link("true", [], cd: "/no/such")

          assert {:error, %Error{step: :setuid, reason: :unknown_user}} =
                   Daemon.start_link("true", [], uid: "no-such-user")
        end)

      assert log == ""
      assert_received {:EXIT, _, :normal}
    end

    test "takes a name, and leaves it free after a failed start" do
      assert {:error, %Error{}} = Daemon.start_link("no-such", [], name: :muontrap_named)
      {:ok, daemon} = Daemon.start_link("sleep", ["1000"], name: :muontrap_named)

      assert {:error, {:already_started, ^daemon}} =
               Daemon.start_link("sleep", ["1000"], name: :muontrap_named)

      assert is_integer(Daemon.os_pid(:muontrap_named))
      GenServer.stop(:muontrap_named)
    end

    test "waits for a line, a port, a function and a notification" do
      script = "sleep 0.1; echo warming; echo up and running; exec sleep 1000"

      for {command, args, ready} <- [
            {"sh", ["-c", script], {:output, ~r/running$/}},
            {program("tcp_server"), ["#{@port}"], {:tcp, @port}},
            {"sleep", ["1000"], {:fun, fn -> true end}},
            {program("notify_ready"), ["100"], :notify}
          ] do
        assert {:ok, daemon} = Daemon.start_link(command, args, ready: ready)
        GenServer.stop(daemon)
      end
    end

    test "gives up at the start timeout, and the program is gone" do
      assert {:error, %Error{step: :start_timeout}} =
               Daemon.start_link("sleep", ["1000"],
                 ready: {:fun, fn -> false end},
                 start_timeout: 100
               )

      assert poll(fn -> MuonTrap.list() == [] end)
    end

    test "fails when the program ends before it is ready" do
      assert {:error, %Error{step: :ready, subject: "exit status 3"}} =
               Daemon.start_link("sh", ["-c", "exit 3"], ready: {:output, ~r/never/})
    end

    test "launches after wait_for, without blocking" do
      test = self()

      wait = fn ->
        send(test, {:waiting, self()})
        receive(do: (:go -> :ok))
      end

      {:ok, daemon} = Daemon.start_link("sleep", ["1000"], wait_for: wait)
      assert_receive {:waiting, task}, 60_000
      assert Daemon.os_pid(daemon) == nil
      send(task, :go)
      assert poll(fn -> is_integer(Daemon.os_pid(daemon)) end)
      GenServer.stop(daemon)
    end

    test "goes down with a wait_for that crashes" do
      capture_log(fn ->
        {:ok, daemon} = Daemon.start_link("sleep", ["1000"], wait_for: fn -> exit(:no) end)
        assert_receive {:EXIT, ^daemon, :no}, 60_000
      end)
    end
  end

  describe "the end of the program" do
    test "stops the Daemon with a reason made of the status" do
      capture_log(fn ->
        for {script, opts, reason} <- [
              {"exit 0", [], :normal},
              {"exit 7", [], :error_exit_status},
              {"exit 7", [exit_status_to_reason: &{:code, &1}], {:code, 7}},
              {"kill -9 $$", [exit_status_to_reason: &{:code, &1}], {:code, 137}}
            ] do
          {:ok, daemon} = Daemon.start_link("sh", ["-c", script], opts)
          assert_receive {:EXIT, ^daemon, ^reason}, 60_000
        end
      end)
    end

    test "restarts under a supervisor as :transient says" do
      test = self()
      counted = fn -> send(test, :started) end
      args = ["sh", ["-c", "exit 0"], [wait_for: counted]]
      spec = Supervisor.child_spec({Daemon, args}, restart: :transient)
      {:ok, supervisor} = Supervisor.start_link([spec], strategy: :one_for_one)
      assert_receive :started, 60_000
      assert poll(fn -> Supervisor.count_children(supervisor).active == 0 end)
      refute_received :started
      Supervisor.stop(supervisor)
    end
  end

  describe "the end of the Daemon" do
    test "is over only when the tree is gone: a server's port is free, 200 times in a row" do
      args = [program("tcp_server"), ["#{@port}"], [ready: {:tcp, @port}]]
      {:ok, supervisor} = Supervisor.start_link([{Daemon, args}], strategy: :one_for_one)

      for _ <- 1..200 do
        assert :ok = Supervisor.terminate_child(supervisor, Daemon)
        assert {:ok, _} = :gen_tcp.listen(@port, ip: {127, 0, 0, 1}) |> closed()
        assert {:ok, _daemon} = Supervisor.restart_child(supervisor, Daemon)
      end

      Supervisor.stop(supervisor)
    end

    test "by :brutal_kill is waited for by its successor" do
      args = [program("tcp_server"), ["#{@port}"], [ready: {:tcp, @port}]]
      spec = Supervisor.child_spec({Daemon, args}, shutdown: :brutal_kill)
      {:ok, supervisor} = Supervisor.start_link([spec], strategy: :one_for_one)

      for _ <- 1..50 do
        assert :ok = Supervisor.terminate_child(supervisor, Daemon)
        assert {:ok, _daemon} = Supervisor.restart_child(supervisor, Daemon)
      end

      Supervisor.stop(supervisor)
    end

    test "gives the program its grace and logs its last words" do
      {:ok, daemon} =
        Daemon.start_link(program("sigterm_output"), ["100"],
          logger_fun: to_self(),
          delay_to_sigkill: 60_000,
          ready: {:output, ~r/ready/}
        )

      GenServer.stop(daemon)
      assert [_ready, farewell] = lines()
      assert farewell != ""
    end
  end

  describe "output" do
    test "arrives line by line, 20,000 of them, the last without a line end" do
      script = "seq 1 20000; printf last"
      {:ok, daemon} = Daemon.start_link("sh", ["-c", script], logger_fun: to_self())
      assert_receive {:EXIT, ^daemon, :normal}, 60_000
      assert lines() == Enum.map(1..20_000, &"#{&1}") ++ ["last"]
    end

    test "goes to Logger with prefix, level, metadata and transformation" do
      log =
        capture_log(
          [metadata: [:muontrap_cmd, :tag], format: "$metadata[$level] $message\n"],
          fn ->
            {:ok, daemon} =
              Daemon.start_link("sh", ["-c", "echo out; echo err >&2"],
                log_output: :info,
                log_stderr: :error,
                log_prefix: "web: ",
                log_transform: &String.upcase/1,
                logger_metadata: [tag: :mine]
              )

            assert_receive {:EXIT, ^daemon, :normal}, 60_000
          end
        )

      assert log =~ "[info] web: OUT"
      assert log =~ "[error] web: ERR"
      assert log =~ "tag=mine"
      assert log =~ "muontrap_cmd=sh"
    end

    test "that is no UTF-8 is logged all the same" do
      log =
        capture_log(fn ->
          {:ok, daemon} = Daemon.start_link("printf", ["a\\377b\\n"], log_output: :error)
          assert_receive {:EXIT, ^daemon, :normal}, 60_000
        end)

      assert log =~ "a\uFFFDb"
    end

    test "survives a logger that raises" do
      log =
        capture_log(fn ->
          {:ok, daemon} =
            Daemon.start_link("seq", ["1", "100"], logger_fun: fn _line -> raise "full" end)

          assert_receive {:EXIT, ^daemon, :normal}, 60_000
        end)

      assert log =~ "could not be logged"
    end

    test "holds the program back behind a slow logger" do
      test = self()

      slow = fn _line ->
        send(test, :line)
        receive(do: (:go_on -> :ok))
      end

      {:ok, daemon} = Daemon.start_link("yes", [], logger_fun: slow, stdio_window: 10_240)
      assert_receive :line, 60_000
      assert [%{stdout_bytes: bytes}] = MuonTrap.list()
      assert bytes <= 10_240
      Process.exit(daemon, :kill)
    end
  end

  describe "control" do
    test "reaches the program by signals" do
      script = "trap 'echo hup' HUP; echo up; while :; do sleep 0.05; done"

      {:ok, daemon} =
        Daemon.start_link("sh", ["-c", script], logger_fun: to_self(), ready: {:output, ~r/up/})

      assert :ok = Daemon.signal(daemon, :sighup)
      assert_receive {:line, "hup"}, 60_000
      assert_raise ArgumentError, fn -> Daemon.signal(daemon, :no) end
      GenServer.stop(daemon)
    end

    test "reaches the program by its standard input" do
      {:ok, daemon} = Daemon.start_link("cat", [], stdin: :pipe, logger_fun: to_self())
      assert :ok = Daemon.write(daemon, ["hello", ?\n])
      assert_receive {:line, "hello"}, 60_000
      assert :ok = Daemon.close_stdin(daemon)
      assert_receive {:EXIT, ^daemon, :normal}, 60_000
    end

    test "answers at once when the program does not read" do
      {:ok, daemon} = Daemon.start_link("sleep", ["1000"], stdin: :pipe)
      assert :ok = Daemon.write(daemon, String.duplicate("x", 1_000_000))
      assert {:error, :eagain} = Daemon.write(daemon, "more")
      GenServer.stop(daemon)
    end

    test "has numbers" do
      {:ok, daemon} = Daemon.start_link(program("burn"), [], log_output: :debug)

      assert poll(fn -> Daemon.statistics(daemon).cpu_time_ms > 0 end)
      assert %{peak_memory_bytes: peak, window_bytes: 10_240} = Daemon.statistics(daemon)
      assert peak > 0
      GenServer.stop(daemon)
    end
  end

  defp closed({:ok, socket}) do
    :gen_tcp.close(socket)
    {:ok, socket}
  end

  defp closed(error), do: error
end
