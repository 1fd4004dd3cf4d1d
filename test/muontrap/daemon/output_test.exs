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

      assert stream(os_pid, 0) =~ "pipe:"
      assert stream(os_pid, 1) == "/dev/null"
      # Opened anew where that is possible, and the same in any case.
      assert stream(os_pid, 2) == File.read_link!("/proc/self/fd/2")
      GenServer.stop(pid)

      {:ok, pid} = Daemon.start_link("sleep", ["1000"], stdin: :null, stderr: :null)
      os_pid = Daemon.os_pid(pid)
      assert for(fd <- 0..2, do: stream(os_pid, fd)) == List.duplicate("/dev/null", 3)
      GenServer.stop(pid)
    end

    test "of standard error alone is counted though nobody logs it" do
      script = "echo out; echo error >&2; sleep 1000"
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], capture_stderr_only: true)

      await(fn ->
        match?(%{stdout_bytes: 0, output_byte_count: 6}, Daemon.statistics(pid))
      end)

      GenServer.stop(pid)
    end

    test "is counted once it is logged, however slow that is" do
      to_self = to_self()
      slow = fn line -> to_self.(line) && Process.sleep(10) end
      {:ok, pid} = Daemon.start_link("sh", ["-c", "seq 100; sleep 1000"], logger_fun: slow)
      await(fn -> Daemon.statistics(pid).output_byte_count == 292 end)
      assert length(lines()) == 100
      GenServer.stop(pid)
    end

    test "comes to a logger_fun and a log_transform as the bytes that it is" do
      script = ~S(printf 'a\377b\r\n10%%\r20%%\n\303\251')
      bytes = ["a\xFFb", "10%\r20%", "é"]
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], logger_fun: to_self())
      assert stopped(pid) == :normal
      assert lines() == bytes

      test = self()

      transform = fn line ->
        send(test, {:line, line})
        "hidden"
      end

      log =
        capture_log([format: "$message\n"], fn ->
          opts = [log_output: :info, log_transform: transform]
          {:ok, pid} = Daemon.start_link("sh", ["-c", script], opts)
          assert stopped(pid) == :normal
        end)

      assert lines() == bytes
      assert log =~ "sh: hidden\nsh: hidden\nsh: hidden\n"

      log =
        capture_log([format: "$message\n"], fn ->
          {:ok, pid} = Daemon.start_link("sh", ["-c", script], log_output: :info)
          assert stopped(pid) == :normal
        end)

      assert log =~ "sh: a\uFFFDb\nsh: 10%\nsh: 20%\nsh: é\n"
    end

    test "comes in pieces where a line is too long for a logger_fun" do
      opts = [logger_fun: to_self(), log_line_max: 16]
      {:ok, pid} = Daemon.start_link("printf", ["%040d\\n1\\n", "7"], opts)
      assert stopped(pid) == :normal
      zeros = &String.duplicate("0", &1)
      assert lines() == [zeros.(16), zeros.(16), zeros.(7) <> "7", "1"]
    end

    test "that is no text may still tell of readiness" do
      script = ~S(printf '\377 ready\n'; exec sleep 1000)
      opts = [ready: {:output, ~r/^. ready$/u}, logger_fun: to_self()]
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], opts)
      assert_receive {:line, "\xFF ready"}
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
        assert log =~ ~s(a line of "seq" is lost because its logger failed)
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

  defp stream(os_pid, fd), do: File.read_link!("/proc/#{os_pid}/fd/#{fd}")

  def tell(line, pid), do: send(pid, {:line, line})
end
