# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Generators do
  @moduledoc """
  Random values and a loop over them, for property tests without a dependency.

  Generators are functions that draw from the process's `:rand`. Each case has a seed of its own, printed when
  the case fails; `MUONTRAP_SEED=<seed>` runs that case first.

      check(fn -> bytes(100) end, fn bytes -> assert decode(encode(bytes)) == bytes end)
  """

  @doc """
  Draws a value `runs` times and calls `property` with it, which has to raise to fail.

  Options: `:runs` (1,000 by default).
  """
  @spec check((() -> value), (value -> term()), keyword()) :: :ok when value: term()
  def check(generator, property, opts \\ []) do
    first = first_seed()

    for seed <- first..(first + Keyword.get(opts, :runs, 1_000) - 1) do
      :rand.seed(:exsss, seed)
      value = generator.()

      try do
        property.(value)
      rescue
        error ->
          IO.puts(:stderr, "MUONTRAP_SEED=#{seed} fails with #{inspect(value, limit: 200)}")
          reraise error, __STACKTRACE__
      end
    end

    :ok
  end

  defp first_seed do
    case System.get_env("MUONTRAP_SEED") do
      nil -> :erlang.phash2(make_ref()) + System.system_time()
      seed -> String.to_integer(seed)
    end
  end

  @doc "An integer of the range."
  @spec int(Range.t()) :: integer()
  def int(range), do: range.first + :rand.uniform(range.last - range.first + 1) - 1

  @doc "An element of the list."
  @spec one_of([value, ...]) :: value when value: term()
  def one_of(list), do: Enum.at(list, :rand.uniform(length(list)) - 1)

  @doc "A list of up to `max` values of the generator."
  @spec list((() -> value), non_neg_integer()) :: [value] when value: term()
  def list(generator, max), do: for(_ <- 1..int(0..max)//1, do: generator.())

  @doc "A binary of up to `max` bytes, any of them."
  @spec bytes(non_neg_integer()) :: binary()
  def bytes(max), do: :rand.bytes(int(0..max))

  @doc "Output as programs write it, up to `max` parts: words, line ends, characters, and pieces of those."
  @spec output(non_neg_integer()) :: binary()
  def output(max), do: fn -> output_part() end |> list(max) |> IO.iodata_to_binary()

  defp output_part do
    case int(1..8) do
      1 -> "\n"
      2 -> "\r"
      3 -> "\r\n"
      4 -> bytes(4)
      5 -> one_of(["é", "€", "𝄞", "\uFFFD"])
      6 -> ["é", "€", "𝄞"] |> one_of() |> truncate()
      _ -> String.duplicate("a", int(0..12))
    end
  end

  defp truncate(bytes), do: binary_part(bytes, 0, int(1..(byte_size(bytes) - 1)))

  @doc "The binary in random chunks, some of them empty."
  @spec chunks(binary()) :: [binary()]
  def chunks(""), do: []

  def chunks(bytes) do
    size = int(0..min(byte_size(bytes), one_of([1, 3, 20, 1_000])))
    rest = binary_part(bytes, size, byte_size(bytes) - size)
    [binary_part(bytes, 0, size) | chunks(rest)]
  end
end
