# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/runs.exs", __DIR__)

alias Bench.{Row, Runs, Stats, Svg}

Bench.question("latency", fn ->
  samples = Bench.interleave(Bench.scale(3000, 600, 20), Bench.scale(100, 50, 1), Runs.of_one())

  row = fn part, what, most ->
    numbers = for {side, values} <- samples, do: {side, Stats.percentile(values, part)}
    struct!(Row, numbers ++ [what: what, unit: "ms", judged: :ratio, mark: {:at_most, most}])
  end

  %{
    title: "How long does `true` take?",
    text: "One after the other, from the call to its return.\n",
    rows: [row.(50, "latency of `true`, median", 0.70), row.(99, "the same, p99", 0.8)],
    series: Runs.series(samples, "ms"),
    plot: Svg.distribution("Runs of true that took at most so long", "ms", Runs.plotted(samples))
  }
end)
