# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.RestartTest do
  @moduledoc "A Daemon that stays and starts its program again, with `:restart_backoff`."

  use MuonTrap.Case

  import ExUnit.CaptureLog
  import MuonTrap.Daemons
  import MuonTrap.Trees, only: [program: 1]

  alias MuonTrap.{Daemon, Error, Options}
  alias MuonTrap.Daemon.Backoff

  setup :trap_exits
  setup do: {:ok, runs: file()}

  @soon [first: 1, max: 50]

  defp file do
    file = Path.join(System.tmp_dir!(), "muontrap-#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm(file) end)
    file
  end

  # Counts its runs in a file, and does each time what is told for that run, in the end the last.
  defp runs(file, scripts) do
    cases =
      for {script, n} <- Enum.with_index(scripts, 1) do
        "#{if n == length(scripts), do: "*", else: n}) #{script};;"
      end

    ["-c", "echo run >> #{file}; case $(wc -l < #{file}) in #{Enum.join(cases, " ")} esac"]
  end

  defp start(args, opts) do
    {:ok, pid} = Daemon.start_link("sh", args, [logger_fun: to_self()] ++ opts)
    on_exit(fn -> Process.exit(pid, :kill) end)
    pid
  end

  defp restarts(pid), do: Daemon.statistics(pid).restarts

  describe "a program that fails" do
    test "is started again by the same Daemon, and the supervisor hears nothing of it", %{
      runs: file
    } do
      args = runs(file, ["exit 3", "kill -KILL $$", "exit 4", "sleep 1000"])
      child = {Daemon, ["sh", args, [restart_backoff: @soon]]}

      log =
        capture_log(fn ->
          supervisor = supervise([child], max_restarts: 0)
          pid = child(supervisor)
          await(fn -> restarts(pid) == 3 and Daemon.os_pid(pid) != :error end)
          assert child(supervisor) == pid
          assert alive?(Daemon.os_pid(pid))
          assert Process.info(pid, :message_queue_len) == {:message_queue_len, 0}
          Supervisor.stop(supervisor)
        end)

      assert log =~
               ~r/sh: Process exited with status 3, pid .*sh: Process starts again in \d+ ms\n/s

      assert log =~
               ~r/status 137 \(SIGKILL\).*again in \d+ ms, after 2 failures in a row\n.*status 4/s

      assert log =~ ", after 3 failures in a row"
      refute log =~ "GenServer"
    end

    test "has no pid and no input while the Daemon waits, which MuonTrap.list/0 says" do
      backoff = [restart_backoff: [first: 60_000]]
      pid = start(["-c", "exit 1", "secret"], [name: __MODULE__.Waits] ++ backoff)
      await(fn -> Daemon.statistics(pid).next_start_ms != nil end)
      assert Daemon.statistics(pid).next_start_ms in 1..60_000
      assert Daemon.os_pid(pid) == :error
      assert Daemon.signal(pid, :sigterm) == {:error, :esrch}
      assert Daemon.write(pid, "x") == {:error, :epipe}
      assert Daemon.close_stdin(pid) == :ok
      assert Daemon.cgroup_path(pid) == nil
      assert [%{waiting: true, owner: ^pid, os_pid: nil, id: nil} = entry] = MuonTrap.list()
      assert %{command: ["sh", "-c", "exit 1", "secret"], name: __MODULE__.Waits} = entry
      assert entry.next_start_ms in 1..60_000
      assert inspect(:sys.get_status(pid)) =~ ~r/sh: Process starting again in \d+\.\d s/

      # It has nothing to wait for.
      {us, :ok} = :timer.tc(fn -> GenServer.stop(pid) end)
      assert us < 30_000_000
      assert MuonTrap.list() == []
    end

    test "is not waiting any more for MuonTrap.list/0 when it runs, or its Daemon was killed", %{
      runs: file
    } do
      pid = start(runs(file, ["exit 1", "sleep 1000"]), restart_backoff: @soon)

      await(fn -> restarts(pid) == 1 and Daemon.os_pid(pid) != :error end)

      assert [%{waiting: false, owner: ^pid, os_pid: os_pid, next_start_ms: nil}] =
               MuonTrap.list()

      assert Daemon.os_pid(pid) == os_pid
      GenServer.stop(pid)

      pid = start(["-c", "exit 1"], restart_backoff: [first: 60_000])
      await(fn -> match?([%{waiting: true}], MuonTrap.list()) end)
      Process.exit(pid, :kill)
      stopped(pid)
      assert MuonTrap.list() == []
    end

    test "gets its input again, and reads what is written to it", %{runs: file} do
      args = runs(file, ["cat; exit 1", "cat; exit 0"])
      pid = start(args, restart_backoff: @soon, input: Stream.map(["a\n", "b\n"], & &1))
      assert stopped(pid) == :normal
      assert lines() == ["a", "b", "a", "b"]

      File.rm!(file)
      pid = start(runs(file, ["exit 1", "cat"]), restart_backoff: @soon)
      await(fn -> Daemon.write(pid, "hello\n") == :ok and restarts(pid) == 1 end)
      assert_receive {:line, "hello"}
      GenServer.stop(pid)
    end

    test "has not failed before once it was healthy" do
      # Long enough that the start is heard of before the end, on a busy machine too.
      count = fn opts ->
        capture_log(fn ->
          pid = start(["-c", "sleep 0.5; exit 1"], opts)
          await(fn -> restarts(pid) >= 4 end)
          GenServer.stop(pid)
        end)
      end

      refute count.(restart_backoff: [healthy_after: 1] ++ @soon) =~ "in a row"

      assert count.(restart_backoff: [healthy_after: 60_000] ++ @soon) =~
               "after 4 failures in a row"
    end

    test "that ends with status 0 ends the Daemon, unless any end counts", %{runs: file} do
      pid = start(runs(file, ["exit 1", "exit 0"]), restart_backoff: @soon)
      assert stopped(pid) == :normal
      pid = start(["-c", "exit 0"], restart_backoff: [on: :end] ++ @soon)
      await(fn -> restarts(pid) >= 3 end)
      GenServer.stop(pid)
    end
  end

  describe "a start" do
    test "that start_link/3 waits for fails as it does without", %{runs: file} do
      opts = [restart_backoff: @soon]
      assert {:error, %Error{step: :lookup}} = Daemon.start_link("no-such-program", [], opts)
      opts = opts ++ [ready: {:fun, fn -> false end}]
      assert {:error, %Error{step: :ready}} = Daemon.start_link("false", [], opts)
      refute File.exists?(file)
    end

    test "after wait_for is tried again, and wait_for with it", %{runs: file} do
      counter = :counters.new(1, [])

      wait = fn ->
        :counters.add(counter, 1, 1)

        case :counters.get(counter, 1) do
          1 ->
            raise "no network"

          2 ->
            exit(:still_no_network)

          3 ->
            :ok

          4 ->
            File.write!(file, "#!/bin/sh\necho up; exec sleep 1000") && File.chmod!(file, 0o755)
        end
      end

      opts = [wait_for: wait, restart_backoff: @soon, logger_fun: to_self()]

      log =
        capture_log(fn ->
          {:ok, pid} = Daemon.start_link(file, [], opts)
          assert_receive {:line, "up"}
          GenServer.stop(pid)
        end)

      assert :counters.get(counter, 1) == 4
      assert log =~ "#{file}: ** (RuntimeError) no network\n"
      assert log =~ "still_no_network"
      assert log =~ "cannot execute \"#{file}\""
    end

    test "that does not become ready in time is ended, and tried again", %{runs: file} do
      slow = "echo $$ slow; setsid sleep 1000 & echo $! slow; sleep 1000"
      args = runs(file, ["echo ready; exit 1", slow, "exit 7", "echo ready; sleep 1000"])
      opts = [ready: {:output, ~r/^ready$/}, start_timeout: 2_000, restart_backoff: @soon]

      log =
        capture_log(fn ->
          pid = start(args, opts)
          await(fn -> restarts(pid) == 3 and inspect(:sys.get_status(pid)) =~ "running" end)
          await(fn -> not (inspect(:sys.get_status(pid)) =~ "not ready yet") end)
          slow = for line <- lines(), line =~ "slow", do: line |> String.split() |> hd()
          assert length(slow) == 2
          refute Enum.any?(slow, &alive?/1)
          GenServer.stop(pid)
        end)

      assert log =~ "cannot wait longer for \"sh\" to become ready"
      assert log =~ "Process exited with status 7"
    end

    test "whose readiness a function waits for is given up in time as well", %{runs: file} do
      counter = :counters.new(1, [])

      # Ready at the first start, and never again.
      ready = fn ->
        :counters.add(counter, 1, 1)
        :counters.get(counter, 1) == 1 or receive(do: (:never -> true))
      end

      opts = [ready: {:fun, ready}, start_timeout: 500, restart_backoff: @soon]
      pid = start(runs(file, ["sleep 0.1; exit 1", "sleep 1000"]), opts)
      await(fn -> restarts(pid) >= 3 end)
      GenServer.stop(pid)
    end

    test "that a function sees the readiness of is tried again when that raises" do
      counter = :counters.new(1, [])

      ready = fn ->
        :counters.add(counter, 1, 1)
        if :counters.get(counter, 1) == 2, do: raise("odd"), else: true
      end

      log =
        capture_log(fn ->
          pid = start(["-c", "sleep 0.05; exit 1"], ready: {:fun, ready}, restart_backoff: @soon)
          await(fn -> restarts(pid) >= 3 end)
          GenServer.stop(pid)
        end)

      assert log =~ "odd"
    end

    test "finds the port free that the program had before" do
      port = free_port()
      opts = [ready: {:tcp, port}, restart_backoff: @soon]
      {:ok, pid} = Daemon.start_link(program("tcp_server"), ["#{port}"], opts)

      for n <- 1..5 do
        os_pid = Daemon.os_pid(pid)
        assert answer(port) == os_pid
        :ok = Daemon.signal(pid, :sigkill)
        await(fn -> restarts(pid) == n and Daemon.os_pid(pid) not in [:error, os_pid] end)
        await(fn -> not (inspect(:sys.get_status(pid)) =~ "not ready yet") end)
      end

      GenServer.stop(pid)
    end
  end

  describe "a program with a watchdog" do
    test "is started again when it falls silent, each time with a socket of its own" do
      if System.find_executable("python3") do
        program = ~S"""
        import os, socket, sys, time
        out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        out.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        print(os.environ["NOTIFY_SOCKET"], flush=True)
        out.send(b"READY=1")
        for _ in range(3):
            time.sleep(0.1)
            out.send(b"WATCHDOG=1")
        # It goes on, and so does what it has said.
        time.sleep(1000)
        """

        opts = [ready: :notify, start_timeout: 60_000, watchdog: 2_000, restart_backoff: @soon]

        log =
          capture_log(fn ->
            {:ok, pid} =
              Daemon.start_link("python3", ["-c", program], [logger_fun: to_self()] ++ opts)

            first = Daemon.os_pid(pid)
            await(fn -> restarts(pid) == 2 and Daemon.os_pid(pid) != :error end)
            refute alive?(first)
            {:links, links} = Process.info(pid, :links)
            assert length(Enum.filter(links, &is_port/1)) == 1
            GenServer.stop(pid)
          end)

        assert log =~ "cannot go on without a sign of life from \"python3\""
        names = lines()
        assert length(names) in 2..3 and names == Enum.uniq(names)
      else
        MuonTrap.Cgroups.announce("there is no python3 to fall silent")
      end
    end
  end

  describe "the time to wait" do
    test "doubles up to the maximum, and is a random part between its half and its whole" do
      {:ok, backoff} = Backoff.cast(first: 100, max: 1_000)
      most = for n <- 1..6, do: Backoff.delay_ms(backoff, n, fn -> 1.0 end)
      assert most == [100, 200, 400, 800, 1_000, 1_000]

      assert Enum.map(1..6, &Backoff.delay_ms(backoff, &1, fn -> 0.0 end)) == [
               50,
               100,
               200,
               400,
               500,
               500
             ]

      assert Backoff.delay_ms(backoff, 1_000_000, fn -> 0.5 end) == 750

      # The same seed, the same times.
      seeded = fn ->
        :rand.seed(:exsss, {1, 2, 3})
        for _ <- 1..1_000, do: Backoff.delay_ms(backoff, 4)
      end

      delays = seeded.()
      assert delays == seeded.()
      assert Enum.min(delays) in 400..420 and Enum.max(delays) in 780..800
      assert Enum.sum(delays) / 1_000 > 580 and Enum.sum(delays) / 1_000 < 620
    end

    test "is told with words what is wrong with it" do
      assert {:ok, %{first: 500, max: 60_000, healthy_after: 30_000, on: :failure}} =
               Backoff.cast(true)

      for {given, got} <- [
            {false, "false"},
            {[first: 0], "[first: 0]"},
            {[first: 10, max: 5], "[first: 10, max: 5]"},
            {[frist: 10], "[frist: 10]"},
            {[on: :success], "[on: :success]"},
            {1_000, "1000"}
          ] do
        refused = fn -> Options.validate!(:daemon, "true", [], restart_backoff: given) end
        error = assert_raise ArgumentError, refused

        assert error.message =~
                 "invalid option :restart_backoff for MuonTrap.Daemon.start_link/3: expected true, or"

        assert String.ends_with?(error.message, ", got: " <> got)
      end
    end
  end
end
