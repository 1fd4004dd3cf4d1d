# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/runs.exs", __DIR__)

alias Bench.{Row, Runs, Stats, Svg}

# 64 MiB each.
blocks = Bench.scale(64, 16, 1)

Bench.question("large_vm", fn ->
  held = for _ <- 1..blocks, do: :binary.copy(<<7>>, 64 * 1024 * 1024)
  samples = Bench.interleave(Bench.scale(1000, 300, 20), Bench.scale(50, 20, 1), Runs.of_one())
  size = "#{Stats.short(length(held) * 64)} MiB"
  medians = for {side, values} <- samples, do: {side, Stats.median(values)}

  row = [
    what: "latency of `true` in a VM that holds #{size}, median",
    unit: "ms",
    judged: :ratio,
    mark: {:at_most, 0.85}
  ]

  %{
    title: "How long does `true` take in a large VM?",
    text:
      "As for the latency, with #{size} of binaries held and written to. The floor is not in the VM.\n",
    rows: [struct!(Row, medians ++ row)],
    series: Runs.series(samples, "ms"),
    plot:
      Svg.distribution(
        "Runs of true in a VM of #{size} that took at most so long",
        "ms",
        Runs.plotted(samples)
      )
  }
end)
