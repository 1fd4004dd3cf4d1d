# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Bench.Programs do
  @moduledoc "The programs of `native/bench_programs`, and those of the tests that serve here too."

  @doc "The path of a program."
  @spec path(String.t()) :: Path.t()
  def path(name), do: Path.join(System.fetch_env!("BENCH_PROGRAMS"), name)

  @doc "Runs one to its end, and returns the numbers that it writes."
  @spec run(String.t(), [String.t()]) :: [integer()]
  def run(name, args) do
    {output, 0} = System.cmd(path(name), args)
    numbers(output)
  end

  @doc "Starts one that answers lines with lines."
  @spec open(String.t(), [String.t()]) :: port()
  def open(name, args),
    do: Port.open({:spawn_executable, path(name)}, [:binary, line: 1000, args: args])

  @doc "Gives one a line, and returns its answer."
  @spec ask(port(), String.t()) :: String.t()
  def ask(port, line) do
    Port.command(port, [line, ?\n])
    answer(port)
  end

  @doc "The next answer."
  @spec answer(port()) :: String.t()
  def answer(port) do
    receive do
      {^port, {:data, {:eol, answer}}} -> answer
    after
      60_000 -> raise "no answer from a program of the benchmark"
    end
  end

  @doc "The numbers in a text."
  @spec numbers(String.t()) :: [integer()]
  def numbers(text), do: text |> String.split() |> Enum.map(&String.to_integer/1)
end
