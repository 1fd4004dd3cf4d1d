# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# Many at once, and in a large VM, against System.cmd/3 in one run, both sides in turn:
#
#   mix run bench/many.exs [GIB]
#
# Runs of `true` per second with 2, 16 and 64 at once, and the median latency with that many GiB (4) of
# binaries held and touched.

defmodule Bench do
  @runs 1_000
  @rounds 5
  @sides [{"MuonTrap.cmd", &MuonTrap.cmd/2}, {"System.cmd", &System.cmd/2}]

  def throughput(at_once) do
    results =
      for _ <- 1..@rounds, {name, cmd} <- @sides do
        {us, :ok} = :timer.tc(fn -> run(cmd, at_once) end)
        {name, @runs / us * 1_000_000}
      end

    report("#{at_once} at once, runs/s", results, &round/1)
  end

  defp run(cmd, at_once) do
    1..@runs
    |> Task.async_stream(fn _ -> cmd.("true", []) end,
      max_concurrency: at_once,
      timeout: :infinity
    )
    |> Stream.run()
  end

  def latency(gib) do
    held = for _ <- 1..(gib * 16), do: :binary.copy(<<7>>, 64 * 1024 * 1024)

    results =
      for _ <- 1..300, {name, cmd} <- @sides do
        {us, _result} = :timer.tc(fn -> cmd.("true", []) end)
        {name, us}
      end

    report("with #{gib} GiB held, median in µs", results, &round/1)
    length(held)
  end

  defp report(title, results, format) do
    IO.puts(title)

    [ours, theirs] =
      for {name, _cmd} <- @sides do
        sorted = Enum.sort(for {^name, value} <- results, do: value)
        median = Enum.at(sorted, div(length(sorted), 2))
        IO.puts("  #{name}: #{format.(median)}")
        median
      end

    IO.puts("  ratio: #{Float.round(ours / theirs, 2)}")
  end
end

for at_once <- [2, 16, 64], do: Bench.throughput(at_once)
Bench.latency(System.argv() |> List.first("4") |> String.to_integer())
