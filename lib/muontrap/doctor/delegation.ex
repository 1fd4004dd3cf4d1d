# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor.Delegation do
  @moduledoc false
  # Which `:cgroup_base` gives this VM which controllers, found by looking: nothing is made or written.
  #
  # The rules are those of the kernel (cgroup-v2, "Delegation Containment" and "No Internal Process Constraint").

  alias MuonTrap.Cgroup.{Hint, Layout}
  alias MuonTrap.Error

  @controllers ["memory", "cpu", "pids"]

  @typedoc "A controller, or nil for a group without limits."
  @type subject :: String.t() | nil
  @type base :: :self | String.t()

  @doc """
  The base for groups without limits, and for each controller. The same one where one serves all.
  """
  @spec bases(Layout.t(), (Path.t() -> boolean())) :: [
          {subject(), {:ok, base()} | {:error, Error.t()}}
        ]
  def bases(layout, writable? \\ &writable?/1) do
    found = for subject <- [nil | @controllers], do: {subject, usable(layout, subject, writable?)}

    common =
      found |> Enum.map(fn {_subject, {bases, _error}} -> bases end) |> Enum.reduce(&common/2)

    for {subject, {bases, error}} <- found do
      case common ++ bases do
        [base | _others] -> {subject, {:ok, base}}
        [] -> {subject, {:error, Hint.add(error, layout)}}
      end
    end
  end

  defp common(one, other), do: Enum.filter(other, &(&1 in one))

  # The bases that serve, and the error of the first that does not.
  defp usable(layout, nil, writable?) do
    tried =
      for {version, hierarchy} <- Layout.hierarchies(layout),
          do: try_all(version, hierarchy, nil, writable?)

    Enum.find(tried, &match?({[_ | _], _error}, &1)) || List.first(tried) || {[], not_mounted()}
  end

  defp usable(layout, controller, writable?) do
    case Layout.locate(layout, controller) do
      {:ok, version, hierarchy, enable} ->
        try_all(version, hierarchy, enable, writable?)

      :error ->
        hint = Hint.no_controller(controller, layout)
        error = %Error{step: :cgroup_enable, subject: controller, reason: :no_controller}
        {[], %{error | hint: hint}}
    end
  end

  defp not_mounted do
    hint = "mount one: sudo mount -t cgroup2 none /sys/fs/cgroup"
    %Error{step: :cgroup_create, reason: :not_mounted, hint: hint}
  end

  defp try_all(version, hierarchy, enable, writable?) do
    results =
      for {base, below} <- candidates(version, hierarchy, writable?),
          do: {base, look(version, hierarchy.mount, below, enable, writable?)}

    error = Enum.find_value(results, fn {_base, result} -> if result != :ok, do: result end)
    {for({base, :ok} <- results, do: base), error || outside(hierarchy)}
  end

  defp outside(hierarchy) do
    hint = "the VM's own group is not below #{hierarchy.mount}: name a cgroup_base that is"
    %Error{step: :cgroup_create, subject: ":self", reason: :enoent, hint: hint}
  end

  # The VM's own group or the one delegated to it, then those above, and in v1 what somebody has given away
  # elsewhere: there a process may be moved from anywhere.
  defp candidates(version, hierarchy, writable?) do
    own = hierarchy.delegated || hierarchy.own
    parts = if own, do: parts(own), else: []

    above = for depth <- (length(parts) - 1)..1//-1, do: parts |> Enum.take(depth) |> Path.join()

    given = if version == :v1, do: given(hierarchy.mount, writable?), else: []
    self = if own, do: [{:self, Path.join(["" | parts])}], else: []

    self ++
      for(path <- above, do: {path, path}) ++
      [{"muontrap", ""}] ++ for(path <- given, do: {path, path})
  end

  defp given(mount, writable?) do
    case File.ls(mount) do
      {:ok, names} ->
        for name <- Enum.sort(names),
            path = Path.join(mount, name),
            File.dir?(path) and writable?.(path),
            do: name

      {:error, _reason} ->
        []
    end
  end

  defp parts(path), do: path |> Path.relative() |> Path.split() |> Enum.reject(&(&1 in [".", ""]))

  defp look(version, mount, below, enable, writable?) do
    directory = Path.join(mount, below)
    file = &Path.join(directory, &1)

    cond do
      not writable?.(directory) ->
        refused(:cgroup_create, Path.join(directory, "muontrap-1"), mount)

      version == :v1 ->
        :ok

      not writable?.(file.("cgroup.procs")) ->
        refused(:cgroup_join, Path.join(directory, "muontrap-1"), mount)

      enable == nil or enable in words(file.("cgroup.subtree_control")) ->
        :ok

      enable not in words(file.("cgroup.controllers")) ->
        lacking(enable, file.("cgroup.controllers"))

      not writable?.(file.("cgroup.subtree_control")) ->
        refused(:cgroup_enable, "#{enable}: #{file.("cgroup.subtree_control")}", mount)

      words(file.("cgroup.procs")) != [] and not top?(directory) ->
        subject = "#{enable}: #{file.("cgroup.subtree_control")}"
        %Error{step: :cgroup_enable, subject: subject, reason: :ebusy}

      true ->
        :ok
    end
  end

  defp lacking(controller, file),
    do: %Error{step: :cgroup_enable, subject: "#{controller}: #{file}", reason: :no_controller}

  defp refused(step, subject, mount) do
    reason = if read_only?(mount), do: :erofs, else: :eacces
    %Error{step: step, subject: subject, reason: reason}
  end

  # Only the top of the machine itself has no such file. The top of a container's view has.
  defp top?(directory), do: not File.exists?(Path.join(directory, "cgroup.type"))

  defp words(path) do
    case File.read(path) do
      {:ok, text} -> String.split(text)
      {:error, _missing} -> []
    end
  end

  # "31 23 0:28 / /sys/fs/cgroup ro,relatime - cgroup2 ...", see proc_pid_mountinfo(5).
  defp read_only?(mount) do
    case File.read("/proc/self/mountinfo") do
      {:ok, text} ->
        text
        |> String.split("\n")
        |> Enum.any?(fn line ->
          match?([_id, _parent, _device, _root, ^mount, "ro" <> _more | _], String.split(line))
        end)

      {:error, _no_proc} ->
        false
    end
  end

  defp writable?(path) do
    match?(
      {:ok, %File.Stat{access: access}} when access in [:write, :read_write],
      File.stat(path)
    )
  end
end
