# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.OutputTest do
  use MuonTrap.Case

  import ExUnit.CaptureLog
  import MuonTrap.Daemons

  alias MuonTrap.Daemon

  setup :trap_exits

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
      assert_receive {:line, "hello"}
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

    test "is logged although its prefix is not text" do
      log =
        capture_log([format: "$message\n"], fn ->
          opts = [log_output: :info, log_prefix: <<"p", 0xFF, "> ">>]
          {:ok, pid} = Daemon.start_link("echo", ["hello"], opts)
          assert stopped(pid) == :normal
        end)

      assert log =~ "p\uFFFD> hello"
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

    test "of a few bytes holds no more memory than those, whatever came before" do
      test = self()
      fun = &send(test, {:line, &1, :binary.referenced_byte_size(&1)})
      script = "seq 1 20000; while read line; do echo $line; done"
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], stdin: :pipe, logger_fun: fun)
      assert_receive {:line, "20000", _size}

      # Short enough for a binary on the heap, where OTP 27 counts bits, and longer.
      for line <- ["a", String.duplicate("b", 200), "c"] do
        :ok = Daemon.write(pid, line <> "\n")
        assert_receive {:line, ^line, size}
        assert size <= max(byte_size(line) + 1, 64)
      end

      :erlang.garbage_collect(pid)
      {:binary, binaries} = Process.info(pid, :binary)
      assert Enum.sum(for({_id, bytes, _count} <- binaries, do: bytes)) < 4096
      GenServer.stop(pid)
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
      assert_receive {:line, "y", ^pid}

      await(fn ->
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
end
