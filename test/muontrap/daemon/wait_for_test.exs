# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.WaitForTest do
  use MuonTrap.Case

  import MuonTrap.Daemons

  alias MuonTrap.{Daemon, Error}

  setup :trap_exits

  describe "wait_for" do
    test "runs before the program without blocking the start" do
      test = self()

      wait = fn ->
        send(test, {:waiting, self()})

        receive do
          :go_on -> :ok
        end
      end

      {:ok, pid} = Daemon.start_link("echo", ["hello"], wait_for: wait, logger_fun: to_self())
      assert_receive {:waiting, task}
      assert Daemon.os_pid(pid) == :error
      assert Daemon.signal(pid, :sigterm) == {:error, :esrch}
      assert %{os_pid: nil, output_byte_count: 0} = Daemon.statistics(pid)
      send(task, :go_on)
      assert stopped(pid) == :normal
      assert lines() == ["hello"]
    end

    test "ends with the Daemon, and the Daemon with it" do
      test = self()

      forever = fn ->
        send(test, {:waiting, self()})
        Process.sleep(:infinity)
      end

      {:ok, pid} = Daemon.start_link("true", [], wait_for: forever)
      assert_receive {:waiting, task}
      GenServer.stop(pid)
      refute Process.alive?(task)

      {:ok, pid} = Daemon.start_link("true", [], wait_for: fn -> exit(:broken) end)
      assert stopped(pid) == :broken
      {:ok, pid} = Daemon.start_link("true", [], wait_for: fn -> exit(:normal) end)
      assert stopped(pid) == :normal
    end

    test "is followed by a failed start" do
      {:ok, pid} = Daemon.start_link("no-such-program", [], wait_for: fn -> :ok end)
      assert %Error{step: :lookup, reason: :enoent} = stopped(pid)
    end
  end
end
