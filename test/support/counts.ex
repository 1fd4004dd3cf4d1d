# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Counts do
  @moduledoc """
  What is counted before and after a test: nothing of it may grow.
  """

  import ExUnit.Assertions

  alias MuonTrap.{Cgroups, Nif, Trees}

  @doc "The setup of a test at whose end no command is left and all counts are what they were."
  @spec unchanged() :: :ok
  def unchanged do
    before = settled()

    ExUnit.Callbacks.on_exit(fn ->
      assert Trees.eventually(fn -> MuonTrap.list() == [] end)
      assert Trees.eventually(fn -> now() == before end), inspect({before, now()})
    end)
  end

  @doc "The counts once no shim is left. There is a spawner from here on."
  @spec settled() :: map()
  def settled do
    {"", 0} = MuonTrap.cmd("true", [])
    # A shim exits a moment after its last word.
    true = Trees.eventually(fn -> Trees.children(Nif.spawner_pid()) == [] end)
    # A module that is being loaded has a descriptor.
    true = Trees.eventually(fn -> now() == receive(after: (20 -> now())) end)
    now()
  end

  @doc "The counts of this moment."
  @spec now() :: map()
  def now do
    children = System.pid() |> String.to_integer() |> Trees.children()

    Map.merge(spawner(Nif.spawner_pid()), %{
      descriptors: length(File.ls!("/proc/self/fd")),
      threads: length(File.ls!("/proc/self/task")),
      zombies: Enum.filter(children, &Trees.zombie?/1),
      cgroups: Cgroups.groups()
    })
  end

  defp spawner(nil), do: %{shims: [], spawner_descriptors: 0}

  defp spawner(pid) do
    descriptors =
      case File.ls("/proc/#{pid}/fd") do
        {:ok, names} -> length(names)
        {:error, _gone} -> 0
      end

    %{shims: Trees.children(pid), spawner_descriptors: descriptors}
  end

  @doc "The resident memory of a process."
  @spec resident_kib(pos_integer()) :: non_neg_integer()
  def resident_kib(pid) do
    [_all, kib] = Regex.run(~r/^VmRSS:\s+(\d+) kB/m, File.read!("/proc/#{pid}/status"))
    String.to_integer(kib)
  end
end
