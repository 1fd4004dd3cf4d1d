# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ResultTest do
  @moduledoc "What `MuonTrap.run/3` says. Kills for memory are in cgroup/limits_test.exs."

  use MuonTrap.Case

  alias MuonTrap.{Error, Result, Trees}

  test "tells exit codes from signals, and gives signals their names" do
    for code <- [0, 1, 137, 255] do
      assert %Result{status: {:exited, ^code}, exit_status: ^code, output: "", stderr: nil} =
               MuonTrap.run(Trees.program("exit_with"), ["#{code}"])
    end

    for {number, name} <- [{9, :sigkill}, {15, :sigterm}, {40, 40}] do
      result = MuonTrap.run("sh", ["-c", "kill -#{number} $$; sleep 100"])
      assert %Result{status: {:signaled, ^name}, timed_out: false, oom_killed: false} = result
      assert result.exit_status == 128 + number
      assert {result.survivors, result.leftovers} == {[], []}
    end

    refute_received _
  end

  test "says that the time was over, and how the program ended then" do
    assert %Result{status: :timeout, timed_out: true, exit_status: 143, output: "so far\n"} =
             run_said("so far\n", "sh", ["-c", "echo so far; exec sleep 1000"], [])

    script = "trap 'echo bye; exit 0' TERM; echo hi; while :; do sleep 0.01; done"

    assert %Result{status: :timeout, exit_status: 0, output: "hi\nbye\n"} =
             run_said("hi\n", "sh", ["-c", script], delay_to_sigkill: 60_000)

    assert %Result{status: :timeout, exit_status: 137} =
             run_said("ready\n", Trees.program("ignore_sigterm"), [], delay_to_sigkill: 10)

    refute_received _
  end

  # With enough time for the program to say what it says at first.
  defp run_said(said, program, args, opts) do
    within_time(fn ms ->
      result = MuonTrap.run(program, args, [timeout: ms] ++ opts)
      if String.starts_with?(result.output, said), do: result
    end)
  end

  test "says what cmd/3 says, with the same options" do
    for {script, opts} <- [
          {"echo one; exit 3", []},
          {"echo one; echo two", [into: [], lines: 1]},
          {"echo one; echo two >&2; cat", [stderr_to_stdout: true, input: "x"]},
          {"echo one; echo two >&2", [capture_stderr_only: true]},
          {"echo $A; pwd; kill -HUP $$", [env: [{"A", "b"}], cd: "/"]}
        ] do
      {output, status} = MuonTrap.cmd("sh", ["-c", script], opts)

      assert %Result{output: ^output, exit_status: ^status} =
               MuonTrap.run("sh", ["-c", script], opts)
    end
  end

  test "keeps standard error apart, to the last byte and however much it is" do
    script = "head -c 300000 /dev/zero >&2; seq 1 1000; echo end >&2"

    result = MuonTrap.run("sh", ["-c", script], capture_stderr: true, into: [], lines: 1)

    assert result.output == Enum.map(1..1000, &"#{&1}")
    assert result.stderr == String.duplicate(<<0>>, 300_000) <> "end\n"
    assert MuonTrap.run("true", [], capture_stderr: true).stderr == ""
  end

  test "names the process that the program was" do
    assert %Result{os_pid: os_pid, output: output} = MuonTrap.run("sh", ["-c", "echo $$"])
    assert output == "#{os_pid}\n"
  end

  test "counts time and memory of the whole tree" do
    loop = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
    result = MuonTrap.run("sh", ["-c", "sh -c '#{loop}' & wait"])
    cpu_us = result.usage.user_us + result.usage.system_us
    assert cpu_us > 10_000
    # Rounded down.
    assert cpu_us <= (result.duration_ms + 1) * 1000 * System.schedulers_online()

    script = "#{Trees.program("allocate")} 50 & wait"
    result = run_said("ready\n", "sh", ["-c", script], delay_to_sigkill: 10)
    assert result.usage.max_rss_bytes in (50 * 1024 * 1024)..(100 * 1024 * 1024)
    assert result.duration_ms >= 300
  end

  test "raises what could not be done, and on what" do
    for {run, step, subject, reason} <- [
          {fn -> MuonTrap.run("no-such-program", []) end, :lookup, "no-such-program", :enoent},
          {fn -> MuonTrap.run("/no/such/program", []) end, :exec, "/no/such/program", :enoent},
          {fn -> MuonTrap.run("/etc/passwd", []) end, :exec, "/etc/passwd", :eacces},
          {fn -> MuonTrap.run("true", [], cd: "/no/such") end, :chdir, "/no/such", :enoent},
          {fn -> MuonTrap.run!("true", [], cd: "/etc/passwd") end, :chdir, "/etc/passwd",
           :enotdir}
        ] do
      error = assert_raise Error, run
      assert {error.step, error.subject, error.reason} == {step, subject, reason}
    end

    assert_raise ArgumentError, ~r/MuonTrap.run/, fn -> MuonTrap.run("true", [], name: :a) end
    error = assert_raise Error, fn -> MuonTrap.run("true", [], uid: "no-such-user") end
    assert error.reason == :unknown_user
  end

  test "raises when the shim was killed, as cmd/3 does" do
    for run <- [&MuonTrap.run/2, &MuonTrap.cmd/2] do
      task =
        Task.async(fn -> assert_raise Error, fn -> run.(Trees.program("new_session"), []) end end)

      assert Trees.eventually(fn -> match?([%{os_pid: pid}] when pid != nil, MuonTrap.list()) end)
      [%{os_pid: os_pid}] = MuonTrap.list()
      Trees.kill(Trees.parent(os_pid), "KILL")
      assert %Error{step: :shim, reason: :died} = Task.await(task, :infinity)
    end
  end
end
