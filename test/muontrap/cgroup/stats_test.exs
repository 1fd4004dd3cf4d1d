# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.StatsTest do
  use ExUnit.Case, async: true

  import MuonTrap.Generators

  alias MuonTrap.Cgroup.Stats

  defp read(version, files), do: Stats.read(version, &Map.fetch(files, &1))

  test "reads v2" do
    assert read(:v2, %{
             "memory.current" => "4096\n",
             "memory.events" => "low 0\nhigh 1\nmax 2\noom 3\noom_kill 4\nnew_one 5\n",
             "cpu.stat" => "usage_usec 10\nuser_usec 6\nsystem_usec 4\nnr_throttled 2\n",
             "pids.peak" => "7\n",
             "pids.events" => "max 8\n",
             "cpu.pressure" =>
               "some avg10=1.50 avg60=0.00 avg300=0.00 total=99\n" <>
                 "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
           }) == %{
             memory_current: 4096,
             memory_events: %{low: 0, high: 1, max: 2, oom: 3, oom_kill: 4},
             cpu_stat: %{usage_usec: 10, user_usec: 6, system_usec: 4, nr_throttled: 2},
             pids_peak: 7,
             pids_events: %{max: 8},
             cpu_pressure: %{
               some: %{avg10: 1.5, avg60: 0.0, avg300: 0.0, total: 99},
               full: %{avg10: 0.0, avg60: 0.0, avg300: 0.0, total: 0}
             }
           }
  end

  test "reads v1 under the same keys and in the same units" do
    assert read(:v1, %{
             "memory.usage_in_bytes" => "4096\n",
             "memory.memsw.usage_in_bytes" => "5096\n",
             "memory.max_usage_in_bytes" => "8192\n",
             "memory.failcnt" => "2\n",
             "memory.oom_control" => "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
             "cpuacct.usage" => "10999\n",
             "cpu.stat" => "nr_periods 3\nnr_throttled 2\nthrottled_time 5000\n",
             "pids.current" => "6\n",
             "pids.events" => "max 8\n"
           }) == %{
             memory_current: 4096,
             memory_swap_current: 1000,
             memory_peak: 8192,
             memory_events: %{max: 2, oom_kill: 4},
             cpu_stat: %{usage_usec: 10, nr_periods: 3, nr_throttled: 2, throttled_usec: 5},
             pids_current: 6,
             pids_events: %{max: 8}
           }
  end

  test "no text makes it raise" do
    words = [
      "some",
      "full",
      "avg10=",
      "avg10=1.0",
      "total=x",
      "max",
      "1",
      " ",
      "\n",
      "=",
      <<255>>,
      "-"
    ]

    check(
      fn -> Enum.map_join(0..Enum.random(0..8), fn _ -> Enum.random(words) end) end,
      fn text ->
        for version <- [:v1, :v2],
            do: assert(is_map(Stats.read(version, fn _ -> {:ok, text} end)))
      end,
      runs: 5_000
    )
  end
end
