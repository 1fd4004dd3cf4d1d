# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Bench.Stats do
  @moduledoc "What is said about a list of measurements."

  @doc "The value below which `part` per cent of a list are."
  @spec percentile([number()], number()) :: number()
  def percentile(values, part) do
    sorted = Enum.sort(values)
    Enum.at(sorted, min(trunc(length(sorted) * part / 100), length(sorted) - 1))
  end

  @doc "The middle one."
  @spec median([number()]) :: number()
  def median(values), do: percentile(values, 50)

  @doc "How far apart the middle half is."
  @spec spread([number()]) :: number()
  def spread(values), do: percentile(values, 75) - percentile(values, 25)

  @doc "A number with three digits that mean something."
  @spec short(number()) :: String.t()
  def short(number) when is_integer(number), do: grouped(number)
  def short(number) when abs(number) >= 99.95, do: number |> round() |> grouped()
  def short(number) when abs(number) >= 9.995, do: :erlang.float_to_binary(number, decimals: 1)
  def short(number), do: :erlang.float_to_binary(number, decimals: 2)

  defp grouped(number) when number < 0, do: "-" <> grouped(-number)

  defp grouped(number),
    do: number |> Integer.to_string() |> String.replace(~r/\B(?=(\d{3})+$)/, ",")
end
