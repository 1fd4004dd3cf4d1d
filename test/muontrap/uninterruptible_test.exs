# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.UninterruptibleTest do
  @moduledoc """
  A process that no signal ends until somebody else lets it go on, as one in uninterruptible sleep: it is
  frozen by cgroup v1. It is reported after the margin, and nobody waits for it any longer.
  """

  use MuonTrap.Case

  import ExUnit.CaptureLog

  alias MuonTrap.{Counts, Error, Freezer, Trees}

  # The helpers give up after five seconds.
  @margin_ms 5_000
  @bound_ms 120_000

  setup do: Counts.unchanged()

  # A command in a task, and its program once it runs.
  defp start(fun) do
    task = Task.async(fun)
    assert Trees.eventually(fn -> os_pid(task.pid) != nil or not Process.alive?(task.pid) end)
    {task, os_pid(task.pid)}
  end

  # One that is frozen before its time is over, and its group.
  defp start_frozen do
    within_time(fn ms ->
      opts = [timeout: 3 * ms, delay_to_sigkill: 10]
      {task, pid} = start(fn -> MuonTrap.run("sleep", ["1000"], opts) end)

      case pid && Freezer.freeze_in_time(:v1, pid, task.pid) do
        late when late == :late or pid == nil -> Task.await(task, @bound_ms) && nil
        group -> {task, pid, group}
      end
    end)
  end

  defp os_pid(owner),
    do: Enum.find_value(MuonTrap.list(), &(&1.owner == owner && &1.os_pid))

  defp timed(fun) do
    {us, result} = :timer.tc(fun)
    {div(us, 1000), result}
  end

  test "is named in the result and the log, and the next commands do not wait for it" do
    {task, pid, group} = start_frozen()

    if group do
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

      times =
        for _ <- 1..3 do
          {ms, {_error, log}} = timed(fn -> with_log(&lose_another/0) end)
          refute log =~ "cannot be killed"
          ms
        end

      # Each waited, so one that did not tells.
      assert Enum.min(times) < @margin_ms
      assert File.exists?("/proc/#{pid}")
      Freezer.thaw(group)
      assert Trees.eventually(fn -> not File.exists?("/proc/#{pid}") end)
    end
  end

  defp lose_another do
    {task, pid} = start(fn -> lost(fn -> MuonTrap.run("sleep", ["1000"]) end) end)
    Trees.kill(Trees.parent(pid), "KILL")
    assert %Error{step: :shim, reason: :died} = Task.await(task, @bound_ms)
  end

  defp lost(fun) do
    fun.()
  rescue
    error in Error -> error
  end
end
