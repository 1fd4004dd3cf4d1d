# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/runs.exs", __DIR__)

alias Bench.{Load, Row, Runs, Stats, Svg}

at_once = 16
runs = Bench.scale(3000, 800, 20)

Bench.question("cpu", fn ->
  floor = Runs.open_floor()

  sides =
    for {side, cmd} <- [ours: &MuonTrap.cmd/2, theirs: &System.cmd/2] do
      {side,
       fn ->
         before = Load.own_ms()
         Runs.many(cmd, at_once, runs)
         (Load.own_ms() - before) / runs
       end}
    end

  floor = {:floor, fn -> (floor |> Runs.ask_floor(at_once, runs) |> elem(1)) / runs end}
  samples = Bench.interleave(Bench.scale(7, 3, 1), Bench.scale(1, 1, 0), sides ++ [floor])
  medians = for {side, values} <- samples, do: {side, Stats.median(values)}

  row = [
    what: "time of the processors per run of `true`, #{at_once} at once",
    unit: "ms",
    judged: :value,
    mark: {:at_most, 0.75}
  ]

  %{
    title: "How much of the processors does a run take?",
    text: """
    #{runs} runs of `true` for each measurement, #{at_once} at once: what the VM, its helpers and the programs have used
    by then, user and system.
    """,
    rows: [struct!(Row, medians ++ row)],
    series: Runs.series(samples, "ms"),
    plot:
      Svg.bars("Time of the processors per run of true", "ms", [
        {"#{at_once} at once",
         for({side, median} <- medians, do: {side, Runs.name(side), median})}
      ])
  }
end)
