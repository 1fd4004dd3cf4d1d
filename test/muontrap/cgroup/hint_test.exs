# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.HintTest do
  use ExUnit.Case, async: true

  alias MuonTrap.Cgroup.Hint
  alias MuonTrap.Error

  @layout %{
    v2: %{mount: "/cg", controllers: ["cpu", "memory"], own: "user.slice/vm", delegated: nil},
    v1: [%{mount: "/cg1/memory", controllers: ["memory"], own: "", delegated: nil}]
  }

  defp hint(step, subject, reason) do
    Hint.add(%Error{step: step, subject: subject, reason: reason}, @layout).hint
  end

  test "the command that gives a group to the user" do
    assert hint(:cgroup_create, "/cg1/memory/mycgroup/fresh", :eacces) ==
             "run: sudo cgcreate -a $(whoami) -t $(whoami) -g memory:mycgroup"

    assert hint(:cgroup_create, "/cg/mycgroup", :eacces) =~
             "sudo mkdir -p /cg/mycgroup && sudo chown -R $(whoami) /cg/mycgroup"
  end

  test "CPUs and memory nodes that the machine does not have" do
    assert hint(:cgroup_write, "cpuset_cpus: /cg/a/cpuset.cpus", :erange) =~ "no such CPU"
    assert hint(:cgroup_write, "cpu_weight: /cg/a/cpu.weight", :erange) == nil
  end

  test "a group of its own for a VM that is in the root" do
    assert hint(:cgroup_create, "/cg/muontrap-1-2-3-4", :eacces) =~ "Delegate=yes"
  end

  test "the line that enables a controller, and Delegate on the service" do
    hint = hint(:cgroup_enable, "memory: /cg/base/cgroup.subtree_control", :eacces)
    assert hint =~ "echo +memory | sudo tee /cg/base/cgroup.subtree_control"
    assert hint =~ "Delegate=yes on the service"

    assert hint(:cgroup_enable, "memory: /cg/a/b/cgroup.controllers", :no_controller) =~
             "echo +memory | sudo tee /cg/a/cgroup.subtree_control"

    assert hint(:cgroup_enable, "memory: /cg/cgroup.controllers", :no_controller) =~
             "cgroup_enable=memory"
  end

  test "the inner-node rule" do
    hint = hint(:cgroup_enable, "memory: /cg/base/cgroup.subtree_control", :ebusy)
    assert hint =~ "inner-node rule"
    assert hint =~ "/cg/base/main/cgroup.procs"
    assert hint =~ "DelegateSubgroup="
  end

  test "who may enter a group of v2" do
    assert hint(:cgroup_join, "/cg/user.slice/other/cgroup.procs", :eacces) =~
             "/cg/user.slice/cgroup.procs"
  end

  test "a file that the kernel lacks" do
    assert hint(:cgroup_write, "memory_swap_max: /cg/x/memory.swap.max", :enoent) =~
             "swapaccount=1"

    assert hint(:cgroup_write, "x.y: /cg/x/x.y", :enoent) == "this kernel has no x.y"
  end

  test "a hint that is there stays, and not every error has one" do
    error = %Error{step: :cgroup_create, subject: "/cg/x", reason: :eacces, hint: "mine"}
    assert Hint.add(error, @layout).hint == "mine"
    assert hint(:cgroup_write, "a: /b", :enomem) == nil
    assert Hint.add(%Error{step: :exec, reason: :enoent}, @layout).hint == nil
  end
end
