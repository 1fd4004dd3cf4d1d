# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.KeysTest do
  use ExUnit.Case, async: true

  alias MuonTrap.Cgroup.Keys

  doctest Keys

  @good %{
    cpu_weight: [1, 100, 10_000],
    cpu_max: [:max, {1_000, 1_000}, {200_000, 100_000}],
    cpu_idle: [true, false],
    memory_min: [0, 4096],
    memory_low: [0, 4096],
    memory_high: [:max, 0, 4096],
    memory_max: [:max, 0, 268_435_456],
    memory_swap_max: [:max, 0],
    memory_oom_group: [true, false],
    pids_max: [:max, 50],
    io_weight: [1, 10_000],
    io_max: ["8:0 rbps=1048576", "8:0 rbps=max wiops=120\n8:16 wbps=1"],
    cpuset_cpus: ["0", "0-2,4"],
    cpuset_mems: ["0"]
  }

  @bad [
    cpu_weight: 0,
    cpu_weight: 10_001,
    cpu_weight: "100",
    cpu_max: 50_000,
    cpu_max: {-1, 100},
    cpu_max: {50_000, 1_000_001},
    cpu_idle: 1,
    memory_min: :max,
    memory_max: -1,
    memory_max: "500 MB",
    memory_max: 1.0e9,
    memory_oom_group: "1",
    pids_max: nil,
    io_max: "sda rbps=1",
    io_max: "8:0",
    io_max: "8:0 rbps=1 nonsense=2",
    cpuset_cpus: "0-2; rm",
    cpuset_cpus: 0,
    cpuset_mems: <<255>>
  ]

  test "every key takes its values and is in the documentation" do
    assert Enum.sort(Map.keys(@good)) == Enum.sort(Keys.all())

    for {key, values} <- @good, value <- values do
      assert Keys.cast(%{key => value}) == {:ok, %{key => value}}
    end

    for key <- Keys.all(), do: assert(Keys.docs() =~ "| `#{key}` |")
  end

  test "bytes may have a unit" do
    for {text, bytes} <- [{"500M", 524_288_000}, {"64k", 65_536}, {"4096", 4096}] do
      assert Keys.cast(%{memory_max: text, memory_min: text}) ==
               {:ok, %{memory_max: bytes, memory_min: bytes}}
    end
  end

  test "other values are named, with what is expected" do
    for {key, value} <- @bad do
      assert Keys.cast(%{key => value}) == {:error, {key, value}}

      assert Keys.expected(key, value) =~
               ~r/^invalid value for cgroup key #{inspect(key)}, expected .+/
    end
  end

  test "an unknown key is named, with the one that was meant or those that exist" do
    assert Keys.cast(%{cgroup_path: "x"}) == {:error, {:cgroup_path, "x"}}

    assert Keys.expected(:cgroup_path, "x") =~
             ~r/^unknown cgroup config field, expected .*:pids_max/

    assert Keys.expected(:pid_max, 1) ==
             "unknown cgroup config field, did you mean :pids_max?"
  end

  test "every file leads back to its key" do
    for key <- Keys.all(),
        version <- [:v1, :v2],
        {_controller, [file | _]} <- [Keys.files(key, version)] do
      assert Keys.of_file(file, version) == key
    end

    assert Keys.of_file("memory.limit_in_bytes", :v2) == nil
    refute Keys.v1_only?("memory.limit_in_bytes")
    assert Keys.v1_only?("memory.soft_limit_in_bytes")
  end
end
