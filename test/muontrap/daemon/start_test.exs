# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.StartTest do
  @moduledoc "The start of a Daemon depends on nothing but the start of its program."

  use ExUnit.Case

  alias MuonTrap.{Daemon, Error, Trees}

  # A line was logged inside init/1, and `yes` always has another one.
  test "is not held up by a logger that never returns" do
    test = self()

    logger = fn _line ->
      send(test, :logging)
      Process.sleep(:infinity)
    end

    Process.flag(:trap_exit, true)
    {:ok, daemon} = Daemon.start_link("yes", [], logger_fun: logger)
    assert_receive :logging, 30_000
    Process.exit(daemon, :kill)
    assert_receive {:EXIT, ^daemon, :killed}, 30_000
  end

  test "is not held up by it when a line tells of readiness" do
    Process.flag(:trap_exit, true)
    test = self()

    logger = fn line ->
      send(test, {:logging, line})
      if line == "ready", do: Process.sleep(:infinity)
    end

    script = "echo one; echo ready; exec sleep 1000"
    opts = [logger_fun: logger, ready: {:output, ~r/ready/}]
    {:ok, daemon} = Daemon.start_link("sh", ["-c", script], opts)
    assert_receive {:logging, "one"}, 30_000
    assert_receive {:logging, "ready"}, 30_000
    Process.exit(daemon, :kill)
    assert_receive {:EXIT, ^daemon, :killed}, 30_000
  end

  test "logs each line once, and in order, around the start" do
    test = self()
    opts = [logger_fun: &send(test, {:line, &1}), ready: {:output, ~r/^50$/}]
    {:ok, daemon} = Daemon.start_link("sh", ["-c", "seq 100; exec sleep 1000"], opts)
    for n <- 1..100, line = "#{n}", do: assert_receive({:line, ^line}, 30_000)
    GenServer.stop(daemon)
    refute_received {:line, _any}
  end

  # It logged a chunk to its end before it did anything else: thousands of short lines.
  test "a Daemon answers while a slow logger has lines to write, and loses none" do
    test = self()

    logger = fn line ->
      Process.sleep(20)
      send(test, {:line, line})
    end

    {:ok, daemon} =
      Daemon.start_link("sh", ["-c", "seq 500; exec sleep 1000"], logger_fun: logger)

    assert_receive {:line, "1"}, 30_000
    # With the patience of a call, 5 s.
    assert is_integer(Daemon.os_pid(daemon))
    refute_received {:line, "500"}
    GenServer.stop(daemon, :normal, :infinity)
    for n <- 2..500, line = "#{n}", do: assert_received({:line, ^line})
    refute_received {:line, _more}
  end

  test "a crash report shows neither output nor input" do
    Process.flag(:trap_exit, true)
    opts = [stdin: :pipe, logger_fun: fn _line -> :ok end, ready: {:output, ~r/up/}]

    {:ok, daemon} =
      Daemon.start_link("sh", ["-c", "echo up; printf SEC''RET; exec sleep 1000"], opts)

    :ok = Daemon.write(daemon, String.duplicate("SECRET", 100_000))
    assert Trees.eventually(fn -> Daemon.statistics(daemon).stdout_bytes == 9 end)

    log =
      ExUnit.CaptureLog.capture_log(fn ->
        # What comes on the socket is always a binary.
        send(daemon, {:udp, nil, nil, 0, :nonsense})
        assert_receive {:EXIT, ^daemon, {:function_clause, _trace}}, 30_000
      end)

    assert log =~ "nonsense"
    refute log =~ "SECRET"
  end

  test "a function given decides about a status, whatever ended the program" do
    Process.flag(:trap_exit, true)
    opts = [exit_status_to_reason: &{:status, &1}]
    {:ok, daemon} = Daemon.start_link("sh", ["-c", "kill -KILL $$"], opts)
    assert_receive {:EXIT, ^daemon, {:status, 137}}, 30_000
  end

  describe "a port that tells of readiness" do
    setup do
      Process.flag(:trap_exit, true)
      :ok
    end

    defp server(port, opts) do
      opts = [ready: {:tcp, port}] ++ opts
      Daemon.start_link(Trees.program("tcp_server"), [to_string(port)], opts)
    end

    for {family, ip} <- [inet: {127, 0, 0, 1}, inet6: {0, 0, 0, 0, 0, 0, 0, 1}] do
      # The start succeeded, and the program had not got the port.
      test "is refused while a stranger accepts on it (#{family})" do
        {:ok, stranger} = :gen_tcp.listen(0, [unquote(family), ip: unquote(Macro.escape(ip))])
        {:ok, port} = :inet.port(stranger)
        assert {:error, %Error{} = error} = server(port, start_timeout: 300)
        assert %{step: :port, reason: :eaddrinuse} = error
        assert Exception.message(error) =~ "another process accepts connections"
      end
    end

    test "is waited for until a stranger lets go of it" do
      {:ok, stranger} = :gen_tcp.listen(0, [:inet, ip: {127, 0, 0, 1}, active: false])
      {:ok, port} = :inet.port(stranger)

      task =
        Task.async(fn ->
          Process.flag(:trap_exit, true)
          result = server(port, start_timeout: 60_000)
          with {:ok, daemon} <- result, do: GenServer.stop(daemon)
          result
        end)

      # It has connected to see whether somebody is there. Nothing of that may keep the port from the program.
      {:ok, seen} = :gen_tcp.accept(stranger, 30_000)
      {:error, :closed} = :gen_tcp.recv(seen, 0, 30_000)
      :gen_tcp.close(seen)
      :gen_tcp.close(stranger)
      assert {:ok, _daemon} = Task.await(task, 60_000)
    end
  end
end
