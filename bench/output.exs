# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/nowhere.exs", __DIR__)

alias Bench.{Nowhere, Programs, Row, Stats, Svg}

nowhere = struct!(Nowhere)
bytes = Bench.scale(1024, 256, 8) * 1024 * 1024
lines = {Programs.path("write_lines"), ["#{bytes}", "65536"]}
head = {"head", ["-c", "#{bytes}", "/dev/zero"]}
rate = fn ms -> bytes / ms / 1000 end

ours = fn {program, args}, opts ->
  fn ->
    rate.(Bench.ms(fn -> {_sink, 0} = MuonTrap.cmd(program, args, [into: nowhere] ++ opts) end))
  end
end

theirs = fn {program, args} ->
  fn -> rate.(Bench.ms(fn -> {_sink, 0} = System.cmd(program, args, into: nowhere) end)) end
end

floor = fn {program, args}, capacity ->
  fn ->
    [^bytes, ns] = Programs.run("read_pipe", ["#{capacity}", program | args])
    rate.(ns / 1.0e6)
  end
end

cases = [
  {"in writes of 64 KiB",
   [ours: ours.(lines, []), theirs: theirs.(lines), floor: floor.(lines, 65_536)], :ratio, 1.0},
  {"from `head`, in writes of 8 KiB",
   [ours: ours.(head, []), theirs: theirs.(head), floor: floor.(head, 65_536)], :ratio, 1.3},
  {"in writes of 64 KiB, window and pipe of 1 MiB",
   [
     ours: ours.(lines, stdio_window: 1_048_576),
     theirs: theirs.(lines),
     floor: floor.(lines, 1_048_576)
   ], :floor_ratio, 0.9}
]

name = fn
  :ours -> "MuonTrap.cmd"
  :theirs -> "System.cmd"
  :floor -> "reader of a pipe"
end

Bench.question("output", fn ->
  measured =
    for {what, sides, judged, least} <- cases do
      samples = Bench.interleave(Bench.scale(9, 3, 1), Bench.scale(1, 1, 0), sides)
      {what, samples, judged, least}
    end

  %{
    title: "How fast does output arrive?",
    text: """
    #{div(bytes, 1024 * 1024)} MiB, into a collectable that forgets them, with the default window unless another is named.
    The floor reads into a buffer, and makes no binaries.
    """,
    rows:
      for {what, samples, judged, least} <- measured do
        medians = for {side, values} <- samples, do: {side, Stats.median(values)}
        row = [what: "output #{what}", unit: "MB/s", judged: judged, mark: {:at_least, least}]
        struct!(Row, medians ++ row)
      end,
    series:
      for(
        {what, samples, _judged, _least} <- measured,
        {side, values} <- samples,
        do: {"#{what}: #{name.(side)}", "MB/s", values}
      ),
    plot:
      Svg.bars(
        "Output per second",
        "MB/s",
        for {what, samples, _judged, _least} <- measured do
          {what |> String.replace("`", "") |> String.replace(", window and pipe of", ", window"),
           for({side, values} <- samples, do: {side, name.(side), Stats.median(values)})}
        end
      )
  }
end)
