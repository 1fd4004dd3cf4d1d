# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.ControlTest do
  use MuonTrap.Case

  import MuonTrap.Daemons
  import MuonTrap.Trees, only: [program: 1]

  alias MuonTrap.{Cgroups, Daemon}

  setup :trap_exits

  describe "control" do
    test "sends signals by name and number to the program" do
      script = "trap 'echo hup' HUP; trap 'echo usr1' USR1; echo on; while :; do sleep 0.01; done"
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], logger_fun: to_self())
      assert_receive {:line, "on"}
      assert Daemon.signal(pid, :sighup) == :ok
      assert_receive {:line, "hup"}
      assert Daemon.signal(pid, 10) == :ok
      assert_receive {:line, "usr1"}
      assert_raise ArgumentError, fn -> Daemon.signal(pid, :sigfoo) end
      assert Daemon.signal(pid, :sigkill) == :ok
      assert stopped(pid) == :error_exit_status
    end

    test "stops with stop_signal" do
      script = "trap 'echo int; exit 0' INT; echo on; while :; do sleep 0.01; done"

      {:ok, pid} =
        Daemon.start_link("sh", ["-c", script], logger_fun: to_self(), stop_signal: :sigint)

      assert_receive {:line, "on"}
      GenServer.stop(pid)
      assert lines() == ["int"]
    end

    # Real-time signals are counted by the kernel, of others two may become one.
    test "asks the program to stop once, however long its grace" do
      opts = [logger_fun: to_self(), stop_signal: 40, delay_to_sigkill: 300]
      {:ok, pid} = Daemon.start_link(program("signals"), [], opts)
      assert_receive {:line, "ready"}
      GenServer.stop(pid)
      assert Enum.sort(lines()) == ["SIGCONT 18", "SIGRT 40"]
    end

    test "writes to the program and closes its input" do
      {:ok, pid} = Daemon.start_link("cat", [], stdin: :pipe, logger_fun: to_self())
      assert Daemon.write(pid, ["one", ?\n]) == :ok
      assert_receive {:line, "one"}
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

    test "leaves the input open, and writes nothing unless asked to" do
      {:ok, pid} = Daemon.start_link("cat", [], logger_fun: to_self())
      os_pid = Daemon.os_pid(pid)
      # It has come to wait for what is not there, and does not end.
      await(fn -> File.read!("/proc/#{os_pid}/wchan") =~ "pipe" or sleeping?(os_pid) end)
      assert Daemon.write(pid, "one\n") == :ok
      assert_receive {:line, "one"}
      GenServer.stop(pid)
    end

    test "has no input to write to where it is /dev/null or given" do
      for opts <- [[stdin: :null], [input: Stream.cycle(["x"])]] do
        {:ok, pid} = Daemon.start_link("sleep", ["1000"], opts)
        assert Daemon.write(pid, "x") == {:error, :epipe}
        GenServer.stop(pid)
      end

      {:ok, pid} = Daemon.start_link("cat", [], stdin: :null)
      assert stopped(pid) == :normal
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
      assert_receive {:line, "12345"}
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

      for result <- [
            Daemon.cgget(pid, "pids.max"),
            Daemon.cgget(pid, "pids", "pids.max"),
            Daemon.cgset(pid, "pids.max", "1"),
            Daemon.cgset(pid, "pids", "pids.max", "1")
          ] do
        assert result == {:error, :no_cgroup}
      end

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

  defp sleeping?(os_pid), do: File.read!("/proc/#{os_pid}/stat") =~ ") S "
end
