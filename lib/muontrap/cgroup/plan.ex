# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.Plan do
  @moduledoc false
  # Which groups a command gets and what is written into them: from options and layout alone.
  #
  # A command gets a group in each hierarchy that has one of its controllers, and where it can one more that
  # makes killing atomic: v2 for `cgroup.kill`, else v1's freezer against fork bombs. Without a controller
  # it gets that one alone, or any other that can be written.

  alias MuonTrap.Cgroup.{Hint, Keys, Layout, Sets, Value}
  alias MuonTrap.Error

  @typedoc "A group as the native part takes it, with its controllers in addition."
  @type group :: %{
          path: String.t(),
          mount: String.t(),
          version: :v1 | {:v2, [String.t()]},
          controllers: [String.t()]
        }

  @typedoc "`:path` is relative to the hierarchy, `:base` the directory that holds a fresh group."
  @type t :: %{
          path: String.t(),
          base: String.t() | nil,
          groups: [group()],
          settings: [%{key: String.t(), file: String.t(), value: String.t()}]
        }

  @doc """
  Makes the plan. `name` is that of a fresh group. `usable?` says whether this user can make and enter a
  group at a path in a hierarchy; it decides nothing but which hierarchies are taken in addition.

  ## Errors

  A `MuonTrap.Error` with `:cgroup_create`, `:cgroup_enable` or `:cgroup_write` as step.
  """
  @spec make(map(), Layout.t(), String.t(), (Layout.hierarchy(), String.t() -> boolean())) ::
          {:ok, t()} | {:error, Error.t()}
  def make(options, layout, name, usable?) do
    place = fn hierarchy -> place(options, hierarchy, name) end

    with {:ok, writes} <- writes(options, layout),
         {:ok, needed} <- needed(options, layout, writes),
         {:ok, located} <- groups(layout, needed, place, usable?) do
      groups =
        for {version, hierarchy, path, enable} <- located do
          %{
            path: Path.join(hierarchy.mount, path),
            mount: hierarchy.mount,
            version: if(version == :v1, do: :v1, else: {:v2, enable}),
            controllers: hierarchy.controllers
          }
        end

      [{_version, _hierarchy, path, _enable} | _rest] = located
      base = if options.cgroup_base, do: Path.dirname(path)
      {:ok, %{path: path, base: base, groups: groups, settings: settings(writes, located)}}
    end
  end

  # What to write, as {hierarchy, name, file, value}.
  defp writes(options, layout) do
    values = Map.merge(Sets.values(options.cgroup_sets), options.cgroup)
    keys = Enum.filter(Keys.all(), &is_map_key(options.cgroup, &1))
    by_controller = Enum.group_by(options.cgroup_sets, &elem(&1, 0))
    controllers = options.cgroup_sets |> Enum.map(&elem(&1, 0)) |> Enum.uniq()
    sets = Enum.map(controllers, &Map.fetch!(by_controller, &1))

    with {:ok, of_keys} <- collect(keys, &key_writes(&1, values, layout)),
         {:ok, of_sets} <- collect(sets, &set_writes(&1, values, layout)) do
      # A limit of memory and swap may not be below the one of memory at any time.
      {sums, others} =
        Enum.split_with(of_keys ++ of_sets, fn {_hierarchy, _name, file, _value} ->
          file == "memory.memsw.limit_in_bytes"
        end)

      {:ok, others ++ sums}
    end
  end

  defp key_writes(key, values, layout) do
    {controller, _files} = Keys.files(key, :v2)

    with {:ok, version, hierarchy, _enable} <- locate(layout, controller, "#{key}: "),
         {:ok, writes} <- Value.to_files(key, Map.fetch!(values, key), version, values) do
      {:ok, for({file, value} <- writes, do: {hierarchy, Atom.to_string(key), file, value})}
    else
      {:error, %Error{}} = error -> error
      {:error, why} -> {:error, untranslatable(Atom.to_string(key), why)}
    end
  end

  defp set_writes([{controller, file, _value} | _rest] = sets, values, layout) do
    with {:ok, version, hierarchy, _enable} <- locate(layout, controller, "#{file}: "),
         {:ok, writes} <- Sets.translate(sets, version, values) do
      {:ok, for({name, file, value} <- writes, do: {hierarchy, name, file, value})}
    else
      {:error, %Error{}} = error -> error
      {:error, {file, why}} -> {:error, untranslatable(file, why)}
    end
  end

  defp untranslatable(name, why),
    do: %Error{step: :cgroup_write, subject: name, reason: :no_counterpart, hint: why}

  # The controllers, as {version, hierarchy, controller to enable}.
  defp needed(options, layout, writes) do
    keys = Enum.filter(Keys.all(), &is_map_key(options.cgroup, &1))
    of_keys = Enum.map(keys, &(&1 |> Keys.files(:v2) |> elem(0)))
    of_sets = for {controller, _file, _value} <- options.cgroup_sets, do: controller

    named = options.cgroup_controllers ++ of_sets
    # A key whose value is what there is anyway needs no controller.
    written = Enum.map(writes, &elem(&1, 0))

    collect(Enum.uniq(named ++ of_keys), fn controller ->
      with {:ok, version, hierarchy, enable} <- locate(layout, controller, "") do
        needed? = controller in named or hierarchy in written
        {:ok, if(needed?, do: [{version, hierarchy, enable}], else: [])}
      end
    end)
  end

  defp locate(layout, controller, prefix) do
    with :error <- Layout.locate(layout, controller) do
      hint = Hint.no_controller(controller, layout)
      subject = prefix <> controller
      {:error, %Error{step: :cgroup_enable, subject: subject, reason: :no_controller, hint: hint}}
    end
  end

  defp groups(layout, needed, place, usable?) do
    with {:ok, required} <- required(layout, needed, place, usable?) do
      {:ok, required ++ in_addition(layout, required, place, usable?)}
    end
  end

  defp required(layout, [], place, usable?) do
    candidates =
      for {version, hierarchy} <- Layout.hierarchies(layout),
          {:ok, path} <- [place.(hierarchy)],
          do: {version, hierarchy, path, []}

    usable = Enum.find(candidates, fn {_, hierarchy, path, _} -> usable?.(hierarchy, path) end)

    case {usable || List.first(candidates), Layout.hierarchies(layout)} do
      {nil, []} -> {:error, not_mounted()}
      {nil, [{_version, hierarchy} | _rest]} -> place.(hierarchy)
      {candidate, _hierarchies} -> {:ok, [candidate]}
    end
  end

  defp required(_layout, needed, place, _usable?) do
    needed
    |> Enum.group_by(fn {version, hierarchy, _enable} -> {version, hierarchy} end, &elem(&1, 2))
    |> Enum.sort_by(fn {{version, hierarchy}, _enable} -> {version == :v1, hierarchy.mount} end)
    |> collect(fn {{version, hierarchy}, enable} ->
      with {:ok, path} <- place.(hierarchy) do
        {:ok, [{version, hierarchy, path, enable |> Enum.reject(&is_nil/1) |> Enum.uniq()}]}
      end
    end)
  end

  # What makes killing atomic, and in v1 what counts CPU time if cpu is limited elsewhere.
  defp in_addition(layout, required, place, usable?) do
    atomic = fn {version, one} -> version == :v2 or "freezer" in one.controllers end
    counts = fn {version, one} -> version == :v2 or "cpuacct" in one.controllers end
    limits = fn {_version, one} -> "cpu" in one.controllers end
    taken = for {version, hierarchy, _path, _enable} <- required, do: {version, hierarchy}

    [{atomic, true}, {counts, Enum.any?(taken, limits)}]
    |> Enum.reduce([], fn {serves, wanted?}, added ->
      present = taken ++ for {version, hierarchy, _, _} <- added, do: {version, hierarchy}

      if wanted? and not Enum.any?(present, serves),
        do: added ++ first(layout, serves, place, usable?),
        else: added
    end)
  end

  defp first(layout, serves, place, usable?) do
    layout
    |> Layout.hierarchies()
    |> Enum.filter(serves)
    |> Enum.find_value([], fn {version, hierarchy} ->
      with {:ok, path} <- place.(hierarchy), true <- usable?.(hierarchy, path) do
        [{version, hierarchy, path, []}]
      else
        _unusable -> nil
      end
    end)
  end

  # The path of the group in a hierarchy.
  defp place(%{cgroup_base: :self}, %{own: nil} = hierarchy, _name) do
    hint = "the VM's own group is not below #{hierarchy.mount}: name a cgroup_base that is"
    {:error, %Error{step: :cgroup_create, subject: ":self", reason: :enoent, hint: hint}}
  end

  defp place(%{cgroup_base: :self}, hierarchy, name),
    do: {:ok, Path.join(hierarchy.delegated || hierarchy.own, name) |> Path.relative()}

  defp place(%{cgroup_base: base}, _hierarchy, name) when is_binary(base),
    do: {:ok, Path.join(base, name)}

  defp place(%{cgroup_path: path}, %{own: path} = hierarchy, _name) do
    subject = Path.join(hierarchy.mount, path)
    {:error, %Error{step: :cgroup_create, subject: subject, reason: :own_cgroup}}
  end

  defp place(%{cgroup_path: path}, _hierarchy, _name), do: {:ok, path}

  defp settings(writes, located) do
    paths = for {_, hierarchy, path, _} <- located, into: %{}, do: {hierarchy.mount, path}

    for {hierarchy, name, file, value} <- writes do
      path = Path.join([hierarchy.mount, Map.fetch!(paths, hierarchy.mount), file])
      %{key: name, file: path, value: value}
    end
  end

  defp not_mounted do
    %Error{
      step: :cgroup_create,
      reason: :not_mounted,
      hint: "mount one: sudo mount -t cgroup2 none /sys/fs/cgroup"
    }
  end

  defp collect(list, fun) do
    Enum.reduce_while(list, {:ok, []}, fn item, {:ok, done} ->
      case fun.(item) do
        {:ok, more} -> {:cont, {:ok, done ++ more}}
        {:error, _reason} = error -> {:halt, error}
      end
    end)
  end
end
