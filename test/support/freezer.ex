# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Freezer do
  @moduledoc """
  Holds processes still by the freezer of a cgroup: with v2 only SIGKILL gets through to them, with v1 not even
  that, as in uninterruptible sleep.
  """

  alias MuonTrap.{Cgroups, Trees}

  @doc """
  Freezes a process in a group of its own until the test ends. Returns the group; `nil` where that cannot be
  done, which is announced.
  """
  @spec freeze(:v1 | :v2, pos_integer()) :: Path.t() | nil
  def freeze(version, pid) do
    with {:ok, group} <- group(version, "frozen-#{pid}"), :ok <- File.mkdir(group) do
      ExUnit.Callbacks.on_exit(fn -> remove(group) end)
      freeze_in(group, version, pid)
    else
      {:error, why} -> announce("no process can be frozen with cgroup #{version}: #{why}")
    end
  end

  @doc """
  Freezes a command's process before the command is stopped by its time: `pid` as long as `owner` waits for it.
  `:late` if it was stopped before that, and it is thawed then; otherwise as `freeze/2`.
  """
  @spec freeze_in_time(:v1 | :v2, pos_integer(), pid()) :: Path.t() | :late | nil
  def freeze_in_time(version, pid, owner) do
    group = freeze(version, pid)

    if Enum.any?(MuonTrap.list(), &(&1.owner == owner and not &1.stopping)) do
      group
    else
      if group, do: thaw(group)
      :late
    end
  end

  @doc "Lets the processes of a group go on. That it is gone already is no failure."
  @spec thaw(Path.t()) :: :ok
  def thaw(group) do
    _gone = File.write(Path.join(group, "freezer.state"), "THAWED")
    _gone = File.write(Path.join(group, "cgroup.freeze"), "0")
    :ok
  end

  defp freeze_in(group, version, pid) do
    {file, value, frozen?} = state(version, group)

    with :ok <- File.write(Path.join(group, "cgroup.procs"), "#{pid}"),
         :ok <- File.write(Path.join(group, file), value) do
      true = Trees.eventually(frozen?)
      group
    else
      {:error, why} -> announce("#{pid} cannot be frozen with cgroup #{version}: #{why}")
    end
  end

  defp state(:v1, group) do
    file = Path.join(group, "freezer.state")
    {"freezer.state", "FROZEN", fn -> File.read!(file) == "FROZEN\n" end}
  end

  defp state(:v2, group) do
    file = Path.join(group, "cgroup.events")
    {"cgroup.freeze", "1", fn -> File.read!(file) =~ "frozen 1" end}
  end

  # Beside the base of root, which is not there between two commands, and in that of any other user.
  defp group(version, name) do
    case {hierarchy(version), Cgroups.base(), Cgroups.root?()} do
      {nil, _base, _root?} -> {:error, "not mounted"}
      {_hierarchy, nil, _root?} -> {:error, "no group is delegated"}
      {%{mount: mount}, base, true} -> {:ok, Path.join(mount, "#{base}-#{name}")}
      {%{mount: mount}, base, false} -> {:ok, Path.join([mount, base, name])}
    end
  end

  defp hierarchy(:v1), do: Enum.find(Cgroups.layout().v1, &("freezer" in &1.controllers))
  defp hierarchy(:v2), do: Cgroups.layout().v2

  defp remove(group) do
    thaw(group)

    unless Trees.eventually(fn -> File.rmdir(group) in [:ok, {:error, :enoent}] end) do
      processes = File.read(Path.join(group, "cgroup.procs"))

      raise "#{group} cannot be removed (#{inspect(File.rmdir(group))}), it has #{inspect(processes)}"
    end
  end

  defp announce(why) do
    Cgroups.announce(why)
    nil
  end
end
