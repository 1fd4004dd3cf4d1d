# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DeathPaths.OwnerAndHelperTest do
  @moduledoc """
  Every way in which an owner or a helper ends, against every shape of tree and every mechanism: nothing of
  the tree is left, nobody else is touched, and every count is back where it was.
  """

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Command, Counts, Daemon, Nif, Session, Trees}

  @moduletag :death_paths
  @moduletag capture_log: true

  @deaths [
    :returns,
    :raises,
    :exits_normally,
    :killed,
    :linked_crash,
    :daemon_stopped,
    :supervisor_shutdown,
    :brutal_kill,
    :session_stopped,
    :session_killed,
    :owner_of_session_returns,
    :owner_of_session_killed,
    :new_owner_of_session_killed,
    :timeout,
    :handle_dropped,
    :shim_killed,
    :shim_stopped_and_owner_killed,
    :spawner_killed_and_owner_killed
  ]

  setup_all do
    # The spawner is there for good; it is no leak.
    {"", 0} = MuonTrap.cmd("true", [])
    :ok
  end

  cells =
    for mechanism <- Cgroups.mechanisms(),
        death <- @deaths,
        shape <- Trees.shapes() ++ Trees.shapes_on_terminal(),
        do: {mechanism, death, shape}

  for {mechanism, death, shape} <- MuonTrap.Case.part(cells) do
    if mechanism != :none, do: @tag(:cgroup)
    @tag death: death, shape: shape, mechanism: mechanism
    test "#{shape} is gone when #{death}, with #{mechanism}", cell do
      if Trees.possible?(cell.shape) and Cgroups.provides?(cell.mechanism) do
        prove(cell.death, cell.shape, Cgroups.contained_by(cell.mechanism))
      end
    end
  end

  # Without a cgroup there is nobody who could know what the shim's orphans belong to.
  for mechanism <- Cgroups.mechanisms() -- [:none], shape <- Trees.shapes() do
    @tag :cgroup
    @tag shape: shape, mechanism: mechanism
    test "#{shape} is gone when spawner_and_shim_killed, with #{mechanism}", cell do
      if Trees.possible?(cell.shape) and Cgroups.provides?(cell.mechanism) do
        prove(:spawner_and_shim_killed, cell.shape, Cgroups.contained_by(cell.mechanism))
      end
    end
  end

  defp prove(death, shape, opts) do
    token = Trees.token()
    control = Trees.control()
    # A shim of before exits a moment after its last word.
    assert Trees.eventually(fn -> match?(%{shims: [], zombies: []}, counts()) end)
    before = counts()

    die(death, shape, token, opts)

    assert Trees.eventually(fn -> Trees.carrying(token) == [] end),
           "left: #{inspect(Trees.carrying(token))}"

    assert Trees.eventually(fn -> MuonTrap.list() == [] end)
    Counts.assert_back(before, &counts/0)
    assert Trees.end_control(control)
    refute_received {:muontrap, _, _}
    refute_received {:muontrap_gone, _}
  end

  # Those of a killed spawner have found another parent, and are told by the tokens.
  defp counts do
    # The connection to the spawner, which may be there or not.
    spawner = if Nif.spawner_pid(), do: 2, else: 0
    {_of_spawner, counts} = Map.pop!(Counts.now(), :spawner_descriptors)
    %{counts | descriptors: counts.descriptors - spawner}
  end

  # An owner that does as it is told once its tree stands.
  defp owner(shape, token, opts) do
    test = self()

    {owner, monitor} =
      spawn_monitor(fn ->
        running = Trees.start(shape, token, opts)
        %{os_pid: os_pid} = Nif.info(running.handle)
        send(test, {:stands, self(), os_pid})

        receive do
          :return -> :ok
          :raise -> raise "on purpose"
          :exit -> exit(:normal)
          :crash_link -> crash_link()
          :drop -> drop(test)
          :next -> send(test, {:last, last_event(running), stray_messages()})
        end
      end)

    assert_receive {:stands, ^owner, os_pid}
    {owner, monitor, os_pid}
  end

  # The same with a session, of which it may make somebody else the owner before it ends.
  defp owner_of_session(shape, token, opts) do
    test = self()

    {owner, monitor} =
      spawn_monitor(fn ->
        session = Trees.open(shape, token, opts)
        send(test, {:stands, self(), session})

        receive do
          :return -> :ok
          {:hand_over, new} -> :ok = Session.controlling_process(session, new)
        end
      end)

    assert_receive {:stands, ^owner, session}, 60_000
    {owner, monitor, session}
  end

  defp crash_link do
    spawn_link(fn -> exit(:crash) end)
    receive(do: (:never -> :ok))
  end

  # The handle is garbage from here on, and the owner lives.
  defp drop(test) do
    :erlang.garbage_collect()
    send(test, {:dropped, self()})
    receive(do: (:return -> :ok))
  end

  # What comes after the last event, until nothing can come any more.
  defp stray_messages do
    owner = self()
    over? = fn -> Enum.all?(MuonTrap.list(), &(&1.owner != owner)) end
    true = Trees.eventually(over?)
    {:messages, messages} = Process.info(owner, :messages)
    messages
  end

  defp last_event(running) do
    case Command.next(running, :infinity) do
      {{stream, _bytes}, running} when stream in [:stdout, :stderr] -> last_event(running)
      {event, _running} -> event
    end
  end

  defp die(death, shape, token, opts)
       when death in [:returns, :raises, :exits_normally, :linked_crash] do
    {owner, monitor, _os_pid} = owner(shape, token, opts)

    order = %{returns: :return, raises: :raise, exits_normally: :exit, linked_crash: :crash_link}
    send(owner, order[death])
    assert_receive {:DOWN, ^monitor, :process, ^owner, _reason}
  end

  defp die(:killed, shape, token, opts) do
    {owner, monitor, _os_pid} = owner(shape, token, opts)
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^owner, :killed}
  end

  defp die(:handle_dropped, shape, token, opts) do
    {owner, monitor, _os_pid} = owner(shape, token, opts)
    send(owner, :drop)
    assert_receive {:dropped, ^owner}
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    send(owner, :return)
    assert_receive {:DOWN, ^monitor, :process, ^owner, _reason}
  end

  defp die(:timeout, shape, token, opts) do
    {command, args} = Trees.command(shape)

    opts =
      [timeout: 200, delay_to_sigkill: 50, env: [{"MUONTRAP_TOKEN", token}]] ++
        Trees.opts(shape) ++ opts

    assert {_output, :timeout} = MuonTrap.cmd(command, args, opts)
    # Confirmed: not eventually, but now.
    assert Trees.carrying(token) == []
  end

  defp die(death, shape, token, opts)
       when death in [:daemon_stopped, :supervisor_shutdown, :brutal_kill] do
    {command, args} = Trees.command(shape)

    opts =
      [delay_to_sigkill: 50, env: [{"MUONTRAP_TOKEN", token}], ready: {:output, ~r/ready/}] ++
        Trees.opts(shape) ++ opts

    shutdown = if death == :brutal_kill, do: :brutal_kill, else: 60_000

    spec =
      Supervisor.child_spec({Daemon, [command, args, opts]},
        shutdown: shutdown,
        restart: :temporary
      )

    {:ok, supervisor} = Supervisor.start_link([spec], strategy: :one_for_one)

    case death do
      :daemon_stopped ->
        [{_id, daemon, _type, _modules}] = Supervisor.which_children(supervisor)
        :ok = GenServer.stop(daemon)

      _by_supervisor ->
        :ok = Supervisor.terminate_child(supervisor, Daemon)
    end

    # Confirmed, where there is somebody to confirm it.
    if death != :brutal_kill, do: assert(Trees.carrying(token) == [])
    Supervisor.stop(supervisor)
  end

  defp die(:session_stopped, shape, token, opts) do
    {owner, monitor, session} = owner_of_session(shape, token, opts)
    assert {:ok, _result} = Session.stop(session)
    # Confirmed.
    assert Trees.carrying(token) == []
    send(owner, :return)
    assert_receive {:DOWN, ^monitor, :process, ^owner, :normal}
  end

  defp die(:session_killed, shape, token, opts) do
    {owner, monitor, session} = owner_of_session(shape, token, opts)
    Process.exit(session.pid, :kill)
    # While its owner lives.
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    send(owner, :return)
    assert_receive {:DOWN, ^monitor, :process, ^owner, :normal}
  end

  defp die(:owner_of_session_returns, shape, token, opts) do
    {owner, monitor, _session} = owner_of_session(shape, token, opts)
    send(owner, :return)
    assert_receive {:DOWN, ^monitor, :process, ^owner, :normal}
  end

  defp die(:owner_of_session_killed, shape, token, opts) do
    {owner, monitor, _session} = owner_of_session(shape, token, opts)
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^owner, :killed}
  end

  defp die(:new_owner_of_session_killed, shape, token, opts) do
    {owner, monitor, session} = owner_of_session(shape, token, opts)
    {new, new_monitor} = spawn_monitor(fn -> receive(do: (:never -> :ok)) end)
    send(owner, {:hand_over, new})
    assert_receive {:DOWN, ^monitor, :process, ^owner, :normal}
    assert {:ok, os_pid} = Session.os_pid(session)
    assert os_pid in Trees.carrying(token)
    Process.exit(new, :kill)
    assert_receive {:DOWN, ^new_monitor, :process, ^new, :killed}
  end

  defp die(death, shape, token, opts) when death in [:shim_killed, :spawner_and_shim_killed] do
    {owner, monitor, os_pid} = owner(shape, token, opts)
    spawner = if death == :spawner_and_shim_killed, do: [Nif.spawner_pid()], else: []
    Trees.kill(spawner ++ [Trees.parent(os_pid)], "KILL")
    send(owner, :next)
    assert_receive {:last, {:lost, {:shim, "", :died}, []}, []}
    # The owner hears of it when nothing is left.
    assert Trees.carrying(token) == []
    assert_receive {:DOWN, ^monitor, :process, ^owner, :normal}
  end

  defp die(:shim_stopped_and_owner_killed, shape, token, opts) do
    {owner, monitor, os_pid} = owner(shape, token, opts)
    Trees.kill(Trees.parent(os_pid), "STOP")
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^owner, :killed}
  end

  defp die(:spawner_killed_and_owner_killed, shape, token, opts) do
    {owner, monitor, os_pid} = owner(shape, token, opts)
    Trees.kill(Nif.spawner_pid(), "KILL")
    assert Trees.eventually(fn -> Nif.spawner_pid() == nil end)
    # It goes on, and another command is not disturbed.
    assert os_pid in Trees.carrying(token)
    assert {"", 0} = MuonTrap.cmd("true", [])
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^owner, :killed}
  end
end
