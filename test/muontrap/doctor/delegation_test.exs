# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor.DelegationTest do
  @moduledoc "Which groups may be used, in directories that look like those of a kernel."

  use ExUnit.Case, async: true

  alias MuonTrap.Doctor.Delegation

  setup do
    mount = Path.join(System.tmp_dir!(), MuonTrap.Trees.token())
    File.mkdir_p!(mount)
    on_exit(fn -> File.rm_rf!(mount) end)
    %{mount: mount}
  end

  # A group of cgroup v2 with what is in its files. Only the top of the machine has no `cgroup.type`.
  defp group(mount, path, files) do
    directory = Path.join(mount, path)
    File.mkdir_p!(directory)
    type = if path == "", do: [], else: ["cgroup.type": "domain"]
    all = ["cgroup.procs": "", "cgroup.controllers": "", "cgroup.subtree_control": ""]

    for {name, text} <- Keyword.merge(all, type ++ files),
        do: File.write!(Path.join(directory, to_string(name)), text)
  end

  defp v2(mount, own, more \\ []) do
    controllers = mount |> Path.join("cgroup.controllers") |> File.read!() |> String.split()
    hierarchy = %{mount: mount, controllers: controllers, own: own, delegated: more[:delegated]}
    %{v2: hierarchy, v1: []}
  end

  # Whether a path is below one of these.
  defp below(mount, paths),
    do: fn path -> Enum.any?(paths, &String.starts_with?(path, Path.join(mount, &1))) end

  defp bases(layout, writable?) do
    for {subject, result} <- Delegation.bases(layout, writable?), into: %{} do
      case result do
        {:ok, base} -> {subject, base}
        {:error, error} -> {subject, {error.step, error.reason, error.hint}}
      end
    end
  end

  @all "memory cpu pids"

  test "root of the machine has all of it, below its own group", %{mount: mount} do
    group(mount, "", "cgroup.controllers": @all, "cgroup.procs": "1\n")
    everything = %{nil => :self, "memory" => :self, "cpu" => :self, "pids" => :self}
    assert bases(v2(mount, "/"), fn _path -> true end) == everything
  end

  test "a group with processes of its own has no limits below it, one above it has", %{
    mount: mount
  } do
    group(mount, "", "cgroup.controllers": @all, "cgroup.subtree_control": @all)
    group(mount, "a", "cgroup.controllers": @all, "cgroup.subtree_control": @all)
    group(mount, "a/main", "cgroup.controllers": @all, "cgroup.procs": "7\n")
    found = bases(v2(mount, "/a/main"), below(mount, ["a"]))
    assert found == %{nil => "a", "memory" => "a", "cpu" => "a", "pids" => "a"}
  end

  test "a service without a group for the VM contains, and is told why it does not limit", %{
    mount: mount
  } do
    group(mount, "", "cgroup.controllers": @all, "cgroup.subtree_control": @all)
    group(mount, "a", "cgroup.controllers": @all, "cgroup.procs": "7\n")
    found = bases(v2(mount, "/a", delegated: "/a"), below(mount, ["a"]))
    assert %{nil => :self, "memory" => {:cgroup_enable, :ebusy, hint}} = found
    assert hint =~ "DelegateSubgroup"
  end

  test "a container's top is no top of a machine", %{mount: mount} do
    group(mount, "", "cgroup.controllers": @all, "cgroup.procs": "1\n", "cgroup.type": "domain")
    assert {:cgroup_enable, :ebusy, _hint} = bases(v2(mount, "/"), fn _path -> true end)["cpu"]
  end

  test "a user whom nobody gave a group is told how to get one", %{mount: mount} do
    group(mount, "", "cgroup.controllers": @all, "cgroup.subtree_control": @all)
    group(mount, "user/me", "cgroup.controllers": @all)
    found = bases(v2(mount, "/user/me"), fn _path -> false end)
    assert {:cgroup_create, :eacces, hint} = found[nil]
    assert hint =~ "Delegate=yes"
    assert {:cgroup_create, :eacces, ^hint} = found["memory"]
  end

  test "a directory that was given away without its cgroup.procs cannot be entered", %{
    mount: mount
  } do
    group(mount, "", "cgroup.controllers": @all, "cgroup.subtree_control": @all)
    group(mount, "a", "cgroup.controllers": @all)
    writable? = &(&1 == Path.join(mount, "a"))
    assert {:cgroup_join, :eacces, hint} = bases(v2(mount, "/a"), writable?)[nil]
    assert hint =~ "cgroup.procs"
  end

  test "a controller that is not handed down is named, with the file to write to", %{mount: mount} do
    group(mount, "", "cgroup.controllers": @all, "cgroup.subtree_control": "memory")
    group(mount, "a", "cgroup.controllers": "memory")
    found = bases(v2(mount, "/a"), below(mount, ["a"]))
    assert %{"memory" => :self, "cpu" => {:cgroup_enable, :no_controller, hint}} = found
    assert hint =~ "echo +cpu | sudo tee #{mount}/cgroup.subtree_control"
  end

  test "in v1 a group that was given away serves wherever the VM is", %{mount: mount} do
    File.mkdir_p!(Path.join(mount, "memory/given"))
    File.mkdir_p!(Path.join(mount, "cpu/given"))

    v1 =
      for name <- ["memory", "cpu"],
          do: %{mount: Path.join(mount, name), controllers: [name], own: "/", delegated: nil}

    found = bases(%{v2: nil, v1: v1}, below(mount, ["memory/given", "cpu/given"]))
    assert %{nil => "given", "memory" => "given", "cpu" => "given"} = found
    assert {:cgroup_enable, :no_controller, _hint} = found["pids"]
  end
end
