# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Top.View do
  @moduledoc false
  # How the table is to be shown, and what was said in answer to the last line.

  @sorts [:cpu, :memory, :output, :uptime, :name]
  @least_ms 200

  defstruct sort: :cpu, reversed: false, tree: false, interval_ms: 2_000, message: nil, rows: nil

  @type t :: %__MODULE__{
          sort: :cpu | :memory | :output | :uptime | :name,
          reversed: boolean(),
          tree: boolean(),
          interval_ms: pos_integer(),
          message: String.t() | nil,
          rows: nil | :infinity
        }

  @spec new(keyword()) :: t()
  def new(opts) do
    for {key, value} <- opts, not valid?(key, value) do
      raise ArgumentError,
            "expected once: and tree: as booleans, interval_ms: from #{@least_ms} on, " <>
              "sort: one of #{inspect(@sorts)}, got: #{inspect([{key, value}])}"
    end

    struct!(__MODULE__, opts)
  end

  defp valid?(:sort, value), do: value in @sorts
  defp valid?(:tree, value), do: is_boolean(value)
  defp valid?(:interval_ms, value), do: is_integer(value) and value >= @least_ms
  defp valid?(_key, _value), do: false

  @spec change(t(), term()) :: t()
  def change(%{sort: same} = view, {:sort, same}), do: %{view | reversed: not view.reversed}
  def change(view, {:sort, other}), do: %{view | sort: other, reversed: false}
  def change(view, :tree), do: %{view | tree: not view.tree}
  def change(view, {:interval_ms, ms}), do: %{view | interval_ms: max(ms, @least_ms)}
  def change(view, :draw), do: view
  def change(view, {:unknown, text}), do: %{view | message: "unknown: #{text}"}
end
