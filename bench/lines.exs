# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)

alias Bench.{Programs, Row, Stats, Svg}
alias MuonTrap.Daemon

lines = Bench.scale(1_000_000, 1_000_000, 10_000)
program = Programs.path("write_lines")
args = ["#{lines * 80}", "65536"]
Process.flag(:trap_exit, true)

through_daemon = fn logger_fun, opts ->
  {:ok, daemon} = Daemon.start_link(program, args, [logger_fun: logger_fun] ++ opts)
  receive(do: ({:EXIT, ^daemon, :normal} -> :ok))
end

split = fn split, port ->
  receive do
    {^port, {:data, bytes}} ->
      _lines = :binary.split(bytes, "\n", [:global])
      split.(split, port)

    {^port, {:exit_status, 0}} ->
      :ok
  end
end

through_port = fn ->
  split.(split, Port.open({:spawn_executable, program}, [:binary, :exit_status, args: args]))
end

# Thousands a second.
rate = fn fun -> lines / Bench.ms(fun) end
forget = fn _line -> :ok end

sides = [
  default: fn -> rate.(fn -> through_daemon.(forget, []) end) end,
  wide: fn -> rate.(fn -> through_daemon.(forget, stdio_window: 65_536) end) end,
  port: fn -> rate.(through_port) end,
  floor: fn ->
    [_bytes, ns] = Programs.run("read_pipe", ["65536", program | args])
    lines / ns * 1.0e6
  end
]

name = fn
  :default -> "Daemon"
  :wide -> "Daemon, window of 64 KiB"
  :port -> "bare Port that splits"
  :floor -> "reader of a pipe"
end

# Not while the time counts: counting takes some.
missing = fn opts ->
  counter = :counters.new(1, [])
  through_daemon.(fn <<_::79*8>> -> :counters.add(counter, 1, 1) end, opts)
  lines - :counters.get(counter, 1)
end

Bench.question("lines", fn ->
  samples = Bench.interleave(Bench.scale(11, 5, 1), Bench.scale(1, 1, 0), sides)
  medians = Map.new(samples, fn {side, values} -> {side, Stats.median(values)} end)

  row = fn side, what, least ->
    struct!(Row,
      what: what,
      unit: "k/s",
      ours: medians[side],
      theirs: medians.port,
      floor: medians.floor,
      judged: :ratio,
      mark: {:at_least, least}
    )
  end

  %{
    title: "How fast do lines go through a Daemon?",
    text: """
    #{Stats.short(lines)} lines of 80 bytes in writes of 64 KiB, to a `:logger_fun` that does nothing. The bare Port splits
    what comes with `:binary.split/3` and puts no lines together that come in two pieces. The floor only reads.
    """,
    rows: [
      row.(:default, "lines through a Daemon", 1.0),
      row.(:wide, "the same, window of 64 KiB", 1.2),
      struct!(Row,
        what: "lines that are missing then",
        unit: "",
        ours: missing.([]) + missing.(stdio_window: 65_536),
        judged: :value,
        mark: {:at_most, 0}
      )
    ],
    series: for({side, values} <- samples, do: {name.(side), "k/s", values}),
    plot:
      Svg.bars("Lines per second", "k/s", [
        {"lines of 80 bytes",
         for {side, colour} <- [default: :ours, wide: :variant, port: :theirs, floor: :floor] do
           {colour, name.(side), medians[side]}
         end}
      ])
  }
end)
