# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.Hint do
  @moduledoc false
  # What mends a cgroup that cannot be made, entered or limited, as a command where there is one.

  alias MuonTrap.Cgroup.Layout
  alias MuonTrap.Error

  @not_allowed [:eacces, :eperm]

  @doc "Adds the hint for a failed step, if there is one and the error has none."
  @spec add(Error.t(), Layout.t()) :: Error.t()
  def add(%Error{hint: nil, subject: subject} = error, layout) when is_binary(subject) do
    %{error | hint: hint(error.step, error.reason, split(subject), layout)}
  end

  def add(error, _layout), do: error

  @doc "What to do about a controller that no hierarchy has."
  @spec no_controller(String.t(), Layout.t()) :: String.t()
  def no_controller(controller, layout) do
    where =
      if Layout.hierarchies(layout) == [],
        do: "no cgroup hierarchy is mounted",
        else: "no mounted hierarchy has it"

    where <>
      ": boot with cgroup_enable=#{controller}, or give the container the controller; " <>
      "/proc/cgroups lists what this kernel has"
  end

  defp hint(:cgroup_enable, :no_controller, {controller, file}, layout) do
    case Layout.of_path(layout, file) do
      {_version, hierarchy, "cgroup.controllers"} ->
        "#{hierarchy.mount}/cgroup.controllers does not list it: " <>
          "boot with cgroup_enable=#{controller}, or give the container the controller"

      _below ->
        "#{file} does not list it; run: " <> enable(controller, above(file))
    end
  end

  defp hint(:cgroup_enable, reason, {controller, file}, _layout) when reason in @not_allowed do
    "run: #{enable(controller, file)}; or, in a systemd service, set Delegate=yes on the service " <>
      "and use cgroup_base: :self"
  end

  defp hint(:cgroup_enable, :ebusy, {_controller, file}, _layout) do
    directory = Path.dirname(file)

    "#{directory} has processes of its own, and then it cannot have limits below it (the " <>
      "inner-node rule of cgroup v2). Move them down, run: sudo sh -c 'mkdir #{directory}/main && " <>
      "for p in $(cat #{directory}/cgroup.procs); do echo $p > #{directory}/main/cgroup.procs; " <>
      "done'; or set DelegateSubgroup=main next to Delegate=yes on the systemd service"
  end

  defp hint(:cgroup_enable, :eopnotsupp, {_controller, file}, _layout),
    do: "#{Path.dirname(file)} is a threaded group: name another one"

  defp hint(step, :erofs, {_key, _file}, _layout)
       when step in [:cgroup_create, :cgroup_enable, :cgroup_write] do
    "cgroups are mounted read-only, as in most containers. With Docker: " <>
      "--cgroupns=private --security-opt writable-cgroups=true, or --privileged"
  end

  defp hint(:cgroup_create, reason, {_key, path}, layout) when reason in @not_allowed do
    case Layout.of_path(layout, path) do
      {_version, _hierarchy, "muontrap-" <> _fresh} ->
        "this user may not make groups at the top; start the VM in a group of its own, as a " <>
          "systemd service with Delegate=yes, or name a cgroup_base"

      {:v1, hierarchy, below} ->
        "run: sudo cgcreate -a $(whoami) -t $(whoami) " <>
          "-g #{Enum.join(hierarchy.controllers, ",")}:#{base(below)}"

      {:v2, hierarchy, below} ->
        directory = Path.join(hierarchy.mount, base(below))

        "run: sudo mkdir -p #{directory} && sudo chown -R $(whoami) #{directory}; or, in a " <>
          "systemd service, set Delegate=yes on the service and use cgroup_base: :self"

      nil ->
        nil
    end
  end

  defp hint(:cgroup_join, reason, {_key, path}, layout) when reason in @not_allowed do
    case Layout.of_path(layout, path) do
      {:v2, hierarchy, _below} ->
        common = common(hierarchy.mount, hierarchy.own || "", path)

        "entering it from the VM's own group needs write access to #{common}/cgroup.procs, too. " <>
          "Start the VM inside of the group it was given: as a systemd service with " <>
          "Delegate=yes and cgroup_base: :self, or by systemd-run --user --scope -p Delegate=yes"

      {:v1, hierarchy, below} ->
        "run: sudo cgcreate -a $(whoami) -t $(whoami) " <>
          "-g #{Enum.join(hierarchy.controllers, ",")}:#{base(below)}"

      nil ->
        nil
    end
  end

  defp hint(:cgroup_write, :enoent, {_key, file}, _layout) do
    case Path.basename(file) do
      "memory.swap.max" -> "this kernel counts no swap: boot with swapaccount=1"
      "memory.memsw." <> _ -> "this kernel counts no swap: boot with swapaccount=1"
      "cpu.max" -> "this kernel lacks CONFIG_CFS_BANDWIDTH"
      "cpu.cfs_" <> _ -> "this kernel lacks CONFIG_CFS_BANDWIDTH"
      "io.weight" -> "this kernel lacks CONFIG_BLK_CGROUP_IOCOST and the BFQ scheduler"
      "blkio.bfq.weight" -> "this kernel lacks the BFQ scheduler; before 5.0 it is blkio.weight"
      name -> "this kernel has no #{name}"
    end
  end

  defp hint(:cgroup_write, :eacces, {_key, file}, _layout),
    do: "run: sudo chown $(whoami) #{file}"

  defp hint(:cgroup_write, :einval, {_key, _file}, _layout),
    do: "the kernel does not take this value here; a group cannot have more than the one above it"

  defp hint(:cgroup_write, :erange, {"cpuset" <> _which, _file}, _layout),
    do: "this machine has no such CPU or memory node; lscpu lists them"

  defp hint(:cgroup_write, :enodev, {key, _file}, _layout) when key in ["io_max", "io.max"],
    do: "there is no such disk; lsblk lists them, and a partition cannot be limited"

  defp hint(:cgroup_create, :foreign_processes, {_key, path}, _layout),
    do: "cat #{path}/cgroup.procs shows them; name an empty group, or use cgroup_base"

  defp hint(:cgroup_create, :own_cgroup, {_key, _path}, _layout),
    do: "name another one, or use cgroup_base: :self for groups below it"

  defp hint(_step, _reason, _subject, _layout), do: nil

  # "key: /file", "controller: /file" or "/directory"
  defp split(subject) do
    case String.split(subject, ": /", parts: 2) do
      [key, path] -> {key, "/" <> path}
      [path] -> {"", path}
    end
  end

  defp enable(controller, file), do: "echo +#{controller} | sudo tee #{file}"

  defp above(file),
    do: file |> Path.dirname() |> Path.dirname() |> Path.join("cgroup.subtree_control")

  defp base(below) do
    case Path.dirname(below) do
      "." -> below
      base -> base
    end
  end

  defp common(mount, own, path) do
    below = Path.relative_to(path, mount)

    [Path.split(own), Path.split(below)]
    |> Enum.zip()
    |> Enum.take_while(fn {left, right} -> left == right end)
    |> Enum.reduce(mount, fn {part, _same}, directory -> Path.join(directory, part) end)
  end
end
