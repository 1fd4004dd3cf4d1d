# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Stress.LingerTest do
  @moduledoc "Filters behind a program on a machine that has no processor to spare: each byte arrives, each time."

  use ExUnit.Case

  alias MuonTrap.{Cgroups, Counts, Trees}

  @moduletag :stress
  @moduletag timeout: 600_000

  @times 500
  # Filters that get no processor for all of the grace are killed. That is not what is tested here.
  @longest_ms 30_000

  setup do: Counts.unchanged()

  setup do
    # Twice as many as there are processors. As commands they end with this test in any case.
    loops = for _ <- 1..(2 * System.schedulers_online()), do: start_loop()
    on_exit(fn -> Enum.each(loops, &Process.exit(&1, :kill)) end)
  end

  defp start_loop, do: spawn(fn -> MuonTrap.cmd("sh", ["-c", "while :; do :; done"]) end)

  for {what, script, expected} <- [
        {"tee", "exec > >(tee -a /dev/null) 2>&1; echo starting; exit 3", "starting\n"},
        {"three in a row", "exec > >(tr a-z A-Z | tee /dev/null | cat); echo starting; exit 3",
         "STARTING\n"}
      ] do
    @tag script: script, expected: expected
    test "#{@times} times #{what}", %{script: script, expected: expected} do
      assert Trees.eventually(fn -> Enum.any?(MuonTrap.list(), & &1.os_pid) end)

      if System.find_executable("bash") || Cgroups.announce("there is no bash") do
        for _ <- 1..@times do
          assert {^expected, 3} =
                   MuonTrap.cmd("bash", ["-c", script], delay_to_sigkill: @longest_ms)
        end
      end
    end
  end
end
