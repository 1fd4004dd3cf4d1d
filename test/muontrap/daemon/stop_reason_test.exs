# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.StopReasonTest do
  use MuonTrap.Case

  import ExUnit.CaptureLog
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

    # The Daemon waited ten seconds for the end that it had heard of already, and its restart with it.
    test "is at once what that raises, and nothing is done any more about a program that has ended" do
      marker = Path.join(System.tmp_dir!(), "muontrap-stop-#{System.unique_integer([:positive])}")
      on_exit(fn -> File.rm(marker) end)

      opts = [
        exit_status_to_reason: fn 7 -> raise "broken" end,
        stop: [{"touch", [marker]}, 90_000]
      ]

      capture_log(fn ->
        {us, reason} =
          :timer.tc(fn ->
            {:ok, pid} = Daemon.start_link("sh", ["-c", "sleep 0.1; exit 7"], opts)
            stopped(pid)
          end)

        assert {%RuntimeError{message: "broken"}, _stacktrace} = reason
        assert us < 8_000_000
        refute File.exists?(marker)
      end)
    end
  end
end
