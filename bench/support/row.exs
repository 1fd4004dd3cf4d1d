# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Bench.Row do
  @moduledoc """
  A row of the table of results: one number of each side, and the mark that it has to reach.

  What is judged is `:value`, the number of muontrap itself; `:beyond`, what it has more than the other side;
  or its ratio to the other side (`:ratio`) or to the floor (`:floor_ratio`).
  """

  @enforce_keys [:what, :unit]
  defstruct [:what, :unit, :ours, :theirs, :floor, :judged, :mark, :skipped]

  @type mark :: {:at_most, number()} | {:at_least, number()}
  @type t :: %__MODULE__{
          what: String.t(),
          unit: String.t(),
          ours: number() | nil,
          theirs: number() | String.t() | nil,
          floor: number() | nil,
          judged: :value | :beyond | :ratio | :floor_ratio,
          mark: mark(),
          skipped: String.t() | nil
        }

  @doc "A row for what cannot be measured here."
  @spec skipped(String.t(), String.t()) :: t()
  def skipped(what, why), do: %__MODULE__{what: what, unit: "", skipped: why}

  @doc "What is compared with the mark; `nil` if there is nothing to divide by."
  @spec judged(t()) :: number() | nil
  def judged(%{judged: :value} = row), do: row.ours
  def judged(%{judged: :beyond} = row), do: row.ours - row.theirs
  def judged(%{judged: :ratio} = row), do: ratio(row.ours, row.theirs)
  def judged(%{judged: :floor_ratio} = row), do: ratio(row.ours, row.floor)

  @doc "Whether the mark is reached. Two zeros are as good as each other."
  @spec met?(t()) :: boolean()
  def met?(%{mark: {:at_most, most}} = row) do
    case judged(row) do
      nil -> row.ours == 0
      number -> number <= most
    end
  end

  def met?(%{mark: {:at_least, least}} = row) do
    number = judged(row)
    number != nil and number >= least
  end

  defp ratio(_one, other) when other == 0, do: nil
  defp ratio(one, other), do: one / other
end
