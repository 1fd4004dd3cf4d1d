# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options.Legacy do
  @moduledoc false
  # Checked options in the form of MuonTrap 1.x and 2.x, see `MuonTrap.Options.validate/4`.

  alias MuonTrap.Cgroup.{Keys, Value}

  @doc "Puts an option that was given, and what follows from it."
  @spec put(map(), {atom(), term()}, MuonTrap.Options.t()) :: map()
  def put(options, {:env, _given}, checked) do
    env = for {name, value} <- checked.env, do: {charlist(name), value != nil && charlist(value)}
    Map.put(options, :env, env)
  end

  def put(options, {:logger_fun, _given}, checked),
    do: Map.put(options, :logger_fun, checked.logger_fun)

  def put(options, {:cgroup_base, base}, checked) when is_binary(base) do
    name = 0x1_0000_0000 |> :rand.uniform() |> Integer.to_string(36) |> String.downcase()
    # Five characters at least.
    path = Path.join(checked.cgroup_base, String.pad_leading(name, 5, "0"))
    Map.merge(options, %{cgroup_base: base, cgroup_path: path})
  end

  def put(options, {:cgroup_path, _given}, checked),
    do: Map.put(options, :cgroup_path, checked.cgroup_path)

  def put(options, {:cgroup, _given}, checked) do
    sets =
      for {key, value} <- checked.cgroup,
          {controller, _files} = Keys.files(key, :v2),
          {:ok, texts} = Value.to_files(key, value, :v2, checked.cgroup),
          {file, text} <- texts,
          do: {controller, file, text}

    controllers = for {controller, _file, _text} <- sets, do: controller

    options
    |> Map.put(:cgroup_controllers, Enum.uniq(checked.cgroup_controllers ++ controllers))
    |> Map.put(:cgroup_sets, checked.cgroup_sets ++ sets)
  end

  # `:cgroup` may come first.
  def put(options, {key, _given}, checked) when key in [:cgroup_controllers, :cgroup_sets],
    do: Map.put_new(options, key, Map.fetch!(checked, key))

  def put(options, {key, given}, _checked), do: Map.put(options, key, given)

  # Names and values need not be text.
  defp charlist(bytes),
    do: if(String.valid?(bytes), do: String.to_charlist(bytes), else: :binary.bin_to_list(bytes))
end
