# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# What containment costs against System.cmd/3, everything interleaved in one run:
#
#   mix run bench/latency.exs
#
# The latency of `true`, and how fast 1 GiB of /dev/zero arrives at windows of 10 KB, 64 KiB and 1 MiB.
# The last line is a pipe into cat, which stands for a reader without a VM.

# Consolidated protocols take no new implementation.
Code.delete_path(Mix.Project.consolidation_path())
:code.purge(Collectable)
:code.delete(Collectable)

defmodule Sink do
  defstruct []

  defimpl Collectable do
    def into(sink), do: {sink, fn sink, _command -> sink end}
  end
end

defmodule Bench do
  @runs 1000
  @rounds 5
  @bytes 1_073_741_824
  @zeros ["-c", "#{@bytes}", "/dev/zero"]

  def latency do
    sides = [{"MuonTrap.cmd", &MuonTrap.cmd/2}, {"System.cmd", &System.cmd/2}]
    for {_name, cmd} <- sides, _ <- 1..50, do: cmd.("true", [])

    times =
      interleave(sides, @runs, fn cmd ->
        {"", 0} = cmd.("true", [])
      end)

    IO.puts("`true`, #{@runs} times each, in µs")

    for {name, sorted} <- times do
      IO.puts("  #{name}: median #{percentile(sorted, 50)}, p99 #{percentile(sorted, 99)}")
    end

    [{_, ours}, {_, theirs}] = times

    for part <- [50, 99] do
      ratio = percentile(ours, part) / percentile(theirs, part)
      IO.puts("  ratio at #{part} %: #{Float.round(ratio, 2)}")
    end
  end

  def throughput do
    windows =
      for {name, bytes} <- [{"10 KB", 10_240}, {"64 KiB", 65_536}, {"1 MiB", 1_048_576}] do
        {"MuonTrap.cmd, window of #{name}",
         fn -> MuonTrap.cmd("head", @zeros, into: %Sink{}, stdio_window: bytes) end}
      end

    others = [
      {"System.cmd", fn -> System.cmd("head", @zeros, into: %Sink{}) end},
      {"head | cat >/dev/null",
       fn -> System.cmd("sh", ["-c", "head #{Enum.join(@zeros, " ")} | cat >/dev/null"]) end}
    ]

    times = interleave(windows ++ others, @rounds, fn run -> {_, 0} = run.() end)
    {_, theirs} = List.keyfind(times, "System.cmd", 0)
    IO.puts("1 GiB of /dev/zero, median of #{@rounds}")

    for {name, sorted} <- times do
      time = percentile(sorted, 50)
      ratio = percentile(theirs, 50) / time
      IO.puts("  #{name}: #{round(@bytes / time)} MB/s, #{Float.round(ratio, 2)} x System.cmd")
    end
  end

  defp interleave(sides, rounds, run) do
    samples =
      for _ <- 1..rounds, {name, side} <- sides do
        {name, elem(:timer.tc(fn -> run.(side) end), 0)}
      end

    for {name, _side} <- sides do
      {name, Enum.sort(for {^name, time} <- samples, do: time)}
    end
  end

  defp percentile(sorted, part), do: Enum.at(sorted, div(length(sorted) * part, 100))
end

Bench.latency()
Bench.throughput()
