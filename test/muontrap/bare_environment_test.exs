# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.BareEnvironmentTest do
  @moduledoc "A VM that has next to nothing around it, as in a minimal container, still loses no program."

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Trees}

  # A tree that outlives its program, and one that has to be stopped.
  @contained ~S"""
  background = "setsid sleep 1000 & sleep 1000 & (sleep 1000 &) & echo word"
  {"word\n", 0} = MuonTrap.cmd("/bin/sh", ["-c", background])
  # Else the shell may say that its child was killed.
  stubborn = "exec 2>/dev/null; trap '' TERM; setsid sleep 1000 & echo ready; while :; do sleep 1000; done"

  # With time enough for it to say so.
  %{status: :timeout, survivors: []} =
    Enum.find_value([300, 3_000, 30_000], fn ms ->
      opts = [timeout: ms, delay_to_sigkill: 50]
      result = MuonTrap.run("/bin/sh", ["-c", stubborn], opts)
      result.output == "ready\n" && result
    end)

  spawn(fn -> MuonTrap.cmd("/bin/sh", ["-c", stubborn]) end)
  true = MuonTrap.Trees.eventually(fn -> match?([%{stdout_bytes: 6}], MuonTrap.list()) end)
  IO.puts("over")
  """

  @refused ~S"""
  try do
    MuonTrap.cmd("/bin/echo", ["ran"], cgroup_base: "bare")
  rescue
    error in MuonTrap.Error -> IO.puts("#{error.step} #{error.reason}")
  end

  {"without\n", 0} = MuonTrap.cmd("/bin/echo", ["without"])
  """

  # With nothing but a path and the token in its environment.
  defp in_a_bare_vm(prepare, code) do
    token = Trees.token()
    elixir = System.find_executable("elixir")
    ebin = Application.app_dir(:muontrap, "ebin")

    script =
      "#{prepare} exec env -i PATH=\"$PATH\" MUONTRAP_TOKEN=#{token} #{elixir} -pa #{ebin} -e \"$0\""

    args = ["--mount", "sh", "-c", script, code]
    result = System.cmd("unshare", args, stderr_to_stdout: true)
    {result, Trees.eventually(fn -> Trees.carrying(token) == [] end)}
  end

  defp possible? do
    match?({_, 0}, System.cmd("unshare", ["--mount", "true"], stderr_to_stdout: true)) or
      Cgroups.announce("no mount namespace can be made")
  end

  @tag :cgroup
  test "without HOME, SHELL and any other variable" do
    if possible?(), do: assert({{"over\n", 0}, true} = in_a_bare_vm("", @contained))
  end

  # Nothing of the tree was found, what it had started lived on, and nobody was told.
  @tag :cgroup
  test "without /proc" do
    if possible?() do
      assert {{"over\n", 0}, true} = in_a_bare_vm("mount -t tmpfs none /proc;", @contained)
    end
  end

  @tag :cgroup
  test "without /proc a cgroup is refused, and programs run without one" do
    if possible?() do
      assert {{"cgroup_create enoent\n", 0}, true} =
               in_a_bare_vm("mount -t tmpfs none /proc;", @refused)
    end
  end

  @tag :cgroup
  test "with cgroups that are mounted read-only they are refused, and programs run without" do
    if possible?() and Cgroups.offers?() do
      read_only =
        "for at in $(cut -d' ' -f2,3 /proc/mounts | grep ' cgroup' | cut -d' ' -f1); do " <>
          "mount -o remount,bind,ro $at; done;"

      assert {{"cgroup_create erofs\n", 0}, true} = in_a_bare_vm(read_only, @refused)
    end
  end
end
