# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.FromOutsideTest do
  @moduledoc "Commands are stopped and signalled by processes that do not own them."

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Daemon, ExitError, Trees}

  import MuonTrap.Daemons, only: [trap_exits: 1]

  setup :trap_exits

  # An entry of what this process, or a task, runs.
  defp entry(owner),
    do:
      Cgroups.eventually(fn -> Enum.find(MuonTrap.list(), &(&1.owner == owner && &1.os_pid)) end)

  defp run(args, opts \\ []) do
    task = Task.async(fn -> MuonTrap.run("sh", ["-c" | args], opts) end)
    {task, entry(task.pid)}
  end

  test "run/3 that is stopped returns what there was, and its tree is gone when stop/1 returns" do
    token = Trees.token()
    script = "echo word; setsid sleep 1000 & exec sleep 1000"
    {task, entry} = run([script], env: [{"MUONTRAP_TOKEN", token}])
    Cgroups.eventually(fn -> length(Trees.carrying(token)) == 2 end)
    assert MuonTrap.stop(entry) == :ok
    assert Trees.carrying(token) == []
    assert %{status: {:signaled, :sigterm}, output: "word\n"} = Task.await(task)
    assert_receive {:EXIT, _task, :normal}
    refute_receive _
  end

  test "a program that ignores the signal is killed after the grace that its command has" do
    script = "trap '' TERM; echo ready; while :; do sleep 1000; done"
    {task, entry} = run([script], delay_to_sigkill: 50, stop_signal: :sigterm)
    Cgroups.eventually(fn -> entry(task.pid).stdout_bytes == 6 end)
    assert MuonTrap.stop(entry.id) == :ok
    assert %{status: {:signaled, :sigkill}} = Task.await(task)
  end

  test "it gets the stop signal of its command" do
    script = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done"
    {task, entry} = run([script], stop_signal: :sigusr1, delay_to_sigkill: 60_000)
    Cgroups.eventually(fn -> entry(task.pid).stdout_bytes == 6 end)
    assert MuonTrap.stop(entry) == :ok
    assert %{status: {:exited, 7}} = Task.await(task)
  end

  test "an owner that takes no output holds up nobody who stops its program" do
    owner = self()

    into = %MuonTrapTest.Sink{
      fun: fn
        acc, {:cont, _bytes} ->
          send(owner, {:taking, self()})
          receive(do: (:go_on -> acc))

        acc, _end ->
          acc
      end
    }

    task = Task.async(fn -> MuonTrap.cmd("sh", ["-c", "echo a; exec sleep 1000"], into: into) end)
    assert_receive {:taking, pid}
    assert MuonTrap.stop(entry(task.pid)) == :ok
    assert [%{done: true}] = MuonTrap.list()
    send(pid, :go_on)
    assert {_into, 143} = Task.await(task)
  end

  test "a process may stop what it runs itself" do
    into = %MuonTrapTest.Sink{
      fun: fn acc, _element ->
        for(%{owner: owner} = one <- MuonTrap.list(), owner == self(), do: MuonTrap.stop(one))
        acc
      end
    }

    assert {_into, 143} = MuonTrap.cmd("sh", ["-c", "echo a; exec sleep 1000"], into: into)
    refute_receive _
  end

  test "a Daemon ends with its program, and a stream as well" do
    {:ok, daemon} = Daemon.start_link("sleep", ["1000"])
    assert MuonTrap.stop(entry(daemon)) == :ok
    assert_receive {:EXIT, ^daemon, _reason}

    task =
      Task.async(fn ->
        assert_raise ExitError, fn -> Enum.to_list(MuonTrap.stream!("sleep", ["1000"])) end
      end)

    assert MuonTrap.stop(entry(task.pid)) == :ok
    assert %ExitError{} = Task.await(task)
    assert_receive {:EXIT, _task, :normal}
    refute_receive _
  end

  test "a signal reaches the program, and any process may send it" do
    script = "trap 'echo usr1; exit 0' USR1; echo ready; while :; do sleep 0.01; done"
    {task, entry} = run([script])
    Cgroups.eventually(fn -> entry(task.pid).stdout_bytes == 6 end)
    assert Task.await(Task.async(fn -> MuonTrap.signal(entry, :sigusr1) end)) == :ok
    assert %{status: {:exited, 0}, output: "ready\nusr1\n"} = Task.await(task)
    assert MuonTrap.signal(entry, :sigusr1) == {:error, :esrch}
  end

  test "what is over or never was is told as such, and what is no command is refused" do
    {task, entry} = run(["exec sleep 1000"])
    assert MuonTrap.stop(entry) == :ok
    Task.await(task)
    assert MuonTrap.stop(entry) == {:error, :esrch}
    assert MuonTrap.stop(1_000_000_000_000) == {:error, :esrch}
    assert MuonTrap.signal(1_000_000_000_000, 15) == {:error, :esrch}
    assert_raise ArgumentError, ~r/expected an entry/, fn -> MuonTrap.stop(:all) end
    assert_raise ArgumentError, ~r/expected an entry/, fn -> MuonTrap.signal(0, :sigterm) end
    assert_raise ArgumentError, ~r/signal name/, fn -> MuonTrap.signal(entry, :sigfoo) end
    assert_receive {:EXIT, _task, :normal}
    refute_receive _
  end

  test "a Daemon that waits to start again has no command to stop" do
    opts = [restart_backoff: [first: 60_000, max: 60_000]]
    {:ok, daemon} = Daemon.start_link("false", [], opts)

    entry =
      Cgroups.eventually(fn ->
        Enum.find(MuonTrap.list(), &(&1.waiting and &1.owner == daemon))
      end)

    assert MuonTrap.stop(entry) == {:error, :esrch}
    assert MuonTrap.signal(entry, :sigterm) == {:error, :esrch}
    assert MuonTrap.list() |> Enum.map(& &1.owner) == [daemon]
    GenServer.stop(daemon)
    assert_receive {:EXIT, ^daemon, :normal}
  end

  test "many stop the same command at once, and each returns" do
    {task, entry} = run(["exec sleep 1000"])
    results = 1..50 |> Enum.map(fn _ -> Task.async(fn -> MuonTrap.stop(entry) end) end)
    results = Task.await_many(results, 60_000)
    assert Enum.uniq(results) -- [:ok, {:error, :esrch}] == []
    assert :ok in results
    Task.await(task)
  end
end
