# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.ReadyTest do
  use MuonTrap.Case

  import MuonTrap.Daemons
  import MuonTrap.Trees, only: [program: 1]

  alias MuonTrap.{Daemon, Error}

  setup :trap_exits

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

      # It was waited for until the time was over.
      opts = [ready: {:fun, fn -> exit(:normal) end}, start_timeout: :infinity]
      assert {:error, %Error{step: :ready}} = Daemon.start_link("sleep", ["1000"], opts)
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

      assert_receive {:answer, os_pid}
      assert os_pid == supervisor |> child() |> Daemon.os_pid()
      Supervisor.stop(supervisor)
    end
  end
end
