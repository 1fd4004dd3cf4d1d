# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.ReportTest do
  @moduledoc "What people read of a Daemon that ends badly, or does not start, and what they do not."

  use MuonTrap.Case

  import ExUnit.{CaptureIO, CaptureLog}
  import MuonTrap.Daemons

  alias MuonTrap.{Daemon, Error, Result}

  doctest MuonTrap.Daemon.Report

  setup :trap_exits

  # Runs a line of shell to its end.
  defp log_of(script, opts) do
    capture_log([format: "$level $message\n", colors: [enabled: false]], fn ->
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], opts)
      stopped(pid)
    end)
  end

  describe "a Daemon that ends badly" do
    test "says so in a few short lines, without options, environment, input and arguments" do
      opts = [
        env: [{"NAME", "in-the-environment"}],
        logger_metadata: [private: "in-the-metadata"],
        log_prefix: "in-the-options"
      ]

      log = log_of("read line; : in-the-arguments; exit 3", [input: "in-the-input\n"] ++ opts)
      # One of ours, and four of GenServer.
      assert byte_size(log) < 500
      line = "sh: Process exited with status 3, pid "
      assert [_before, _after] = String.split(log, "error " <> line)
      assert log =~ "State: \"#{line}"
      refute log =~ "in-the"
    end

    test "shows the end of standard error that is logged, whole lines of it" do
      script = "seq 1000 1999 >&2; echo no problem; echo the problem >&2; exit 1"
      log = log_of(script, log_stderr: :debug, log_output: :debug)
      [_lines, tail] = String.split(log, ". The end of its standard error:\n", parts: 2)
      [tail | _report] = String.split(tail, "\nerror GenServer")
      lines = String.split(tail, "\n", trim: true)
      assert List.last(lines) == "the problem"
      assert length(lines) in 800..820
      assert Enum.all?(lines -- ["the problem"], &(byte_size(&1) == 4))

      log = log_of(script, log_stderr: :debug, tail_bytes: 20)
      assert log =~ ". The end of its standard error:\n1999\nthe problem\n"
      refute log_of(script, log_stderr: :debug, tail_bytes: 0) =~ "The end of"

      assert log_of(script, stderr_to_stdout: true, log_output: :debug) =~
               "The end of its output:"

      refute log_of("echo fine >&2", log_stderr: :debug) =~ "The end of"
    end

    test "shows it where nothing reads it but for that, and drops it where it is told to" do
      log = log_of("echo the problem >&2; exit 1", stderr: :null, tail_bytes: 100)
      assert log =~ ". The end of its standard error:\nthe problem\n"
      assert log_of("exit 1", tail_bytes: 100) =~ ~r/status 1, pid \d+, after \d+ ms\n/
      log = log_of("echo fine; exit 1", logger_fun: to_self(), tail_bytes: 100, stderr: :null)
      refute log =~ "The end of"
      assert lines() == ["fine"]
    end

    test "passes on what would have been that of the VM, byte for byte in lines" do
      vm = """
      Process.flag(:trap_exit, true)
      args = ["-c", "printf 'a\\\\377\\\\n' >&2; printf b >&2; exit 1"]
      {:ok, pid} = MuonTrap.Daemon.start_link("sh", args, [tail_bytes: 100])
      receive do {:EXIT, ^pid, _reason} -> :ok end
      """

      args = ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", vm]
      {output, 0} = System.cmd("elixir", args, stderr_to_stdout: true)
      # From OTP 28 on the VM's standard error takes characters alone.
      otp = String.to_integer(System.otp_release())
      assert output =~ if(otp < 28, do: <<"a", 255, "\nb\n">>, else: "aÿ\nb\n")
      assert output =~ "The end of its standard error:\na"
    end

    # Arguments were in the Logger metadata of its process, which that report shows.
    test "shows no secret in the report of its crash either" do
      vm = """
      Process.flag(:trap_exit, true)
      opts = [env: [{"NAME", "in-the-environment"}], input: "in-the-input"]

      for more <- [[], [exit_status_to_reason: fn 3 -> raise "broken" end]] do
        args = ["-c", "sleep 0.1; : in-the-arguments; exit 3"]
        {:ok, pid} = MuonTrap.Daemon.start_link("sh", args, opts ++ more)
        receive do {:EXIT, ^pid, _reason} -> :ok end
      end

      Logger.flush()
      """

      args = [
        "--logger-sasl-reports",
        "true",
        "-pa",
        Application.app_dir(:muontrap, "ebin"),
        "-e"
      ]

      {output, 0} = System.cmd("elixir", args ++ [vm], stderr_to_stdout: true)
      assert output =~ "Initial Call: MuonTrap.Daemon.Server.init/1"
      refute output =~ "in-the"
    end

    test "has the whole result as its reason where that is asked for" do
      opts = [exit_status_to_reason: :result, log_stderr: :debug]
      script = "echo problem >&2; kill -TERM $$"
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], opts)
      os_pid = Daemon.os_pid(pid)
      assert {:exit_status, %Result{} = result} = stopped(pid)
      assert %{status: {:signaled, :sigterm}, exit_status: 143, os_pid: ^os_pid} = result
      assert %{stderr: "problem\n", output: nil, survivors: [], leftovers: []} = result
      {:ok, pid} = Daemon.start_link("true", [], exit_status_to_reason: :result)
      assert stopped(pid) == :normal
    end
  end

  describe ":sys.get_status/1" do
    test "says how it is with the program, and shows no secret" do
      opts = [env: [{"NAME", "secret"}], wait_for: fn -> receive(do: (:never -> :ok)) end]
      {:ok, pid} = Daemon.start_link("sleep", ["1000"], opts)
      assert inspect(:sys.get_status(pid), limit: :infinity) =~ "sleep: Process not started yet"
      GenServer.stop(pid)

      {:ok, pid} = Daemon.start_link("sleep", ["1000"], env: [{"NAME", "secret"}])
      status = inspect(:sys.get_status(pid), limit: :infinity)
      assert status =~ ~r/sleep: Process #{Daemon.os_pid(pid)} running for \d+ ms/
      refute status =~ "secret"
      GenServer.stop(pid)
    end
  end

  describe "a failed start" do
    test "shows its message below a supervisor, and can be matched" do
      children = [{Daemon, ["no-such-program", []]}]
      assert {:error, reason} = Supervisor.start_link(children, strategy: :one_for_one)
      assert {:shutdown, {:failed_to_start_child, Daemon, %Error{step: :lookup}}} = reason
      message = ~S(#MuonTrap.Error<cannot find the program "no-such-program": no such file)
      assert inspect(reason) =~ message
      assert capture_io(fn -> IO.inspect(reason) end) =~ message
    end
  end
end
