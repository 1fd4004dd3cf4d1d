# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/runs.exs", __DIR__)

alias Bench.{Programs, Row, Runs, Svg}

long_ms = 3

Bench.question("busy_loop", fn ->
  loop = Programs.open("burn", [])
  "ready" = Programs.answer(loop)
  {:os_pid, pid} = Port.info(loop, :os_pid)
  samples = Bench.interleave(Bench.scale(3000, 400, 20), Bench.scale(50, 20, 1), Runs.of_one())
  {"", 0} = System.cmd("kill", ["#{pid}"])

  shares =
    for {side, values} <- samples,
        do: {side, Enum.count(values, &(&1 > long_ms)) / length(values) * 100}

  row = [
    what: "runs of `true` over #{long_ms} ms beside a busy loop",
    unit: "%",
    judged: :ratio,
    mark: {:at_most, 1}
  ]

  %{
    title: "How many runs are late beside a busy loop?",
    text: "As for the latency, while another program keeps one processor busy all the time.\n",
    rows: [struct!(Row, shares ++ row)],
    series: Runs.series(samples, "ms"),
    plot:
      Svg.distribution(
        "Runs of true beside a busy loop that took at most so long",
        "ms",
        Runs.plotted(samples)
      )
  }
end)
