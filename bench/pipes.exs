# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/nowhere.exs", __DIR__)

alias Bench.{Nowhere, Row, Stats, Svg}

nowhere = struct!(Nowhere)
bytes = Bench.scale(1024, 256, 8) * 1024 * 1024
head = ["-c", "#{bytes}", "/dev/zero"]
rate = fn fun -> bytes / Bench.ms(fun) / 1000 end

# What arrives in the VM at the end of so many programs, counted there.
shell = fn cats ->
  line = Enum.join(["head -c #{bytes} /dev/zero" | List.duplicate("cat", cats)], " | ")
  fn -> rate.(fn -> {_sink, 0} = System.cmd("/bin/sh", ["-c", line], into: nowhere) end) end
end

# `between` is what Elixir does behind each program.
stream = fn opts, between ->
  pipe = &(&1 |> MuonTrap.pipe!("cat", [], opts) |> between.())
  count = &Enum.reduce(&1, 0, fn piece, sum -> byte_size(piece) + sum end)

  fn ->
    rate.(fn ->
      ^bytes =
        MuonTrap.stream!("head", head, opts) |> between.() |> pipe.() |> pipe.() |> count.()
    end)
  end
end

look = fn stream -> Stream.map(stream, & &1) end

sides = [
  joined: stream.([], & &1),
  through: stream.([], look),
  narrow: stream.([stdio_window: 10_240], look),
  shell: shell.(2),
  # Where the VM stands between two programs there is another program: nothing that passes bytes on does less.
  relayed: shell.(4)
]

name = fn
  :joined -> "pipe!, joined in the kernel"
  :through -> "pipe!, through the VM"
  :narrow -> "through the VM, window of 10 KB"
  :shell -> "the shell's pipeline"
  :relayed -> "the shell's, with two relays"
end

Bench.question("pipes", fn ->
  samples = Bench.interleave(Bench.scale(9, 5, 1), Bench.scale(1, 1, 0), sides)
  medians = Map.new(samples, fn {side, values} -> {side, Stats.median(values)} end)

  row = fn side, what ->
    struct!(Row,
      what: what,
      unit: "MB/s",
      ours: medians[side],
      theirs: medians.shell,
      floor: medians.relayed,
      judged: :ratio,
      mark: {:at_least, 0.7}
    )
  end

  %{
    title: "How fast does a pipeline pass?",
    text: """
    #{div(bytes, 1024 * 1024)} MiB by `head | cat | cat` and from there into the VM, which forgets them. The shell runs the same below
    `System.cmd/3`. Through the VM, a function of `Stream` looks at each piece behind each program. The floor is the
    pipeline of the shell with one more `cat` in each of the two places where the VM is then: a relay that does
    nothing else.
    """,
    rows: [
      row.(:joined, "pipeline of three, joined in the kernel"),
      row.(:through, "the same, through the VM")
    ],
    series: for({side, values} <- samples, do: {name.(side), "MB/s", values}),
    plot:
      Svg.bars("Pipelines", "MB/s", [
        {"three programs",
         for {side, colour} <- [
               joined: :ours,
               through: :variant,
               shell: :theirs,
               relayed: :floor
             ] do
           {colour, name.(side), medians[side]}
         end}
      ])
  }
end)
