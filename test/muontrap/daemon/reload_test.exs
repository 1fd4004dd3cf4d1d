# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.ReloadTest do
  @moduledoc "`MuonTrap.Daemon.reload/2`: the signal, and programs that tell when they have done it."

  use MuonTrap.Case

  import MuonTrap.Daemons

  alias MuonTrap.{Cgroups, Daemon, Trees}
  alias MuonTrap.Daemon.Notify

  setup :trap_exits

  # Says what its argument tells it to at each SIGHUP, after a line that shows that the signal has come.
  @program ~S"""
  import os, signal, socket, sys, time
  signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
  out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
  out.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
  def reload():
      print("hup", flush=True)
      for word in sys.argv[1].split():
          if word == "exit": os._exit(1)
          elif word.startswith("sleep"): time.sleep(float(word[5:]))
          else: out.send(word.replace(",", "\n").encode())
  out.send(b"READY=1")
  while True:
      signal.sigwait([signal.SIGHUP])
      reload()
  """

  defp notifying(says) do
    opts = [ready: :notify, start_timeout: 60_000, logger_fun: to_self()]
    {:ok, pid} = Daemon.start_link("python3", ["-c", @program, says], opts)
    pid
  end

  defp python?,
    do: System.find_executable("python3") || Cgroups.announce("there is no python3 to reload")

  test "sends SIGHUP, or the signal that is given, and waits for nothing" do
    for {opts, line} <- [{[], "HUP"}, {[reload: :sigusr2], "USR2"}] do
      script =
        "for s in HUP USR2; do trap \"echo $s\" $s; done; echo on; while :; do sleep 0.01; done"

      {:ok, pid} = Daemon.start_link("sh", ["-c", script], [logger_fun: to_self()] ++ opts)
      assert_receive {:line, "on"}
      assert Daemon.reload(pid) == :ok
      assert_receive {:line, ^line}

      assert_raise ArgumentError, ~r/needs ready: :notify.*got: 1000$/, fn ->
        Daemon.reload(pid, 1_000)
      end

      GenServer.stop(pid)
      assert lines() == []
    end
  end

  test "has nobody to send to before the program runs" do
    test = self()
    wait = fn -> send(test, {:waits, self()}) && receive(do: (:never -> :ok)) end
    {:ok, pid} = Daemon.start_link("true", [], wait_for: wait)
    assert_receive {:waits, _task}
    assert Daemon.reload(pid) == {:error, :esrch}
    assert Daemon.reload(pid, 1_000) == {:error, :esrch}
    GenServer.stop(pid)
  end

  test "waits until the program has said that it is ready again" do
    if python?() do
      for says <- ["RELOADING=1 sleep0.3 READY=1", "RELOADING=1,MONOTONIC_USEC=5,READY=1"] do
        pid = notifying(says)
        assert Daemon.reload(pid, 60_000) == :ok
        assert_receive {:line, "hup"}
        assert Daemon.statistics(pid).notify.reloading == nil
        # And the next time.
        assert Daemon.reload(pid, 60_000) == :ok
        GenServer.stop(pid)
        assert lines() == ["hup"]
      end
    end
  end

  test "shows that it is on its way, and gives up in time" do
    if python?() do
      pid = notifying("RELOADING=1")
      assert Daemon.reload(pid, 300) == {:error, :timeout}
      await(fn -> Daemon.statistics(pid).notify.reloading == true end)
      GenServer.stop(pid)

      # One that is ready without having begun has not done what it was asked for.
      pid = notifying("READY=1")
      assert Daemon.reload(pid, 300) == {:error, :timeout}
      GenServer.stop(pid)
    end
  end

  test "answers all who wait when the program ends instead" do
    if python?() do
      pid = notifying("RELOADING=1 sleep0.3 exit")
      tasks = for _ <- 1..3, do: Task.async(fn -> Daemon.reload(pid, 60_000) end)
      assert Task.await_many(tasks, 60_000) == List.duplicate({:error, :esrch}, 3)
      assert stopped(pid) == :error_exit_status

      pid = notifying("RELOADING=1")
      task = Task.async(fn -> Daemon.reload(pid, 60_000) end)
      assert Trees.eventually(fn -> Daemon.statistics(pid).notify.reloading end)
      GenServer.stop(pid)
      assert Task.await(task) == {:error, :esrch}
    end
  end

  test "the lines of a datagram count in their order" do
    assert {%Notify{reloading: nil}, [:reloading, :ready]} =
             Notify.take(%Notify{}, "RELOADING=1\nREADY=1")

    assert {%Notify{reloading: true}, [:ready, :reloading]} =
             Notify.take(%Notify{}, "READY=1\nRELOADING=1")
  end
end
