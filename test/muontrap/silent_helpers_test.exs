# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.SilentHelpersTest do
  @moduledoc "Helpers that are there and do nothing: woken, else replaced or killed, and never waited for for ever."

  use MuonTrap.Case

  import ExUnit.CaptureLog

  alias MuonTrap.{Daemon, Error, Freezer, Nif, Trees}

  # A helper that only SIGKILL gets through to has some seconds, and one that nothing ends has twenty.
  @bound_ms 120_000

  defp lost(fun) do
    Task.async(fn ->
      try do
        fun.()
      rescue
        error in Error -> error
      end
    end)
  end

  defp os_pid(owner), do: Enum.find_value(MuonTrap.list(), &(&1.owner == owner && &1.os_pid))

  # A tree that ignores SIGTERM and has a child in another session, with a shim that is frozen before the time is
  # over. `group` is nil where that cannot be had.
  defp frozen(version) do
    script = "trap '' TERM; setsid sleep 1000 & wait"

    within_time(fn ms ->
      token = Trees.token()
      opts = [env: [{"MUONTRAP_TOKEN", token}], timeout: 10 * ms, delay_to_sigkill: 10]
      task = lost(fn -> MuonTrap.run("sh", ["-c", script], opts) end)

      stands? = fn -> length(Trees.carrying(token)) == 2 and os_pid(task.pid) != nil end
      assert Trees.eventually(fn -> stands?.() or not Process.alive?(task.pid) end)
      program = os_pid(task.pid)
      shim = program && Trees.parent(program)

      case shim && Freezer.freeze_in_time(version, shim, task.pid) do
        late when late == :late or shim == nil ->
          Task.await(task, @bound_ms) && nil

        group ->
          %{task: task, program: program, shim: shim, token: token, group: group}
      end
    end)
  end

  test "a spawner that is stopped is woken" do
    assert {"", 0} = MuonTrap.cmd("true", [])
    Trees.none_ready()
    Trees.kill(Nif.spawner_pid(), "STOP")
    assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
  end

  test "a program whose shim is stopped is asked to stop all the same" do
    test = self()
    script = "trap 'echo asked' TERM; echo on; while :; do sleep 0.01; done"
    opts = [logger_fun: &send(test, {:line, &1}), delay_to_sigkill: @bound_ms]
    {:ok, daemon} = Daemon.start_link("sh", ["-c", script], opts)
    assert_receive {:line, "on"}, @bound_ms
    program = Daemon.os_pid(daemon)
    shim = Trees.parent(program)
    Trees.kill(shim, "STOP")
    stop = Task.async(fn -> GenServer.stop(daemon) end)
    # Long before the grace is over and somebody wakes the shim.
    assert_receive {:line, "asked"}, div(@bound_ms, 2)
    Trees.kill(program, "KILL")
    Trees.kill(shim, "CONT")
    assert Task.await(stop, @bound_ms) == :ok
  end

  test "a spawner that is stopped is woken for what a dead shim left" do
    assert {"", 0} = MuonTrap.cmd("true", [])
    spawner = Nif.spawner_pid()
    Trees.signal_on_exit(spawner, "CONT")
    # The command has a shim that was ready: the spawner does not hear of it.
    Trees.kill(spawner, "STOP")
    token = Trees.token()

    task =
      lost(fn ->
        MuonTrap.cmd(Trees.program("new_session"), [], env: [{"MUONTRAP_TOKEN", token}])
      end)

    assert Trees.eventually(fn ->
             os_pid(task.pid) != nil and length(Trees.carrying(token)) == 2
           end)

    Trees.kill(Trees.parent(os_pid(task.pid)), "KILL")
    assert %Error{step: :shim, reason: :died} = Task.await(task, @bound_ms)
    assert Trees.carrying(token) == []
  end

  @tag :cgroup
  test "a spawner that stays silent is replaced, and what runs goes on" do
    daemon = start_supervised!({Daemon, ["sleep", ["1000"]]})
    program = Daemon.os_pid(daemon)
    spawner = Nif.spawner_pid()

    Trees.none_ready()

    if Freezer.freeze(:v2, spawner) do
      task = lost(fn -> MuonTrap.cmd("true", []) end)
      assert %{step: :shim, reason: :died} = Task.await(task, @bound_ms)
      assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
      assert Nif.spawner_pid() != spawner
      assert Trees.eventually(fn -> not File.exists?("/proc/#{spawner}") end)
      assert Daemon.os_pid(daemon) == program
    end
  end

  @tag :cgroup
  test "a shim that stays silent is killed by the spawner, and its tree with it" do
    %{task: task, token: token, shim: shim} = frozen = frozen(:v2)

    if frozen.group do
      assert %Error{step: :shim, reason: :died} = Task.await(task, @bound_ms)
      # The owner hears of it when nothing is left.
      assert Trees.carrying(token) == []
      refute File.exists?("/proc/#{shim}")
      assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
    end
  end

  test "a shim that cannot even be killed is given up, its program killed, and the call returns" do
    %{task: task, token: token, program: program, group: group} = frozen(:v1)

    if group do
      {error, log} = with_log(fn -> Task.await(task, @bound_ms) end)
      assert %Error{step: :shim, reason: :timeout} = error
      assert log =~ "Processes that cannot be killed: [#{program}]."
      assert Trees.eventually(fn -> program not in Trees.carrying(token) end)
      assert MuonTrap.list() == []
      assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])

      # Its SIGKILL has been waiting.
      Freezer.thaw(group)
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    end
  end
end
