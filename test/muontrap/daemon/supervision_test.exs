# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.SupervisionTest do
  use MuonTrap.Case

  import MuonTrap.Daemons
  import MuonTrap.Trees, only: [program: 1]

  alias MuonTrap.Daemon

  setup :trap_exits

  describe "in a supervision tree" do
    test "has a child specification whose shutdown covers the grace" do
      assert %{id: Daemon, restart: :permanent, type: :worker, shutdown: 10_500} =
               Daemon.child_spec(["true", []])

      assert %{shutdown: 70_000, start: {Daemon, :start_link, ["true", [], _opts]}} =
               Daemon.child_spec(["true", [], [delay_to_sigkill: 60_000]])
    end

    # A process can wait for a message for 2^32 ms: supervisor and Daemon crashed.
    test "has a grace as long as you like" do
      for opts <- [
            [delay_to_sigkill: 0xFFFF_FFFF],
            [delay_to_sigkill: 185_542_587_187_200_000],
            [delay_to_sigkill: 185_542_587_187_200_000, ready: :notify],
            [stop: [:sigterm, 0xFFFF_FFFF, :sigint, 0xFFFF_FFFF]],
            [stop: {"sh", ["-c", "kill $MAINPID"]}, delay_to_sigkill: 185_542_587_187_200_000]
          ] do
        program = if opts[:ready], do: [program("notify_ready"), ["0"]], else: ["sleep", ["1000"]]
        supervisor = supervise([{Daemon, program ++ [opts]}])
        daemon = Process.monitor(child(supervisor))
        assert Daemon.child_spec(["true", [], opts]).shutdown == :infinity
        :ok = Supervisor.stop(supervisor)
        assert_receive {:DOWN, ^daemon, :process, _pid, :shutdown}
      end
    end

    test "says which shape of a child is wanted, and shows no argument" do
      for {child, got} <- [
            {["sleep", ["10"], log_output: :info], ~S(["sleep", [...], log_output: ...])},
            {["sleep", "secret"], ~S(["sleep", a string])},
            {["sleep"], ~S(["sleep"])},
            {[:sleep, 10], "[...]"},
            {["sleep" | "secret"], "[...]"},
            {"sleep 10", "a string"},
            {{"sleep", []}, "..."}
          ] do
        %{message: message} = assert_raise ArgumentError, fn -> Daemon.child_spec(child) end
        assert message =~ "[command, args] or [command, args, opts]"
        assert String.ends_with?(message, ", got: " <> got)
      end
    end

    test "the program is gone when terminate_child returns, with all that it started" do
      script = "trap '' TERM; setsid sleep 1000 & sleep 1000 & echo $!; wait; wait"

      supervisor =
        supervise([
          {Daemon, ["sh", ["-c", script], [logger_fun: to_self(), delay_to_sigkill: 100]]}
        ])

      os_pid = supervisor |> child() |> Daemon.os_pid()
      assert_receive {:line, sleep}
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
        await(fn -> child(supervisor) not in [pid, :restarting, :undefined] end)
      end

      Supervisor.stop(supervisor)
    end

    test "waits for a program that takes long to die after its Daemon was killed" do
      opts = [delay_to_sigkill: 500, logger_fun: to_self()]
      args = ["-c", "trap '' TERM; echo started; while :; do sleep 1; done"]
      {:ok, pid} = Daemon.start_link("sh", args, opts)
      os_pid = Daemon.os_pid(pid)
      assert_receive {:line, "started"}
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
      await(fn -> child(supervisor) == :undefined end)
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

      assert_receive {:os_pid, os_pid}
      Process.exit(starter, :kill)
      await(fn -> not alive?(os_pid) end)
    end
  end
end
