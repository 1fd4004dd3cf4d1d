# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/held.exs", __DIR__)
Code.require_file("support/runs.exs", __DIR__)

alias Bench.{Held, Row, Runs, Stats, Svg}

live = Bench.scale(5000, 1000, 20)
runs = Bench.scale(500, 200, 10)

name = fn
  {:ours, 0} -> "MuonTrap.cmd, none live"
  {:ours, _live} -> "MuonTrap.cmd, #{Stats.short(live)} Daemons live"
  {:theirs, 0} -> "System.cmd, none live"
  {:theirs, _live} -> "System.cmd, #{Stats.short(live)} bare Ports live"
end

Bench.question("live", fn ->
  one = Runs.of_one()
  several = fn side -> for _ <- 1..runs, do: one[side].() end

  # Both beside the same company: none, then many of its own kind.
  beside = fn side, kind ->
    none = several.(side)
    held = Held.start(kind, live)
    _settling = several.(side)
    many = several.(side)
    Held.stop(held)
    %{0 => none, live => many}
  end

  rounds = Bench.scale(3, 2, 1)

  sides = [ours: fn -> beside.(:ours, :daemon) end, theirs: fn -> beside.(:theirs, :port) end]
  measured = Bench.interleave(rounds, 0, sides)

  samples =
    for {side, rounds} <- measured,
        count <- [0, live],
        do: {{side, count}, Enum.flat_map(rounds, & &1[count])}

  medians = Map.new(samples, fn {key, values} -> {key, Stats.median(values)} end)

  %{
    title: "Do many live commands slow down a new one?",
    text: """
    The latency of `true` with #{Stats.short(live)} commands live, divided by that with none. Beside `MuonTrap.cmd` these are
    Daemons, beside `System.cmd` bare Ports.
    """,
    rows: [
      struct!(Row,
        what: "latency with #{Stats.short(live)} commands live ÷ with none, median",
        unit: "",
        ours: medians[{:ours, live}] / medians[{:ours, 0}],
        theirs: medians[{:theirs, live}] / medians[{:theirs, 0}],
        judged: :value,
        mark: {:at_most, 1.05}
      )
    ],
    series: for({key, values} <- samples, do: {name.(key), "ms", values}),
    plot:
      Svg.bars(
        "Latency of true, median",
        "ms",
        for count <- [0, live] do
          {"#{Stats.short(count)} live",
           for(side <- [:ours, :theirs], do: {side, Runs.name(side), medians[{side, count}]})}
        end
      )
  }
end)
