# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.SilentHelpersTest do
  @moduledoc "Helpers that are there and do nothing: woken, else replaced or killed, and never waited for for ever."

  use ExUnit.Case

  import ExUnit.CaptureLog

  alias MuonTrap.{Daemon, Error, Freezer, Nif, Trees}

  @moduletag timeout: 180_000

  # A helper that only SIGKILL gets through to has some seconds, and one that nothing ends has twenty.
  @bound_ms 60_000

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

  # A tree that ignores SIGTERM and has a child in another session, and its shim.
  defp tree(token) do
    script = "trap '' TERM; setsid sleep 1000 & wait"
    opts = [env: [{"MUONTRAP_TOKEN", token}], timeout: 3_000, delay_to_sigkill: 10]
    task = lost(fn -> MuonTrap.run("sh", ["-c", script], opts) end)

    assert Trees.eventually(fn ->
             length(Trees.carrying(token)) == 2 and os_pid(task.pid) != nil
           end)

    {task, os_pid(task.pid), Trees.parent(os_pid(task.pid))}
  end

  test "a spawner that is stopped is woken" do
    assert {"", 0} = MuonTrap.cmd("true", [])
    Trees.kill(Nif.spawner_pid(), "STOP")
    assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
  end

  @tag :cgroup
  test "a spawner that stays silent is replaced, and what runs goes on" do
    daemon = start_supervised!({Daemon, ["sleep", ["1000"]]})
    program = Daemon.os_pid(daemon)
    spawner = Nif.spawner_pid()

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
    token = Trees.token()
    {task, _program, shim} = tree(token)

    if Freezer.freeze(:v2, shim) do
      assert %Error{step: :shim, reason: :died} = Task.await(task, @bound_ms)
      # The owner hears of it when nothing is left.
      assert Trees.carrying(token) == []
      refute File.exists?("/proc/#{shim}")
      assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
    end
  end

  test "a shim that cannot even be killed is given up, its program killed, and the call returns" do
    token = Trees.token()
    {task, program, shim} = tree(token)

    if group = Freezer.freeze(:v1, shim) do
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
