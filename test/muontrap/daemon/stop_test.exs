# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.StopTest do
  @moduledoc "The option `:stop`: signals with pauses, commands, and SIGKILL whatever they do."

  use MuonTrap.Case

  import ExUnit.CaptureLog
  import MuonTrap.Daemons

  alias MuonTrap.{Daemon, Options}

  setup :trap_exits

  # Says each signal, and ends with the one that it is told to.
  @says ~S"""
  for signal in INT USR1 TERM; do trap "echo $signal; test $signal = $1 && exit 0" $signal; done
  echo on
  while :; do sleep 0.01; done
  """

  defp start(last, opts) do
    {:ok, pid} =
      Daemon.start_link("sh", ["-c", @says, "sh", last], [logger_fun: to_self()] ++ opts)

    os_pid = Daemon.os_pid(pid)
    assert_receive {:line, "on"}
    {pid, os_pid}
  end

  defp stop(pid) do
    {us, :ok} = :timer.tc(fn -> GenServer.stop(pid, :normal, 90_000) end)
    div(us, 1000)
  end

  describe "signals with pauses" do
    test "come one after the other, as long as the program does not end" do
      {pid, _os_pid} = start("TERM", stop: [:sigint, 300, :sigusr1, 300, :sigterm, 60_000])
      ms = stop(pid)
      assert lines() == ["INT", "USR1", "TERM"]
      assert ms in 600..40_000
      assert stopped(pid) == :normal
      refute_receive _
    end

    test "come no more when it has ended" do
      {pid, _os_pid} = start("INT", stop: [:sigint, 60_000, :sigterm])
      assert stop(pid) < 40_000
      assert lines() == ["INT"]
    end

    test "are followed by SIGKILL after the last pause, or the grace where there is none" do
      for opts <- [
            [stop: [:sigint, 50, :sigterm, 200], delay_to_sigkill: 100_000],
            [stop: [:sigint, 50, :sigterm], delay_to_sigkill: 200],
            [stop: :sigint, delay_to_sigkill: 200]
          ] do
        {pid, os_pid} = start("none", opts)
        assert stop(pid) in 200..40_000
        refute alive?(os_pid)
      end
    end

    # What it wrote takes minutes to be logged.
    test "come in time to a program that talks more than is logged" do
      slow = fn _line -> Process.sleep(50) end
      opts = [logger_fun: slow, stop: [:sigint, 200], delay_to_sigkill: 100_000]
      {:ok, pid} = Daemon.start_link("sh", ["-c", "trap '' INT; yes & yes"], opts)
      os_pid = Daemon.os_pid(pid)
      await(fn -> Daemon.statistics(pid).unacknowledged_bytes > 5_000 end)
      spawn(fn -> GenServer.stop(pid) end)
      await(fn -> not alive?(os_pid) end)
      assert Process.alive?(pid)
      Process.exit(pid, :kill)
      stopped(pid)
    end

    test "reach a program that is not ready yet, and take what it has started with it" do
      script =
        "trap 'echo INT; exit' INT; setsid sleep 1000 & echo $!; while :; do sleep 0.01; done"

      opts = [
        logger_fun: to_self(),
        stop: :sigint,
        ready: {:output, ~r/^INT$/},
        start_timeout: 500
      ]

      assert {:error, %{step: :start_timeout}} = Daemon.start_link("sh", ["-c", script], opts)
      assert [sleep, "INT"] = lines()
      refute alive?(sleep)
    end
  end

  describe "a command" do
    test "runs as the program does, and knows its pid" do
      script = ~S{echo "$NAME $(pwd)" > "$FILE"; kill -USR1 $MAINPID}
      file = Path.join(System.tmp_dir!(), "muontrap-#{System.unique_integer([:positive])}")
      on_exit(fn -> File.rm(file) end)
      env = [{"NAME", "value"}, {"FILE", file}]

      {pid, _os_pid} = start("USR1", stop: [{"sh", ["-c", script]}, 60_000], env: env, cd: "/usr")
      assert stop(pid) < 40_000
      assert lines() == ["USR1"]
      assert File.read!(file) == "value /usr\n"
    end

    test "that fails is complained about, without its arguments, and the next step comes" do
      for {command, text} <- [
            {{"sh", ["-c", "echo no, no >&2; exit 7", "secret"]},
             "sh: stop command: sh exited with status 7. The end of its standard error:\nno, no"},
            {{"no-such-program", ["secret"]},
             ~S(sh: stop command: cannot find the program "no-such-program": no such file)}
          ] do
        {pid, _os_pid} = start("TERM", stop: [command, 300, :sigterm, 60_000])
        log = capture_log(fn -> stop(pid) end)
        assert log =~ text
        refute log =~ "secret"
        assert lines() == ["TERM"]
      end
    end

    test "that hangs is ended with all that it started, and so is the program" do
      hangs = {"sh", ["-c", "trap '' TERM; setsid sleep 1000 & sleep 1000"]}
      {pid, os_pid} = start("none", stop: [hangs, 200])
      capture_log(fn -> assert stop(pid) < 40_000 end)
      refute alive?(os_pid)
      assert MuonTrap.list() == []
    end

    # pg_ctl(1) for one waits for the end of the server, and then has something to do itself.
    test "may finish when the program has ended" do
      script = "kill -TERM $MAINPID; while [ -e /proc/$MAINPID ]; do sleep 0.01; done; sleep 0.2"
      {pid, _os_pid} = start("TERM", stop: [{"sh", ["-c", script]}, 60_000])
      assert capture_log(fn -> assert stop(pid) in 200..40_000 end) == ""
    end
  end

  test "nobody is left to take steps when the Daemon is killed: stop_signal comes" do
    file = Path.join(System.tmp_dir!(), "muontrap-#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm(file) end)
    script = "trap 'echo INT > #{file}; exit' INT; echo on; while :; do sleep 0.01; done"

    opts = [
      logger_fun: to_self(),
      stop: [:sigusr1],
      stop_signal: :sigint,
      delay_to_sigkill: 30_000
    ]

    {:ok, pid} = Daemon.start_link("sh", ["-c", script], opts)
    assert_receive {:line, "on"}
    Process.exit(pid, :kill)
    await(fn -> File.exists?(file) and MuonTrap.list() == [] end)
  end

  test "a supervisor waits for all the pauses" do
    shutdown = fn opts -> Daemon.child_spec(["true", [], opts]).shutdown end
    assert shutdown.(stop: [:sigint, 5_000, :sigterm, 2_000]) == 17_000
    assert shutdown.(stop: [:sigint, 5_000, :sigterm], delay_to_sigkill: 1_000) == 16_000
    assert shutdown.(stop: {"true", []}) == 10_500
    assert shutdown.(stop: [5_000]) == 10_500
  end

  test "says what is wrong with a shape" do
    for {stop, got} <- [
          {[], "[]"},
          {nil, "nil"},
          {15, "15"},
          {[5_000, :sigterm], "5000"},
          {[:sigint, 1, 2], "2"},
          {[:sigint, -1], "-1"},
          {[:sigfoo], ":sigfoo"},
          {"nginx -s quit", "a string"},
          {{"nginx", "-s"}, ~S({"nginx", ...})},
          {[{"nginx", [:s]}], ~S({"nginx", ...})},
          {[:sigint | :sigterm], "[:sigint | :sigterm]"}
        ] do
      error =
        assert_raise ArgumentError, fn -> Options.validate!(:daemon, "true", [], stop: stop) end

      assert error.message =~
               "invalid option :stop for MuonTrap.Daemon.start_link/3: expected a signal name or"

      assert String.ends_with?(error.message, ", got: " <> got)
    end
  end
end
