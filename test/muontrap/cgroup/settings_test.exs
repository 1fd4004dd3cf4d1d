# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.SettingsTest do
  use MuonTrap.Case

  import MuonTrap.Cgroups

  alias MuonTrap.{Cgroup, Command}

  @moduletag :cgroup

  defp path(name), do: Path.join(base(), "#{name}-#{System.unique_integer([:positive])}")

  test "old options and new ones mean the same on every machine" do
    if offers?(["memory"]) do
      for opts <- [
            [cgroup: %{memory_max: 67_108_864}],
            [
              cgroup_controllers: ["memory"],
              cgroup_sets: [{"memory", "memory.limit_in_bytes", "67108864"}]
            ],
            [cgroup_sets: [{"memory", "memory.limit_in_bytes", 67_108_864}]],
            [cgroup_sets: [{"memory", "memory.max", "64M"}]]
          ] do
        {command, plan} = start("sleep", ["100"], [cgroup_path: path("old")] ++ opts)
        assert Cgroup.config(plan).memory_max == 67_108_864

        for file <- ["memory.max", "memory.limit_in_bytes"] do
          assert Cgroup.get(plan, file) == {:ok, "67108864\n"}
          assert Cgroup.get(plan, "memory", file) == {:ok, "67108864\n"}
        end

        Command.abort(command)
      end
    end
  end

  test "settings are written and read while the program runs, and go round" do
    if offers?(["cpu", "memory", "pids"]) do
      limits = %{cpu_weight: 50, cpu_max: {50_000, 200_000}, memory_max: 67_108_864, pids_max: 20}
      {command, plan} = start("sleep", ["100"], cgroup_path: path("set"), cgroup: limits)
      config = Cgroup.config(plan)
      assert Map.take(config, Map.keys(limits)) == limits

      assert Cgroup.set(plan, "pids.max", 30) == :ok
      assert Cgroup.get(plan, "pids.max") == {:ok, "30\n"}
      assert Cgroup.set(plan, "memory", "memory.limit_in_bytes", "33554432") == :ok
      assert Cgroup.set(plan, "cpu.max", "max") == :ok
      assert %{pids_max: 30, memory_max: 33_554_432, cpu_max: :max} = Cgroup.config(plan)
      assert Cgroup.set(plan, "cpu.cfs_quota_us", "20000") == :ok
      assert Cgroup.config(plan).cpu_max == {20_000, 200_000}

      assert {:error, :einval} = Cgroup.set(plan, "pids.max", "many")
      assert {:error, :enoent} = Cgroup.set(plan, "memory.nothing", 1)
      assert {:error, :enoent} = Cgroup.get(plan, "nothing")
      assert {:error, :einval} = Cgroup.get(plan, "memory", "../../etc/passwd")
      Command.abort(command)

      {command, plan} = start("sleep", ["100"], cgroup_path: path("again"), cgroup: config)
      assert Cgroup.config(plan) == config
      Command.abort(command)
    end
  end

  test "without a group there is nothing to read" do
    assert Cgroup.plan(MuonTrap.Options.validate!(:cmd, "true", [], [])) == {:ok, nil}
    assert {Cgroup.path(nil), Cgroup.config(nil), Cgroup.statistics(nil)} == {nil, %{}, %{}}
    assert Cgroup.get(nil, "memory.max") == {:error, :no_cgroup}
    assert Cgroup.set(nil, "memory.max", 1) == {:error, :no_cgroup}
  end
end
