# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.Sets do
  @moduledoc false
  # The `:cgroup_sets` option: files of one cgroup version on a machine that may have the other.
  #
  # A file that the controller's hierarchy has goes there as it is, and so does one that
  # `MuonTrap.Cgroup.Keys` does not know. The rest goes through the key that both versions share.

  alias MuonTrap.Cgroup.{Keys, Value}

  @type set :: {controller :: String.t(), file :: String.t(), value :: String.t()}

  # Files of v1 with the value that v2 has anyway.
  @always_so_in_v2 [
    {"memory.use_hierarchy", "1"},
    {"memory.oom_control", "0"},
    {"memory.move_charge_at_immigrate", "0"}
  ]

  # What the kernel has in a new group.
  @v1_defaults %{"cpu.cfs_period_us" => "100000", "cpu.cfs_quota_us" => "-1"}

  @doc """
  What to write for sets of one controller in a hierarchy of `version`, as `{name, file, value}` in order.

  `values` are those of all keys, from whatever option, see `values/1`.

  ## Errors

  `{:error, {name, why}}` with the file and a sentence for the user.
  """
  @spec translate([set()], Keys.version(), map()) ::
          {:ok, [{String.t(), String.t(), String.t()}]} | {:error, {String.t(), String.t()}}
  def translate(sets, version, values) do
    given = Map.new(sets, fn {_controller, file, value} -> {file, value} end)

    sets
    |> Enum.map(fn {_controller, file, value} -> way(file, value, version) end)
    |> Enum.uniq_by(fn
      {:key, key, _file} -> key
      other -> other
    end)
    |> Enum.reduce_while({:ok, []}, fn way, {:ok, done} ->
      case follow(way, version, given, values) do
        {:ok, writes} -> {:cont, {:ok, done ++ writes}}
        {:error, _why} = error -> {:halt, error}
      end
    end)
  end

  @doc "The values of the keys that sets stand for, in whichever version they are written."
  @spec values([set()]) :: map()
  def values(sets) do
    given = Map.new(sets, fn {_controller, file, value} -> {file, value} end)

    for version <- [:v1, :v2],
        file <- Map.keys(given),
        key = Keys.of_file(file, version),
        {:ok, value} <- [Value.from_files(key, version, reader(given, %{}))],
        into: %{},
        do: {key, value}
  end

  defp way(file, value, version) do
    key = Keys.of_file(file, other(version))

    cond do
      Keys.of_file(file, version) -> {:as_is, file, value}
      key -> {:key, key, file}
      version == :v1 or not Keys.v1_only?(file) -> {:as_is, file, value}
      {file, String.trim(value)} in @always_so_in_v2 -> {:nothing, file}
      true -> {:error, file}
    end
  end

  defp follow({:as_is, file, value}, _version, _given, _values), do: {:ok, [{file, file, value}]}
  defp follow({:nothing, _file}, _version, _given, _values), do: {:ok, []}

  defp follow({:error, file}, _version, _given, _values),
    do: {:error, {file, "it is of cgroup v1 alone: leave it out on this machine"}}

  defp follow({:key, key, file}, version, given, values) do
    with {:ok, value} <- Value.from_files(key, other(version), reader(given, values)),
         {:ok, writes} <- Value.to_files(key, value, version, values) do
      {:ok, for({to, text} <- writes, do: {file, to, text})}
    else
      {:error, why} ->
        {:error, {file, why}}

      :error when key == :memory_swap_max ->
        {:error, {file, "cgroup v2 limits swap alone: set memory.limit_in_bytes, too"}}

      :error ->
        {:error, {file, "its value cannot be translated to cgroup #{version}"}}
    end
  end

  defp reader(given, values) do
    fn file ->
      with :error <- Map.fetch(given, file),
           :error <- Map.fetch(@v1_defaults, file) do
        case {file, values} do
          {"memory.limit_in_bytes", %{memory_max: max}} when is_integer(max) -> {:ok, "#{max}"}
          _other -> :error
        end
      end
    end
  end

  defp other(:v1), do: :v2
  defp other(:v2), do: :v1
end
