# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.HelpersTest do
  @moduledoc "What spawner and shims make of themselves, so that nothing but SIGKILL takes them from their work."

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Command, Counts, Nif, Trees}

  # What terminals, service managers and shells send. Those that cannot be blocked are in the death paths.
  @signals ~w(HUP INT QUIT ABRT USR1 USR2 PIPE ALRM TERM TSTP TTIN TTOU XCPU XFSZ VTALRM PROF IO PWR WINCH)

  setup do: Counts.unchanged()

  setup do
    command = Trees.start(:direct, Trees.token())
    %{os_pid: program} = Nif.info(command.handle)

    on_exit(fn ->
      assert Trees.eventually(fn -> MuonTrap.list() == [] end)

      # Kept until then: a handle that nobody holds any more ends its command, and a test may be done with it early.
      command
    end)

    %{command: command, program: program, shim: Trees.parent(program), spawner: Nif.spawner_pid()}
  end

  test "outlive every signal that asks a process to end or stop", context do
    for pid <- [context.spawner, context.shim], signal <- @signals, do: Trees.kill(pid, signal)

    assert Nif.spawner_pid() == context.spawner
    assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
    assert Trees.parent(context.program) == context.shim
    assert {:ended, %{status: {:signaled, 15}}} = Command.abort(context.command)
  end

  test "have sessions of their own, which no terminal and no group of the VM reaches", context do
    session = fn pid ->
      [_pid, _group, session] = stat(pid) |> Enum.slice(0, 3)
      session
    end

    sessions = Enum.map([System.pid(), context.spawner, context.program], session)
    assert sessions == Enum.uniq(sessions)
    assert session.(context.shim) == session.(context.spawner)
  end

  @tag :privileged
  test "are killed late by the OOM killer where that may be set, and the program as late as the VM",
       context do
    vm = oom_score_adj(System.pid())
    helpers = Enum.map([context.spawner, context.shim], &oom_score_adj/1)

    if may_lower_scores?() or Cgroups.announce("the VM has no CAP_SYS_RESOURCE") do
      assert helpers == List.duplicate(min(vm, -900), 2)
    else
      assert helpers == [vm, vm]
    end

    assert oom_score_adj(context.program) == vm
  end

  # CAP_SYS_RESOURCE, see capabilities(7).
  defp may_lower_scores? do
    [_all, effective] = Regex.run(~r/^CapEff:\t(.*)$/m, File.read!("/proc/self/status"))
    effective |> String.to_integer(16) |> Bitwise.bsr(24) |> Bitwise.band(1) == 1
  end

  defp oom_score_adj(pid),
    do: File.read!("/proc/#{pid}/oom_score_adj") |> String.trim() |> String.to_integer()

  test "hold neither a directory nor a stream of the VM", context do
    # Nobody else may look.
    for pid <- [context.spawner, context.shim],
        Cgroups.root?() or Cgroups.announce("root is needed to see what helpers hold") do
      assert File.read_link!("/proc/#{pid}/cwd") == "/"
      for fd <- 0..2, do: assert(File.read_link!("/proc/#{pid}/fd/#{fd}") == "/dev/null")
    end
  end

  # From the parent on, see proc(5).
  defp stat(pid) do
    [_name, rest] = File.read!("/proc/#{pid}/stat") |> String.split(") ", parts: 2)
    rest |> String.split() |> Enum.drop(1)
  end
end
