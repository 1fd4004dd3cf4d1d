# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DeathPaths.EveryStepTest do
  @moduledoc """
  Each system call of the helpers, from a request to its answer, is the one that fails, or the one at which the
  helper is killed: a clear error or a right result, nothing left, and the next command works.
  """

  use MuonTrap.Case

  import ExUnit.CaptureLog

  alias MuonTrap.{Cgroups, Error, Fault, Nif, Trees}

  @moduletag :death_paths
  @moduletag timeout: 3_600_000

  # More than any of the helpers makes for one command.
  @calls_max 1000
  @patience_ms 120_000

  @descriptors "openat,open,fcntl,dup2,dup3,pidfd_open,memfd_create"

  # Those of a program before it runs that have a reason to fail.
  @refusable "setsid,dup2,dup3,openat,open,write,chdir,setpriority,prlimit64,setgroups,setresgid," <>
               "setresuid,keyctl,capset,prctl"

  # A child in another session that outlives the program, and one word that has to arrive.
  @script "setsid sleep 1000 & echo word"

  # Every restriction that there is, so that each is the one that fails.
  defp restricted do
    more = if Cgroups.root?(), do: [uid: "nobody", gid: "nogroup", groups: []], else: []

    [
      clear_env: true,
      cd: "/",
      umask: 0o077,
      nice: 5,
      rlimits: [nofile: {100, 200}, core: 0],
      oom_score_adj: 500,
      no_new_privs: true
    ] ++ more
  end

  for who <- [:shim, :ready_shim, :spawner], mechanism <- [:none, :cgroup] do
    if mechanism == :cgroup, do: @tag(:cgroup)
    @tag who: who, mechanism: mechanism
    test "the #{String.replace("#{who}", "_", " ")} is killed at each of its system calls, with #{mechanism}",
         cell do
      if traces?() and (cell.mechanism == :none or Cgroups.offers?([])) do
        opts = if cell.mechanism == :cgroup, do: grouped(), else: []
        sweep(cell.who, "all", "kill", &assert_right(run_script(&1, opts), [:died]))
      end
    end
  end

  test "the shim is killed at each of its system calls while it stops a tree" do
    sweep(:shim, "all", "kill", fn token ->
      case run(token, Trees.program("mixed_tree"), ["4"], timeout: 20, delay_to_sigkill: 5) do
        {:ok, {_ready_or_not, :timeout}} -> :ok
        {:error, reason} -> assert reason == :died
      end
    end)
  end

  test "the program is killed at each of its system calls before it runs" do
    sweep(:program, "all", "kill", fn token ->
      # At execve it has run already, as far as anybody can tell.
      case run_script(token, []) do
        {:ok, {"", 137}} -> :ok
        result -> assert_right(result, [:died])
      end
    end)
  end

  for {what, calls, whose, errnos} <- [
        {"a descriptor", @descriptors, [:shim, :program], emfile: 24, enfile: 23},
        {"a process", "clone,clone3,fork", [:spawner, :shim], eagain: 11, enomem: 12},
        {"memory", "mmap,brk", [:spawner], enomem: 12},
        {"a message", "sendmsg,recvmsg", [:spawner, :shim], enomem: 12},
        {"a group", "mkdir,mkdirat", [:shim], enospc: 28, eacces: 13, erofs: 30},
        {"an entry", "write", [:shim, :program], eacces: 13, enospc: 28, erofs: 30, ebusy: 16}
      ],
      who <- whose,
      {reason, number} <- errnos do
    @tag :cgroup
    @tag who: who, calls: calls, reason: reason, number: number
    test "#{reason} at each request for #{what} by the #{who}", cell do
      if injects?() and Cgroups.offers?([]) do
        sweep(cell.who, cell.calls, "#{cell.number}", fn token ->
          assert_right(run_script(token, grouped()), [cell.reason, :died])
        end)
      end
    end
  end

  test "a program whose restrictions cannot all be applied does not run" do
    if injects?() do
      world = fn token -> run(token, Trees.program("inspect"), [], restricted()) end
      {:ok, {whole, 0}} = world.(Trees.token())

      refused =
        sweep(:program, @refusable, "1", fn token ->
          case world.(token) do
            {:ok, {seen, 0}} -> assert fixed(seen) == fixed(whole)
            {:error, reason} -> assert reason == :eperm
          end
        end)

      # Each restriction has a call of its own, except for clear_env and the umask, which cannot fail.
      assert refused >= length(restricted()) - 2
    end
  end

  @tag :cgroup
  test "a program whose cgroup cannot be limited as asked does not run" do
    if injects?() and Cgroups.offers?(["pids"]) do
      # It cannot fork where the limit holds.
      forks = fn token ->
        opts = [cgroup: %{pids_max: 1}, stderr_to_stdout: true] ++ grouped()
        run(token, "sh", ["-c", "(exit 0) && echo forked"], opts)
      end

      for calls <- ["mkdir,mkdirat", "open,openat", "write"] do
        sweep(:shim, calls, "13", fn token ->
          case forks.(token) do
            {:ok, {output, 2}} -> assert output =~ "fork"
            {:error, reason} -> assert reason == :eacces
          end
        end)
      end
    end
  end

  @tag :cgroup
  test "a group that cannot be removed is reported, and no other is left" do
    if injects?() and Cgroups.offers?([]) do
      log =
        capture_log(fn ->
          with_fault(:shim, "rmdir,unlinkat", 1, "13", fn token ->
            assert_right(run_script(token, grouped()), [])
            assert [group] = groups()
            # With those above it, which were made for it: it kept the shim from removing them.
            for path <- [group, Path.dirname(group)], do: File.rmdir!(path)
            _of_another = group |> Path.dirname() |> Path.dirname() |> File.rmdir()
          end)
        end)

      assert log =~ "cannot remove the cgroup"
      assert log =~ "permission denied (eacces)"
    end
  end

  # What differs from one run to the next.
  defp fixed(world) do
    world
    |> String.split("\n")
    |> Enum.reject(
      &(&1 =~ ~r/^(pid|ppid|pgid|sid|env\.MUONTRAP|fd\.|Pid|PPid|Tgid|Ngid|NS|Vm|Rss|SigQ|.*ctxt)/)
    )
  end

  # Nobody else may attach to helpers.
  defp traces?, do: Cgroups.root?() or Cgroups.announce("root is needed to trace helpers")

  defp injects? do
    traces?() and injects_here?()
  end

  defp injects_here? do
    :erlang.system_info(:system_architecture) |> List.to_string() =~ "x86_64" or
      Cgroups.announce("no fault can be injected on this architecture")
  end

  defp assert_right({:ok, {"word\n", 0}}, _reasons), do: :ok
  defp assert_right({:error, reason}, reasons), do: assert(reason in reasons)
  defp assert_right(other, _reasons), do: flunk("neither right nor an error: #{inspect(other)}")

  defp grouped, do: [cgroup_base: "#{Cgroups.base()}/steps"]

  # With an argument that takes room.
  defp run_script(token, opts),
    do: run(token, "sh", ["-c", @script, String.duplicate("x", 120_000)], opts)

  defp run(token, command, args, opts) do
    {:ok, MuonTrap.cmd(command, args, [env: [{"MUONTRAP_TOKEN", token}]] ++ opts)}
  rescue
    error in ErlangError -> {:error, error.original}
    error in Error -> {:error, error.reason}
  end

  # Until there is no such call any more. Returns how many there were.
  defp sweep(who, calls, what, run) do
    fresh_spawner()

    missed =
      Enum.find(1..@calls_max, fn nth -> with_fault(who, calls, nth, what, run) == :missed end)

    assert missed > 1
    missed - 1
  end

  # One whose memory has not grown yet.
  defp fresh_spawner do
    assert {"", 0} = MuonTrap.cmd("true", [])
    Trees.kill(Nif.spawner_pid(), "KILL")
    assert Trees.eventually(fn -> Nif.spawner_pid() == nil end)
  end

  defp with_fault(who, calls, nth, what, run) do
    assert {"", 0} = MuonTrap.cmd("true", [])
    spawner = Nif.spawner_pid()
    # A shim that is ready is watched itself; any other is forked by the spawner.
    {watched, whom} =
      if who == :ready_shim, do: {ready_shim(spawner), :spawner}, else: {spawner, who}

    if watched == spawner, do: Trees.none_ready()
    before = descriptors()
    token = Trees.token()
    fault = Fault.watch(watched, whom, calls, nth, what)

    task = Task.async(fn -> {run.(token), Process.info(self(), :messages)} end)
    assert {_result, {:messages, []}} = Task.await(task, @patience_ms)
    place = "#{what} at call #{nth} of #{calls} by the #{who}"
    assert Trees.eventually(fn -> Trees.at_work(spawner) == [] end), "children: #{place}"
    hit? = Fault.hit?(fault)

    assert MuonTrap.list() == []
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end), "processes: #{place}"
    assert Trees.eventually(fn -> groups() == [] end), "groups: #{place}"
    # With the spawner that there may not be any more.
    assert {"", 0} = MuonTrap.cmd("true", [])
    assert Trees.eventually(fn -> descriptors() <= before end), "descriptors: #{place}"
    if hit?, do: :hit, else: :missed
  end

  # The base of all is made with the first of them, and stays.
  defp groups, do: Enum.filter(Cgroups.groups(), &(&1 =~ "/steps/"))

  defp descriptors, do: length(File.ls!("/proc/self/fd")) - MuonTrap.Nif.ready_shims()

  defp ready_shim(spawner) do
    assert Trees.eventually(fn -> Trees.at_work(spawner) == [] end)
    hd(Trees.children(spawner))
  end
end
