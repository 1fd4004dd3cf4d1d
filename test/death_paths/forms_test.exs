# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DeathPaths.FormsTest do
  @moduledoc """
  Every way in which the owner of streams and pipelines, or a helper of them, ends: nothing of any program is left, and
  every count is back where it was. `MuonTrap.DeathPaths.OwnerAndHelperTest` has the same for single commands.
  """

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Counts, Error, Forms, Nif, Trees}

  @moduletag :death_paths
  @moduletag capture_log: true

  @deaths [
    :throws,
    :raises,
    :exits_normally,
    :killed,
    :linked_crash,
    :first_shim_killed,
    :last_shim_killed,
    :shims_stopped_and_owner_killed,
    :spawner_killed_and_owner_killed
  ]
  @shapes [:direct, :double_fork, :sigterm_ignorer]

  setup_all do
    # The spawner is there for good; it is no leak.
    {"", 0} = MuonTrap.cmd("true", [])
    :ok
  end

  cells =
    for mechanism <- Cgroups.mechanisms(),
        form <- Forms.forms(),
        death <- @deaths,
        shape <- @shapes,
        do: {mechanism, form, death, shape}

  for {mechanism, form, death, shape} <- MuonTrap.Case.part(cells) do
    if mechanism != :none, do: @tag(:cgroup)
    @tag form: form, death: death, shape: shape, mechanism: mechanism
    test "#{form} of #{shape} is gone when #{death}, with #{mechanism}", cell do
      if Cgroups.provides?(cell.mechanism),
        do: prove(cell.form, cell.death, cell.shape, Cgroups.contained_by(cell.mechanism))
    end
  end

  defp prove(form, death, shape, opts) do
    token = Trees.token()
    control = Trees.control()
    assert Trees.eventually(fn -> match?(%{shims: [], zombies: []}, counts()) end)
    before = counts()

    test = self()

    {owner, monitor} =
      spawn_monitor(fn ->
        ended = end_of(fn -> Forms.run(form, shape, token, opts, fn -> obey(test) end) end)
        send(test, {:ended, ended, Process.info(self(), :messages)})
      end)

    on_exit(fn -> Process.exit(owner, :kill) end)
    assert_receive {:stands, ^owner}, 60_000
    die(death, owner, token)
    assert_receive {:DOWN, ^monitor, :process, ^owner, _reason}, 60_000

    assert Trees.eventually(fn -> Trees.carrying(token) == [] end),
           "left: #{inspect(Trees.carrying(token))}"

    assert Trees.eventually(fn -> MuonTrap.list() == [] end)
    Counts.assert_back(before, &counts/0)
    assert Trees.end_control(control)
    refute_received {:muontrap, _, _}
  end

  # Those of a killed spawner have found another parent, and are told by the tokens.
  defp counts do
    spawner = if Nif.spawner_pid(), do: 2, else: 0
    {_of_spawner, counts} = Map.pop!(Counts.now(), :spawner_descriptors)
    %{counts | descriptors: counts.descriptors - spawner}
  end

  defp obey(test) do
    send(test, {:stands, self()})

    receive do
      :throw -> throw(:over)
      :raise -> raise "on purpose"
      :exit -> exit(:normal)
      :crash_link -> spawn_link(fn -> exit(:crash) end) && receive(do: (:never -> :ok))
      :go_on -> :ok
    end
  end

  defp end_of(fun) do
    fun.()
  catch
    _kind, reason -> reason
  end

  defp die(death, owner, token) when death in [:throws, :raises, :exits_normally] do
    orders = %{throws: :throw, raises: :raise, exits_normally: :exit}
    send(owner, orders[death])
    assert_receive {:ended, reason, {:messages, []}}, 60_000
    assert reason in [:over, :normal, %RuntimeError{message: "on purpose"}]
    # Confirmed: not eventually, but now.
    assert Trees.carrying(token) == []
  end

  defp die(:killed, owner, _token), do: Process.exit(owner, :kill)
  defp die(:linked_crash, owner, _token), do: send(owner, :crash_link)

  defp die(death, owner, token) when death in [:first_shim_killed, :last_shim_killed] do
    at = if death == :first_shim_killed, do: 0, else: -1
    Trees.kill(owner |> shims() |> Enum.at(at), "KILL")
    send(owner, :go_on)
    assert_receive {:ended, %Error{step: :shim, reason: :died}, {:messages, []}}, 60_000
    assert Trees.carrying(token) == []
  end

  defp die(:shims_stopped_and_owner_killed, owner, _token) do
    Trees.kill(shims(owner), "STOP")
    Process.exit(owner, :kill)
  end

  defp die(:spawner_killed_and_owner_killed, owner, token) do
    Trees.kill(Nif.spawner_pid(), "KILL")
    assert Trees.eventually(fn -> Nif.spawner_pid() == nil end)
    assert Trees.carrying(token) != []
    assert {"", 0} = MuonTrap.cmd("true", [])
    Process.exit(owner, :kill)
  end

  # In the order of their start. A program that feeds another one through the VM has an owner of its own.
  defp shims(owner) do
    pids = fn ->
      for %{os_pid: os_pid} <- Enum.sort_by(MuonTrap.list(), & &1.id), do: os_pid
    end

    # One that has just begun is not known yet.
    assert Trees.eventually(fn -> pids.() != [] and nil not in pids.() end)
    assert Enum.any?(MuonTrap.list(), &(&1.owner == owner))
    Enum.map(pids.(), &Trees.parent/1)
  end
end
