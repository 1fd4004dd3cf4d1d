# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.SetsTest do
  use ExUnit.Case, async: true

  alias MuonTrap.Cgroup.Sets

  defp translate(sets, version, values \\ %{}) do
    sets = for {file, value} <- sets, do: {"any", file, value}

    with {:ok, writes} <- Sets.translate(sets, version, Map.merge(Sets.values(sets), values)) do
      for {_name, file, value} <- writes, do: {file, value}
    end
  end

  test "files of the hierarchy's own version, and unknown ones, stay as they are" do
    for {file, version} <- [
          {"memory.limit_in_bytes", :v1},
          {"memory.max", :v2},
          {"pids.max", :v1},
          {"pids.max", :v2},
          {"memory.swappiness", :v1},
          {"new.file", :v1},
          {"new.file", :v2}
        ] do
      assert translate([{file, "any value"}], version) == [{file, "any value"}]
    end
  end

  test "v1 files work on v2" do
    assert translate([{"memory.limit_in_bytes", "268435456"}], :v2) == [
             {"memory.max", "268435456"}
           ]

    assert translate([{"memory.limit_in_bytes", "256M"}], :v2) == [{"memory.max", "268435456"}]
    assert translate([{"memory.limit_in_bytes", "-1"}], :v2) == [{"memory.max", "max"}]
    assert translate([{"cpu.shares", "512"}], :v2) == [{"cpu.weight", "50"}]
    assert translate([{"blkio.weight", "500"}], :v2) == [{"io.weight", "4500"}]

    assert translate([{"blkio.throttle.read_bps_device", "8:0 1048576"}], :v2) ==
             [{"io.max", "8:0 rbps=1048576"}]
  end

  test "quota and period become one value, whichever is missing" do
    both = [{"cpu.cfs_quota_us", "50000"}, {"cpu.cfs_period_us", "200000"}]
    assert translate(both, :v2) == [{"cpu.max", "50000 200000"}]
    assert translate(Enum.reverse(both), :v2) == [{"cpu.max", "50000 200000"}]
    assert translate([{"cpu.cfs_quota_us", "50000"}], :v2) == [{"cpu.max", "50000 100000"}]
    assert translate([{"cpu.cfs_quota_us", "-1"}], :v2) == [{"cpu.max", "max"}]
  end

  test "memory and swap become swap alone" do
    sum = {"memory.memsw.limit_in_bytes", "300"}

    assert translate([{"memory.limit_in_bytes", "100"}, sum], :v2) == [
             {"memory.max", "100"},
             {"memory.swap.max", "200"}
           ]

    assert translate([sum], :v2, %{memory_max: 100}) == [{"memory.swap.max", "200"}]
    assert {:error, {"memory.memsw.limit_in_bytes", why}} = translate([sum], :v2)
    assert why =~ "memory.limit_in_bytes"
  end

  test "v2 files work on v1" do
    assert translate([{"memory.max", "max"}], :v1) == [{"memory.limit_in_bytes", "-1"}]

    assert translate([{"cpu.max", "50000 100000"}], :v1) == [
             {"cpu.cfs_period_us", "100000"},
             {"cpu.cfs_quota_us", "50000"}
           ]

    assert translate([{"cpu.weight", "100"}], :v1) == [{"cpu.shares", "1024"}]

    assert translate([{"memory.max", "100"}, {"memory.swap.max", "50"}], :v1) ==
             [{"memory.limit_in_bytes", "100"}, {"memory.memsw.limit_in_bytes", "150"}]
  end

  test "what has no counterpart is an error that names the file" do
    assert {:error, {"memory.swappiness", _}} = translate([{"memory.swappiness", "0"}], :v2)

    assert {:error, {"memory.soft_limit_in_bytes", _}} =
             translate([{"memory.soft_limit_in_bytes", "1"}], :v2)

    assert {:error, {"memory.oom_control", _}} = translate([{"memory.oom_control", "1"}], :v2)
    assert {:error, {"memory.high", why}} = translate([{"memory.high", "1"}], :v1)
    assert why =~ "memory_high"
    assert {:error, {"cpu.shares", _}} = translate([{"cpu.shares", "many"}], :v2)
  end

  test "what v2 always does is not an error" do
    assert translate([{"memory.use_hierarchy", "1"}, {"memory.oom_control", "0"}], :v2) == []
  end
end
