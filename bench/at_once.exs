# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/runs.exs", __DIR__)

alias Bench.{Row, Runs, Stats, Svg}

runs = Bench.scale(2000, 400, 20)

Bench.question("at_once", fn ->
  floor = Runs.open_floor()
  per_second = fn ms -> runs / ms * 1000 end

  measured =
    for at_once <- [2, 16, 64] do
      sides =
        for {side, cmd} <- [ours: &MuonTrap.cmd/2, theirs: &System.cmd/2],
            do: {side, fn -> per_second.(Bench.ms(fn -> Runs.many(cmd, at_once, runs) end)) end}

      floor = {:floor, fn -> per_second.(floor |> Runs.ask_floor(at_once, runs) |> elem(0)) end}
      {at_once, Bench.interleave(Bench.scale(7, 3, 1), Bench.scale(1, 1, 0), sides ++ [floor])}
    end

  rows =
    for {at_once, samples} <- measured do
      medians = for {side, values} <- samples, do: {side, Stats.median(values)}

      row = [
        what: "runs of `true` per second, #{at_once} at once",
        unit: "/s",
        judged: :ratio,
        mark: {:at_least, 1.6}
      ]

      struct!(Row, medians ++ row)
    end

  bars =
    for {at_once, samples} <- measured do
      {"#{at_once} at once",
       for({side, values} <- samples, do: {side, Runs.name(side), Stats.median(values)})}
    end

  %{
    title: "How many runs per second, with many at once?",
    text: "#{runs} runs of `true` for each measurement.\n",
    rows: rows,
    series:
      for(
        {at_once, samples} <- measured,
        {side, values} <- samples,
        do: {"#{at_once} at once, #{Runs.name(side)}", "/s", values}
      ),
    plot: Svg.bars("Runs of true per second", "/s", bars)
  }
end)
