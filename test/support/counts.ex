# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Counts do
  @moduledoc """
  What is counted before and after a test: nothing of it may grow. All of it is of this VM and its spawner.
  """

  import ExUnit.Assertions

  alias MuonTrap.{Cgroups, Leftovers, Nif, Trees}

  @doc "The setup of a test at whose end no command is left and all counts are what they were."
  @spec unchanged() :: :ok
  def unchanged do
    before = settled()

    ExUnit.Callbacks.on_exit(fn ->
      assert Leftovers.ended() == []
      assert_back(before)
    end)
  end

  @doc "Waits until the counts are what they were, and fails with what is more."
  @spec assert_back(map(), (() -> map())) :: true
  def assert_back(before, count \\ &now/0) do
    assert Trees.eventually(fn -> grown(before, count.()) == %{} end),
           "more than before: #{inspect(grown(before, count.()))}; open are now " <>
             inspect(descriptors("/proc/self/fd"))
  end

  @doc "What is more than it was, with both."
  @spec grown(map(), map()) :: map()
  def grown(before, now) do
    for {key, value} <- now, more?(value, before[key]), into: %{}, do: {key, {before[key], value}}
  end

  defp more?(now, before) when is_list(now), do: now -- before != []
  defp more?(now, before), do: now > before

  # What each kind is without the numbers that differ from one to the next.
  defp descriptors(folder) do
    for(
      fd <- File.ls!(folder),
      {:ok, target} <- [File.read_link(Path.join(folder, fd))],
      do: target
    )
    |> Enum.map(&String.replace(&1, ~r/:\[\d+\]/, ""))
    |> Enum.frequencies()
  end

  @doc "The counts once no shim is at work. There is a spawner from here on."
  @spec settled() :: map()
  def settled do
    {"", 0} = MuonTrap.cmd("true", [])
    # A shim exits a moment after its last word.
    assert Trees.eventually(fn -> Trees.at_work(Nif.spawner_pid()) == [] end),
           "shims that stay: #{inspect(Trees.at_work(Nif.spawner_pid()))}"

    # A module that is being loaded has a descriptor for some time.
    Enum.reduce(1..5, now(), fn _, least -> least(least, receive(after: (5 -> now()))) end)
  end

  @doc "The counts of this moment."
  @spec now() :: map()
  def now do
    children = System.pid() |> String.to_integer() |> Trees.children()

    Map.merge(spawner(Nif.spawner_pid()), %{
      # A shim that is ready has one.
      descriptors: length(File.ls!("/proc/self/fd")) - Nif.ready_shims(),
      threads: length(File.ls!("/proc/self/task")),
      zombies: Enum.filter(children, &Trees.zombie?/1),
      cgroups: Cgroups.groups()
    })
  end

  defp least(one, other) do
    Map.merge(one, other, fn
      _key, one, other when is_list(one) -> one -- one -- other
      _key, one, other -> min(one, other)
    end)
  end

  defp spawner(nil), do: %{shims: [], spawner_descriptors: 0}

  defp spawner(pid) do
    descriptors =
      case File.ls("/proc/#{pid}/fd") do
        {:ok, names} -> length(names)
        {:error, _gone} -> 0
      end

    %{shims: Trees.at_work(pid), spawner_descriptors: descriptors}
  end

  @doc "The resident memory of a process."
  @spec resident_kib(pos_integer()) :: non_neg_integer()
  def resident_kib(pid) do
    [_all, kib] = Regex.run(~r/^VmRSS:\s+(\d+) kB/m, File.read!("/proc/#{pid}/status"))
    String.to_integer(kib)
  end
end
