# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Case do
  @moduledoc """
  The case of tests that run programs: each begins with nothing there and fails if it leaves something,
  whatever else happens in it.

  A test has to end what it starts itself, also when it is killed for its time: by a link to the test, by
  `start_supervised/1`, or by `on_exit/1`. What it leaves nevertheless is ended here, so that it fails alone.
  """

  use ExUnit.CaseTemplate

  alias MuonTrap.Leftovers

  using do
    quote do
      import MuonTrap.Case, only: [within_time: 1]
    end
  end

  @doc """
  Tests what happens when a time is over that is long enough for something else to happen first. How long that
  takes is up to the machine: `fun` gets a time in milliseconds, and a longer one when it returns nil for one that was too short.
  """
  @spec within_time((pos_integer() -> result | nil)) :: result when result: term()
  def within_time(fun) do
    Enum.find_value([300, 3_000, 30_000], fun) ||
      raise ExUnit.AssertionError, message: "no time was long enough"
  end

  @doc """
  The part of all these cases that this run is asked for by `MUONTRAP_TEST_PART`, "0/4" to "3/4" for a quarter; all of
  them if it is not set. `test/stage` has one part in one machine and another in the next.
  """
  @spec part([element]) :: [element] when element: term()
  def part(all) do
    case System.get_env("MUONTRAP_TEST_PART") do
      nil ->
        all

      text ->
        [part, parts] = text |> String.split("/") |> Enum.map(&String.to_integer/1)
        Enum.filter(all, &(:erlang.phash2(&1, parts) == part))
    end
  end

  # The first setup of all, so its end is the last.
  setup context do
    test = "#{inspect(context.module)} #{context.test}"
    Leftovers.begin(test)
    on_exit(fn -> Leftovers.finish(test) end)
  end
end
