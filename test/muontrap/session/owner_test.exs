# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.OwnerTest do
  @moduledoc "Whom a session belongs to, and what its end means, at whatever moment it comes."

  use MuonTrap.Case

  alias MuonTrap.{Session, Trees}

  @patience_ms 60_000
  # In a session of its own as well.
  @script "setsid sleep 1000 & echo ready; exec sleep 1000"

  setup do
    token = Trees.token()
    %{token: token, opts: [env: [{"MUONTRAP_TOKEN", token}], delay_to_sigkill: 50]}
  end

  defp open!(opts) do
    {:ok, session} = MuonTrap.open("sh", ["-c", @script], opts)
    {:ok, "ready"} = Session.read_line(session, @patience_ms)
    session
  end

  # A process that opens one and does as it is told.
  defp owner(opts) do
    test = self()

    owner =
      spawn(fn ->
        session = open!(opts)
        send(test, {:opened, session})
        obey(session, test)
      end)

    on_exit(fn -> Process.exit(owner, :kill) end)
    assert_receive {:opened, session}, @patience_ms
    {owner, session}
  end

  defp obey(session, test) do
    receive do
      {:hand_over, pid} ->
        send(test, {:handed_over, Session.controlling_process(session, pid)})
        obey(session, test)

      :return ->
        :ok
    end
  end

  defp gone?(session, token),
    do:
      Trees.eventually(fn -> Trees.carrying(token) == [] and not Process.alive?(session.pid) end)

  for death <- [:normal, :kill, :crash] do
    test "the tree is gone when its owner ends by #{death}", %{token: token, opts: opts} do
      {owner, session} = owner(opts)
      assert Trees.eventually(fn -> length(Trees.carrying(token)) == 2 end)
      end_it(owner, unquote(death))
      assert gone?(session, token)
    end
  end

  defp end_it(owner, :normal), do: send(owner, :return)
  defp end_it(owner, reason), do: Process.exit(owner, reason)

  test "a task may have one of its own, or use another's", %{token: token, opts: opts} do
    task =
      Task.async(fn ->
        session = open!(opts)
        Session.os_pid(session)
      end)

    assert {:ok, _pid} = Task.await(task, @patience_ms)
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)

    {:ok, session} = MuonTrap.open("cat", [], opts)
    ask = fn n -> {Session.write(session, "#{n}\n"), Session.read_line(session, @patience_ms)} end
    answers = 1..20 |> Task.async_stream(ask, timeout: @patience_ms) |> Enum.map(&elem(&1, 1))

    assert answers
           |> Enum.map(fn {:ok, {:ok, line}} -> String.to_integer(line) end)
           |> Enum.sort() == Enum.to_list(1..20)

    assert {:ok, _pid} = Session.os_pid(session)
  end

  test "handed over, it ends with the new owner and not with the old one", %{
    token: token,
    opts: opts
  } do
    {owner, session} = owner(opts)
    {new, _other} = owner(opts)
    assert Session.controlling_process(session, self()) == {:error, :not_owner}
    send(owner, {:hand_over, new})
    assert_receive {:handed_over, :ok}, @patience_ms

    Process.exit(owner, :kill)
    refute Process.alive?(owner)
    # What there was to hear of the old owner's end has been heard when this is answered.
    assert {:ok, pid} = Session.os_pid(session)
    assert pid in Trees.carrying(token)
    assert Trees.parent(pid) > 1

    Process.exit(new, :kill)
    assert gone?(session, token)
    refute_receive _
  end

  test "handed over to one that is dead, it ends", %{token: token, opts: opts} do
    {owner, session} = owner(opts)
    send(owner, {:hand_over, spawn(fn -> :ok end)})
    assert_receive {:handed_over, :ok}, @patience_ms
    assert gone?(session, token)
    assert Process.alive?(owner)
  end

  test "events go to whom it belongs to", %{opts: opts} do
    {owner, session} = owner([active: false] ++ opts)
    send(owner, {:hand_over, self()})
    assert_receive {:handed_over, :ok}, @patience_ms
    Process.exit(owner, :kill)
    :ok = Session.set_active(session, true)
    :ok = Session.signal(session, :sigterm)
    assert_receive {:muontrap, ^session, {:exit, %{status: {:signaled, :sigterm}}}}, @patience_ms
    refute_receive _
  end

  test "an owner that gives away what it has not acknowledged takes no room from the next", %{
    opts: opts
  } do
    {:ok, session} = MuonTrap.open("yes", [], [active: true, stdio_window: 4_096] ++ opts)
    assert_receive {:muontrap, ^session, {:stdout, _bytes}}, @patience_ms
    test = self()

    next =
      spawn_link(fn ->
        receive(do: (event -> send(test, {:next, event}))) && receive(do: (:never -> :ok))
      end)

    :ok = Session.controlling_process(session, next)
    assert_receive {:next, {:muontrap, ^session, {:stdout, _bytes}}}, @patience_ms
    assert {:ok, _result} = Session.stop(session)
  end

  test "the tree is gone when the process of the session is killed", %{token: token, opts: opts} do
    {owner, session} = owner(opts)
    reader = Task.async(fn -> Session.read(session, :infinity) end)
    assert Trees.eventually(fn -> length(:sys.get_state(session.pid).readers) == 1 end)
    Process.exit(session.pid, :kill)
    assert Task.await(reader, @patience_ms) == {:error, :closed}
    assert gone?(session, token)
    assert Process.alive?(owner)
    assert Session.await(session) == {:error, :closed}
  end

  test "an owner's end is heard while others read, write, and the program writes on", %{
    token: token,
    opts: opts
  } do
    test = self()

    owner =
      spawn(fn ->
        {:ok, session} = MuonTrap.open("yes", [], opts)
        send(test, {:opened, session})
        receive(do: (:never -> :ok))
      end)

    assert_receive {:opened, session}, @patience_ms

    users =
      [
        fn -> Session.write(session, String.duplicate("x", 200_000)) end,
        fn -> Session.expect(session, "never", :infinity) end,
        fn -> Session.await(session, :infinity) end
      ]
      |> Enum.map(&Task.async/1)

    flood = Task.async(fn -> read_on(session) end)
    Process.exit(owner, :kill)
    assert gone?(session, token)
    for task <- users, do: assert(match?({_, _}, Task.await(task, @patience_ms)))
    assert Task.await(flood, @patience_ms) == {:error, :closed}
  end

  defp read_on(session) do
    with {:ok, _bytes} <- Session.read(session, :infinity), do: read_on(session)
  end

  # The owner dies while the session starts, has started, and hands itself out; alone, or together with the process
  # of the session.
  test "there is no moment at which both deaths leave something", %{token: token, opts: opts} do
    for n <- 1..300 do
      test = self()

      owner =
        spawn(fn ->
          send(test, :begins)
          {:ok, session} = MuonTrap.open("sh", ["-c", @script], opts)
          send(test, {:opened, session})
          receive(do: (:never -> :ok))
        end)

      receive(do: (:begins -> :ok))
      spin(rem(n * 7_919, 4_000))
      opened = receive(do: ({:opened, session} -> session), after: (0 -> nil))
      pids = if opened, do: Enum.shuffle([owner, opened.pid]), else: [owner]
      Enum.each(if(rem(n, 2) == 0, do: pids, else: [owner]), &Process.exit(&1, :kill))
    end

    assert Trees.eventually(fn -> MuonTrap.list() == [] and Trees.carrying(token) == [] end)
    assert Trees.eventually(fn -> servers() == [] end)
    flush()
  end

  # Microseconds, without giving up the scheduler for a whole millisecond.
  defp spin(us) do
    until = System.monotonic_time(:microsecond) + us

    fn loop -> if System.monotonic_time(:microsecond) < until, do: loop.(loop) end
    |> then(& &1.(&1))
  end

  defp servers do
    for pid <- Process.list(),
        {:dictionary, dictionary} <- [Process.info(pid, :dictionary)],
        match?({Session.Server, :init, 1}, dictionary[:"$initial_call"]),
        do: pid
  end

  defp flush do
    receive do
      {:opened, _session} -> flush()
    after
      0 -> :ok
    end
  end
end
