# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.StopReasonTest do
  use MuonTrap.Case

  import MuonTrap.Daemons
  import MuonTrap.Trees, only: [program: 1]

  alias MuonTrap.Daemon

  setup :trap_exits

  describe "the stop reason" do
    test "follows the exit status" do
      for {code, reason} <- [{0, :normal}, {1, :error_exit_status}, {255, :error_exit_status}] do
        {:ok, pid} = Daemon.start_link(program("exit_with"), ["#{code}"])
        assert stopped(pid) == reason
      end
    end

    test "is what exit_status_to_reason makes of a status other than 0" do
      opts = [exit_status_to_reason: &{:status, &1}]
      {:ok, pid} = Daemon.start_link(program("exit_with"), ["7"], opts)
      assert stopped(pid) == {:status, 7}
      {:ok, pid} = Daemon.start_link(program("exit_with"), ["0"], opts)
      assert stopped(pid) == :normal
      {:ok, pid} = Daemon.start_link("sh", ["-c", "kill -KILL $$"], opts)
      assert stopped(pid) == {:status, 137}
    end
  end
end
