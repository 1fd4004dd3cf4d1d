# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Bench.Runs do
  @moduledoc "Runs of `true`, by each side."

  alias Bench.Programs

  @doc "The name of a side."
  @spec name(Bench.side()) :: String.t()
  def name(:ours), do: "MuonTrap.cmd"
  def name(:theirs), do: "System.cmd"
  def name(:floor), do: "posix_spawn and waitpid"

  @doc "For each side a function that runs `true` once and returns how many ms that took."
  @spec of_one() :: keyword((() -> float()))
  def of_one do
    floor = open_floor()

    [
      ours: fn -> Bench.ms(fn -> {"", 0} = MuonTrap.cmd("true", []) end) end,
      theirs: fn -> Bench.ms(fn -> {"", 0} = System.cmd("true", []) end) end,
      floor: fn -> floor |> ask_floor(1, 1) |> elem(0) end
    ]
  end

  @doc "The program that stands for the floor, to be asked."
  @spec open_floor() :: port()
  def open_floor, do: Programs.open("spawn_and_wait", [System.find_executable("true")])

  @doc "So many runs by the floor: how long they took and how much of the processors, in ms."
  @spec ask_floor(port(), pos_integer(), pos_integer()) :: {float(), float()}
  def ask_floor(floor, at_once, runs) do
    [ns, cpu_us] = floor |> Programs.ask("#{at_once} #{runs}") |> Programs.numbers()
    {ns / 1.0e6, cpu_us / 1.0e3}
  end

  @doc "So many runs by a function like `System.cmd/2`, so many of them at once."
  @spec many((String.t(), [String.t()] -> term()), pos_integer(), pos_integer()) :: :ok
  def many(cmd, at_once, runs) do
    1..runs
    |> Task.async_stream(fn _number -> {"", 0} = cmd.("true", []) end,
      max_concurrency: at_once,
      ordered: false,
      timeout: :infinity
    )
    |> Stream.run()
  end

  @doc "What was measured, for a report."
  @spec series(keyword([number()]), String.t()) :: [{String.t(), String.t(), [number()]}]
  def series(samples, unit), do: for({side, values} <- samples, do: {name(side), unit, values})

  @doc "The same for a plot."
  @spec plotted(keyword([number()])) :: [Bench.Svg.series()]
  def plotted(samples), do: for({side, values} <- samples, do: {side, name(side), values})
end
