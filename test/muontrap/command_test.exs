# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.CommandTest do
  use ExUnit.Case
  import ExUnit.CaptureLog

  alias MuonTrap.Command

  @command %Command{ref: nil, grace_ms: 0, program: "server", args: [], since: 0}

  defp log(terminal), do: capture_log(fn -> assert :ok = Command.report(@command, terminal) end)

  test "reports what could not be killed or removed, and only that" do
    clean = %{status: {:exited, 0}, survivors: [], leftovers: []}
    assert log({:ended, clean}) == ""
    assert log({:failed, {:exec, "server", :enoent}}) == ""

    assert log({:ended, %{clean | survivors: [4711]}}) =~ "server ended"
    assert log({:ended, %{clean | survivors: [4711]}}) =~ "cannot be killed: [4711]"
    assert log({:ended, %{clean | survivors: [65, 66]}}) =~ "cannot be killed: [65, 66]"

    leftover = {:cgroup_remove, "/sys/fs/cgroup/x", :ebusy}
    assert log({:ended, %{clean | leftovers: [leftover]}}) =~ "/sys/fs/cgroup/x"
    assert log({:lost, {:shim, "", :died}, [4711]}) =~ "[4711]"
  end

  test "shows a status as a shell does" do
    assert Command.exit_status({:exited, 3}) == 3
    assert Command.exit_status({:signaled, 9}) == 137
  end
end
