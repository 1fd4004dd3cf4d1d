# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/death.exs", __DIR__)

alias Bench.{Death, Programs, Row, Stats, Svg}

sleep = System.find_executable("sleep")
args = ["600"]

name = fn
  :ours -> "owner killed"
  :floor -> "SIGKILL to the program"
end

Bench.question("owner_killed", fn ->
  watcher = Programs.open("watch", [])

  sides = [
    ours: fn -> Death.of_owner(watcher, sleep, args, []) end,
    floor: fn -> Death.of_processes(watcher, sleep, args, fn _port -> :ok end) end
  ]

  samples = Bench.interleave(Bench.scale(1000, 200, 5), Bench.scale(20, 20, 1), sides)

  row = fn part, what, most ->
    numbers = for {side, values} <- samples, do: {side, Stats.percentile(values, part)}
    row = [what: what, unit: "ms", theirs: "never", judged: :value, mark: {:at_most, most}]
    struct!(Row, numbers ++ row)
  end

  %{
    title: "How soon is a program gone when its owner is killed?",
    text: """
    A Daemon that runs `sleep` gets `Process.exit(daemon, :kill)`, and another program watches the process of the `sleep`. With
    `System.cmd` and bare Ports it goes on. The floor is the watcher killing it.
    """,
    rows: [
      row.(50, "owner killed, program gone, median", 0.25),
      row.(99, "the same, p99", 0.5)
    ],
    series: for({side, values} <- samples, do: {name.(side), "ms", values}),
    plot:
      Svg.distribution(
        "Programs that were gone after so long at most",
        "ms",
        for({side, values} <- samples, do: {side, name.(side), values})
      )
  }
end)
