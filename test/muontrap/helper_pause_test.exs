# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.HelperPauseTest do
  @moduledoc """
  Helpers that are stopped together with the program, as by the pause of a container, do not count that time: what
  the program had left of its grace it has afterwards.
  """

  use ExUnit.Case

  alias MuonTrap.{Nif, Trees}

  @moduletag timeout: 120_000

  @grace_ms 4_000
  # Longer than the grace, and shorter than the patience of the VM, which goes on meanwhile.
  @pause_ms 7_000

  @script """
  trap 'echo stopping; i=0; while [ $i -lt 10 ]; do sleep 0.05; i=$((i+1)); done; echo bye; exit 7' TERM
  while :; do sleep 0.02; done
  """

  defp os_pid(owner), do: Enum.find_value(MuonTrap.list(), &(&1.owner == owner && &1.os_pid))

  test "a pause during a stop takes nothing of the grace" do
    assert {"", 0} = MuonTrap.cmd("true", [])
    opts = [timeout: 500, delay_to_sigkill: @grace_ms]
    task = Task.async(fn -> MuonTrap.run("sh", ["-c", @script], opts) end)
    assert Trees.eventually(fn -> os_pid(task.pid) != nil end)
    program = os_pid(task.pid)
    helpers = [Nif.spawner_pid(), Trees.parent(program)]
    Trees.signal_on_exit(helpers ++ [program], "CONT")

    assert Trees.eventually(fn -> match?([%{stopping: true}], MuonTrap.list()) end)
    Trees.kill(helpers ++ [program], "STOP")
    Process.sleep(@pause_ms)
    # A helper that thinks that the grace is over has every chance to act on it.
    Trees.kill(helpers, "CONT")
    Process.sleep(100)
    Trees.kill(program, "CONT")
    result = Task.await(task, 60_000)
    assert result.output == "stopping\nbye\n"
    assert result.exit_status == 7
  end
end
