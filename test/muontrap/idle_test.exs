# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.IdleTest do
  @moduledoc "Commands that do nothing cost nothing: no thread of ours wakes up for them."

  use ExUnit.Case

  alias MuonTrap.{Counts, Trees}

  setup do: Counts.unchanged()

  @commands 50
  # Longer than a start may take before somebody looks after it, see `START_PATIENCE`.
  @watched_ms 3_500

  test "nobody wakes up for commands that run" do
    # One after the other, so that nothing of theirs would be due in the same moment.
    for number <- 1..@commands do
      owner = spawn(fn -> MuonTrap.cmd("sleep", ["1000"]) end)
      on_exit(fn -> Process.exit(owner, :kill) end)
      assert Trees.eventually(fn -> Enum.count(MuonTrap.list(), & &1.os_pid) >= number end)
    end

    before = wakes()
    Process.sleep(@watched_ms)
    # The shims that nobody needs any more are let go once, see `pool.rs`.
    assert wakes() - before < div(@commands, 5)
  end

  # How often the reactor has waited for something so far, see proc_pid_status(5).
  defp wakes do
    [status] =
      for thread <- File.ls!("/proc/self/task"),
          {:ok, status} <- [File.read("/proc/self/task/#{thread}/status")],
          status =~ ~r/^Name:\tmuontrap$/m,
          do: status

    [_line, count] = Regex.run(~r/^voluntary_ctxt_switches:\t(\d+)$/m, status)
    String.to_integer(count)
  end
end
