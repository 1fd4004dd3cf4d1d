# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

for file <- ~w(stats load programs row svg report), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench do
  @moduledoc """
  A question of the benchmark. `bin/bench` runs each in a VM of its own and says in the environment how much is to
  be measured (`BENCH_SCALE`), where the results go (`BENCH_OUT`) and where the programs are (`BENCH_PROGRAMS`).
  """

  alias Bench.{Load, Report}

  @type side :: :ours | :theirs | :floor

  @doc """
  Answers a question. The function returns a map:

    * `:title` - the question
    * `:text` - how it was measured, in Markdown
    * `:rows` - `Bench.Row`s for the table of all results
    * `:series` - `{name, unit, values}` of all that was measured
    * `:plot` - an SVG
  """
  @spec question(String.t(), (() -> map())) :: :ok
  def question(name, measure) do
    {answer, foreign} = Load.during(measure)

    answer =
      Map.merge(answer, %{
        name: name,
        foreign: foreign,
        machine: Report.machine(),
        revision: System.fetch_env!("BENCH_REVISION"),
        scale: scale(),
        day: Date.utc_today()
      })

    file = Path.join([System.fetch_env!("BENCH_OUT"), "answers", name])
    File.mkdir_p!(Path.dirname(file))
    File.write!(file, :erlang.term_to_binary(answer))
    IO.puts([Report.table([answer]), ?\n, Report.section(answer)])
  end

  @doc "The number for a full run, for a quick one, or for one that shows only that all this works."
  @spec scale(value, value, value) :: value when value: term()
  def scale(full, quick, tiny),
    do: Keyword.fetch!([full: full, quick: quick, tiny: tiny], scale())

  defp scale, do: "BENCH_SCALE" |> System.fetch_env!() |> String.to_existing_atom()

  @doc """
  Measures all sides in turn, so that what happens to the machine happens to each, after `warm` rounds that do not
  count. A side is a function that returns what it measured.
  """
  @spec interleave(pos_integer(), non_neg_integer(), keyword((() -> value))) :: keyword([value])
        when value: term()
  def interleave(rounds, warm, sides) do
    for _ <- 1..warm//1, {_name, measure} <- sides, do: measure.()

    rounds =
      for round <- 1..rounds do
        # Nobody always follows the same one.
        order = if rem(round, 2) == 0, do: sides, else: Enum.reverse(sides)
        Map.new(order, fn {name, measure} -> {name, measure.()} end)
      end

    for {name, _measure} <- sides, do: {name, Enum.map(rounds, & &1[name])}
  end

  @doc "How long a function takes, in ms."
  @spec ms((() -> term())) :: float()
  def ms(fun) do
    start = System.monotonic_time()
    _value = fun.()
    System.convert_time_unit(System.monotonic_time() - start, :native, :nanosecond) / 1.0e6
  end

  @doc "Polls until a condition holds."
  @spec await((() -> boolean())) :: :ok
  def await(condition, patience_ms \\ 60_000) do
    cond do
      condition.() -> :ok
      patience_ms < 0 -> raise "this does not happen"
      true -> receive(after: (5 -> await(condition, patience_ms - 5)))
    end
  end
end
