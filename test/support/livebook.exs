# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# Stand in for the libraries of these names, as far as the notebooks use them. Loaded by one test alone.

defmodule VegaLite do
  @moduledoc "A plot, as the specification that the real one makes of it."

  defstruct spec: %{}

  def new(opts), do: put(%VegaLite{}, Map.new(opts, fn {key, value} -> {"#{key}", value} end))

  def data_from_values(plot, values), do: put(plot, %{"data" => %{"values" => values}})

  def mark(plot, type), do: put(plot, %{"mark" => "#{type}"})

  def encode_field(plot, channel, field, opts) do
    encoding = Map.put(plot.spec["encoding"] || %{}, "#{channel}", {field, opts[:type]})
    put(plot, %{"encoding" => encoding})
  end

  defp put(plot, more), do: %{plot | spec: Map.merge(plot.spec, more)}
end

defmodule Kino.DataTable do
  @moduledoc "A table, as its rows."

  defstruct [:rows]

  def new(rows), do: %Kino.DataTable{rows: rows}
end
