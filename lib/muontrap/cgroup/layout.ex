# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.Layout do
  @moduledoc false
  # Where a controller lives on this machine: pure questions about what `MuonTrap.Nif.cgroup_layout/0` says.

  alias MuonTrap.Cgroup.Keys

  @typedoc """
  A mounted hierarchy. `:own` is the VM's group and `:delegated` the nearest group at or above it that
  systemd delegated, both relative to the mount point, `nil` if not below it.
  """
  @type hierarchy :: %{
          mount: String.t(),
          controllers: [String.t()],
          own: String.t() | nil,
          delegated: String.t() | nil
        }

  @type t :: %{v2: hierarchy() | nil, v1: [hierarchy()]}

  @v1_to_v2 %{"blkio" => "io"}
  @v2_to_v1 %{"io" => "blkio"}

  # Every v2 group has these, without a controller.
  @part_of_v2 ["cpuacct", "freezer", "perf_event", "cgroup"]

  @doc """
  The hierarchy that has a controller, by its name in either version, with the name of the controller to
  enable there (`nil`: there is none to enable).
  """
  @spec locate(t(), String.t()) ::
          {:ok, Keys.version(), hierarchy(), String.t() | nil} | :error
  def locate(layout, name) do
    v1_names = [name, Map.get(@v2_to_v1, name)]
    v2_name = Map.get(@v1_to_v2, name, name)
    v1 = Enum.find(layout.v1, fn one -> Enum.any?(v1_names, &(&1 in one.controllers)) end)

    cond do
      v1 -> {:ok, :v1, v1, Enum.find(v1_names, &(&1 in v1.controllers))}
      layout.v2 && v2_name in layout.v2.controllers -> {:ok, :v2, layout.v2, v2_name}
      layout.v2 && name in @part_of_v2 -> {:ok, :v2, layout.v2, nil}
      true -> :error
    end
  end

  @doc """
  All hierarchies with their versions: v2, then v1 in the order in which plain containment takes them.
  """
  @spec hierarchies(t()) :: [{Keys.version(), hierarchy()}]
  def hierarchies(layout) do
    preferred = ["freezer", "pids", "memory", "cpu"]
    rank = fn one -> Enum.find_index(preferred, &(&1 in one.controllers)) || length(preferred) end
    v1 = for one <- Enum.sort_by(layout.v1, rank), do: {:v1, one}
    if layout.v2, do: [{:v2, layout.v2} | v1], else: v1
  end

  @doc """
  The hierarchy that a directory or file is in, with the path below the mount point.
  """
  @spec of_path(t(), String.t()) :: {Keys.version(), hierarchy(), String.t()} | nil
  def of_path(layout, path) do
    layout
    |> hierarchies()
    |> Enum.filter(fn {_version, one} -> String.starts_with?(path, one.mount <> "/") end)
    |> Enum.max_by(fn {_version, one} -> byte_size(one.mount) end, fn -> nil end)
    |> case do
      nil -> nil
      {version, one} -> {version, one, Path.relative_to(path, one.mount)}
    end
  end
end
