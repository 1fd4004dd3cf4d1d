# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# How fast are lines found? One million lines of 80 bytes, in chunks as a pipe gives them; the rate of
# :binary.split/3 alone is the limit.
#
#     mix run bench/line_buffer.exs

alias MuonTrap.LineBuffer

defmodule Bench do
  @bytes 80_000_000

  def chunks(line, size) do
    block = :binary.copy(line, 80)
    text = :binary.copy(block, div(size * 4, byte_size(block)) + 1)
    for at <- 0..3, do: binary_part(text, at * size, size)
  end

  def run(name, size, chunks, fun) do
    rounds = div(@bytes, size * length(chunks))
    rate = Enum.max(for _ <- 1..3, do: measure(rounds, chunks, fun))
    IO.puts("#{String.pad_trailing(name, 36)} #{size} B: #{round(rate)} MB/s")
  end

  defp measure(rounds, chunks, fun) do
    {us, _acc} = :timer.tc(fn -> Enum.each(1..rounds, fn _ -> fun.(chunks) end) end)
    rounds * Enum.sum(Enum.map(chunks, &byte_size/1)) / us
  end
end

push = fn opts ->
  fn chunks ->
    Enum.reduce(chunks, LineBuffer.new(opts), fn chunk, buffer ->
      {_lines, buffer} = LineBuffer.push(buffer, chunk)
      buffer
    end)
  end
end

ascii = String.duplicate("x", 79) <> "\n"

inputs = [
  {"text, ASCII", ascii, []},
  {"text, ASCII, invalid: :keep", ascii, [invalid: :keep]},
  {"raw", ascii, [mode: :raw]},
  {"text, ASCII, \\r\\n", String.duplicate("x", 78) <> "\r\n", []},
  {"text, UTF-8 of two bytes", String.duplicate("é", 39) <> "x\n", []},
  {"text, a progress bar", String.duplicate("x", 79) <> "\r", []},
  {"text, 800-byte pieces of one line", String.duplicate("x", 80), [max: 800]},
  {"text, an invalid byte per line", String.duplicate("x", 78) <> <<0xFF, "\n">>, []},
  {"text, invalid bytes only", String.duplicate(<<0xFF>>, 79) <> "\n", []},
  {"text, empty lines", "\n", []}
]

for size <- [10_240, 65_536] do
  Bench.run(":binary.split/3 alone", size, Bench.chunks(ascii, size), fn chunks ->
    Enum.each(chunks, &:binary.split(&1, "\n", [:global]))
  end)

  for {name, line, opts} <- inputs,
      do: Bench.run(name, size, Bench.chunks(line, size), push.(opts))
end
