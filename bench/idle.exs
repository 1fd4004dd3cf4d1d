# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/held.exs", __DIR__)

alias Bench.{Held, Load, Row, Stats, Svg}

count = Bench.scale(1000, 1000, 20)
seconds = Bench.scale(60, 10, 1)
# Less than a tick of the clock is nothing: the VM has work of its own.
most_ms = 10

# The VM is the last to be read at first and the first at the end, so that reading does not count.
used = fn helpers ->
  others = Load.threads_ms(helpers)
  vm = Load.threads_ms([Load.own_pid()])
  receive(after: (seconds * 1000 -> :ok))
  vm = Load.threads_ms([Load.own_pid()]) - vm
  vm + Load.threads_ms(helpers) - others
end

beside = fn kind ->
  held = Held.start(kind, count)
  programs = MapSet.new(held, &Held.os_pid/1)
  # What the start has left to do.
  receive(after: (1000 -> :ok))
  ms = used.(Enum.reject(Load.below(), &(&1 in programs)))
  Held.stop(held)
  ms
end

Bench.question("idle", fn ->
  sides = [
    floor: fn -> used.(Load.below()) end,
    theirs: fn -> beside.(:port) end,
    ours: fn -> beside.(:daemon) end
  ]

  [{:floor, none}, {:theirs, ports}, {:ours, daemons}] = Bench.interleave(1, 0, sides)
  [none_ms, ports_ms, daemons_ms] = Enum.map([none, ports, daemons], &Stats.median/1)
  names = [ours: "Daemons", theirs: "bare Ports", floor: "no command"]

  %{
    title: "What do idle commands cost?",
    text: """
    All threads of the VM and its helpers in #{seconds} seconds with #{Stats.short(count)} programs that sleep. Less than
    #{most_ms} ms more than with bare Ports, a tick of the clock, is taken for none.
    """,
    rows: [
      struct!(Row,
        what: "time of the processors in #{seconds} s with #{Stats.short(count)} idle commands",
        unit: "ms",
        ours: daemons_ms,
        theirs: ports_ms,
        floor: none_ms,
        judged: :beyond,
        mark: {:at_most, most_ms}
      )
    ],
    series: [
      {names[:ours], "ms", daemons},
      {names[:theirs], "ms", ports},
      {names[:floor], "ms", none}
    ],
    plot:
      Svg.bars("Time of the processors in #{seconds} s", "ms", [
        {"#{Stats.short(count)} idle commands",
         [
           {:ours, names[:ours], daemons_ms},
           {:theirs, names[:theirs], ports_ms},
           {:floor, names[:floor], none_ms}
         ]}
      ])
  }
end)
