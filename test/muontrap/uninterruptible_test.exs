# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.UninterruptibleTest do
  @moduledoc """
  A process that no signal ends until somebody else lets it go on, as one in uninterruptible sleep: it is
  frozen by cgroup v1. It is reported after the margin, and nobody waits for it any longer.
  """

  use ExUnit.Case

  import ExUnit.CaptureLog

  alias MuonTrap.{Counts, Error, Freezer, Trees}

  @moduletag timeout: 180_000

  # The helpers give up after five seconds.
  @margin_ms 5_000
  @bound_ms 30_000

  setup do: Counts.unchanged()

  # A command in a task, and its program once it runs.
  defp start(fun) do
    task = Task.async(fun)
    assert Trees.eventually(fn -> os_pid(task.pid) != nil end)
    {task, os_pid(task.pid)}
  end

  defp os_pid(owner),
    do: Enum.find_value(MuonTrap.list(), &(&1.owner == owner && &1.os_pid))

  defp timed(fun) do
    {us, result} = :timer.tc(fun)
    {div(us, 1000), result}
  end

  test "is named in the result and the log, and the next commands do not wait for it" do
    {task, pid} =
      start(fn -> MuonTrap.run("sleep", ["1000"], timeout: 500, delay_to_sigkill: 10) end)

    if group = Freezer.freeze(:v1, pid) do
      {result, log} = with_log(fn -> Task.await(task, @bound_ms) end)
      assert %{status: :timeout, os_pid: ^pid, survivors: [^pid]} = result
      assert result.duration_ms >= @margin_ms
      assert log =~ "Processes that cannot be killed: [#{pid}]."
      assert File.exists?("/proc/#{pid}")

      assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
      Freezer.thaw(group)
      # SIGKILL was only waiting.
      assert Trees.eventually(fn -> not File.exists?("/proc/#{pid}") end)
    end
  end

  # It was named for all the commands after it whose shims died, and each of them waited for it.
  test "is a survivor of its own command alone when shims die" do
    {task, pid} = start(fn -> lost(fn -> MuonTrap.run("sleep", ["1000"]) end) end)
    shim = Trees.parent(pid)

    if group = Freezer.freeze(:v1, pid) do
      Trees.kill(shim, "KILL")
      {error, log} = with_log(fn -> Task.await(task, @bound_ms) end)
      assert %Error{step: :shim, reason: :died} = error
      assert log =~ "Processes that cannot be killed: [#{pid}]."

      {ms, log} =
        timed(fn ->
          {_error, log} =
            with_log(fn ->
              {task, pid} = start(fn -> lost(fn -> MuonTrap.run("sleep", ["1000"]) end) end)
              Trees.kill(Trees.parent(pid), "KILL")
              assert %Error{step: :shim, reason: :died} = Task.await(task, @bound_ms)
            end)

          log
        end)

      refute log =~ "cannot be killed"
      assert ms < @margin_ms
      assert File.exists?("/proc/#{pid}")
      Freezer.thaw(group)
      assert Trees.eventually(fn -> not File.exists?("/proc/#{pid}") end)
    end
  end

  defp lost(fun) do
    fun.()
  rescue
    error in Error -> error
  end
end
