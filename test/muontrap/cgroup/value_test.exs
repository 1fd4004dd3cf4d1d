# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.ValueTest do
  use ExUnit.Case, async: true

  import MuonTrap.Generators

  alias MuonTrap.Cgroup.{Keys, Value}

  doctest MuonTrap.Cgroup.Bytes

  defp files(files), do: fn name -> Map.fetch(files, name) end

  # Random values of a key, those that v1 can express.
  defp value(:cpu_weight), do: Enum.random(1..10_000)
  defp value(:io_weight), do: Enum.random([Enum.random(1..100), 100 + 11 * Enum.random(0..900)])

  defp value(:cpu_max),
    do: Enum.random([:max, {Enum.random(1_000..9_999_999), Enum.random(1_000..1_000_000)}])

  defp value(key) when key in [:cpu_idle, :memory_oom_group], do: Enum.random([true, false])
  defp value(key) when key in [:memory_min, :memory_low], do: Enum.random(0..0xFFFF_FFFF_FFFF)
  defp value(:pids_max), do: Enum.random([:max, Enum.random(0..4_194_304)])
  defp value("memory" <> _), do: Enum.random([:max, Enum.random(0..0xFFFF_FFFF_FFFF)])
  defp value(:cpuset_cpus), do: Enum.random(["0", "0-3", "1,3-5"])
  defp value(:cpuset_mems), do: Enum.random(["0", "0-1"])

  defp value(:io_max) do
    for major <- 8..Enum.random(8..10) do
      limits =
        for name <- ~w(rbps wbps riops wiops),
            Enum.random([true, false]),
            do: "#{name}=#{Enum.random(1..9999)}"

      Enum.join(["#{major}:0" | if(limits == [], do: ["wiops=max"], else: limits)], " ")
    end
    |> Enum.join("\n")
  end

  defp value(key), do: value(Atom.to_string(key))

  # What the kernel shows after those writes.
  defp written(writes, version) do
    Enum.reduce(writes, %{}, fn
      {"io.max", line}, files ->
        Map.update(files, "io.max", line, &(&1 <> "\n" <> line))

      {"blkio.throttle" <> _ = file, line}, files ->
        Map.update(files, file, line, &(&1 <> "\n" <> line))

      {file, text}, files ->
        Map.put(files, file, text)
    end)
    |> Map.new(fn
      {file, "-1"} when version == :v1 and file != "cpu.cfs_quota_us" ->
        {file, "9223372036854771712\n"}

      {file, text} ->
        {file, text <> "\n"}
    end)
    |> then(&if version == :v1, do: Map.put_new(&1, "cpu.cfs_period_us", "100000\n"), else: &1)
  end

  # v1 lists devices by kind of limit.
  defp lines(text) when is_binary(text), do: text |> String.split("\n") |> Enum.sort()
  defp lines(value), do: value

  for version <- [:v1, :v2] do
    @tag version: version
    test "what is written to #{version} is read as what it was", %{version: version} do
      check(
        fn ->
          key = Enum.random(Keys.all())
          {key, value(key), Enum.random(0..0xFFFF_FFFF)}
        end,
        fn {key, value, memory} ->
          others = %{memory_max: memory}
          {:ok, limit} = Value.to_files(:memory_max, memory, version)

          case Value.to_files(key, value, version, others) do
            {:ok, []} ->
              assert version == :v1

            {:ok, writes} ->
              base = if key == :memory_swap_max, do: limit, else: []

              read = files(written(base ++ writes, version))
              assert {:ok, found} = Value.from_files(key, version, read)
              assert lines(found) == lines(value)

            {:error, why} ->
              assert version == :v1 and Keys.files(key, :v1) == {nil, []}
              assert why =~ "#{key}"
          end
        end
      )
    end
  end

  test "no text makes a reader raise, and what is read is a value of the key" do
    words = [
      "max",
      "-1",
      "0",
      "1",
      "100000",
      "default",
      "8:0",
      "rbps=1",
      "=",
      "\n",
      " ",
      "9223372036854771712",
      <<255>>,
      "K",
      ""
    ]

    check(
      fn ->
        {Enum.random(Keys.all()), Enum.random([:v1, :v2]),
         Enum.map(0..Enum.random(0..6), fn _ -> Enum.random(words) end)}
      end,
      fn {key, version, parts} ->
        text = Enum.join(parts, Enum.random(["", " "]))

        case Value.from_files(key, version, fn _file -> {:ok, text} end) do
          {:ok, value} when key in [:cpuset_cpus, :cpuset_mems, :io_max, :cpu_max] -> assert value
          {:ok, value} -> assert Keys.cast(%{key => value}) == {:ok, %{key => value}}
          :error -> :ok
        end
      end,
      runs: 20_000
    )
  end

  test "v1 has the numbers that the kernel takes for the same" do
    assert Value.to_files(:cpu_weight, 100, :v1) == {:ok, [{"cpu.shares", "1024"}]}
    assert Value.to_files(:cpu_max, :max, :v1) == {:ok, [{"cpu.cfs_quota_us", "-1"}]}
    assert Value.to_files(:io_weight, 100, :v1) == {:ok, [{"blkio.bfq.weight", "100"}]}
    assert Value.to_files(:io_weight, 10_000, :v1) == {:ok, [{"blkio.bfq.weight", "1000"}]}
    assert Value.to_files(:memory_max, :max, :v1) == {:ok, [{"memory.limit_in_bytes", "-1"}]}

    assert Value.to_files(:cpu_max, {20_000, 50_000}, :v1) ==
             {:ok, [{"cpu.cfs_period_us", "50000"}, {"cpu.cfs_quota_us", "20000"}]}

    assert Value.to_files(:memory_swap_max, 5, :v1, %{memory_max: 100}) ==
             {:ok, [{"memory.memsw.limit_in_bytes", "105"}]}

    assert {:error, "cgroup v1 limits the sum" <> _} =
             Value.to_files(:memory_swap_max, 5, :v1, %{memory_max: :max})
  end

  test "unlimited memory of v1 is :max with pages of 4 and of 64 KiB" do
    for limit <- ["9223372036854771712", "9223372036854710272"] do
      assert Value.from_files(
               :memory_max,
               :v1,
               files(%{"memory.limit_in_bytes" => limit <> "\n"})
             ) == {:ok, :max}
    end
  end

  test "a limit that v1 does not know is no error where it is off" do
    for {key, off} <- [memory_min: 0, memory_low: 0, memory_high: :max, memory_oom_group: false] do
      assert Value.to_files(key, off, :v1) == {:ok, []}
    end
  end

  test "each device is written by itself" do
    lines = "8:0 rbps=1 wiops=max\n8:16 wbps=2"

    assert Value.to_files(:io_max, lines, :v2) ==
             {:ok, [{"io.max", "8:0 rbps=1 wiops=max"}, {"io.max", "8:16 wbps=2"}]}

    assert Value.to_files(:io_max, lines, :v1) ==
             {:ok,
              [
                {"blkio.throttle.read_bps_device", "8:0 1"},
                {"blkio.throttle.write_iops_device", "8:0 0"},
                {"blkio.throttle.write_bps_device", "8:16 2"}
              ]}
  end

  test "a weight with lines for devices is the default's" do
    assert Value.from_files(:io_weight, :v2, files(%{"io.weight" => "default 100\n8:0 50\n"})) ==
             {:ok, 100}
  end
end
