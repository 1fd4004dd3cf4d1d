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
end
