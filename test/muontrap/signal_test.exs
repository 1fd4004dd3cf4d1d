# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.SignalTest do
  use ExUnit.Case, async: true

  alias MuonTrap.Signal

  doctest Signal

  test "names the numbers that the system's kill names" do
    {names, 0} = System.cmd("sh", ["-c", "for n in $(seq 1 31); do kill -l $n; done"])

    # dash has no name for SIGSTKFLT and prints its number.
    for {name, number} <- names |> String.split() |> Enum.with_index(1), name != "16" do
      name = String.to_atom("sig" <> String.downcase(name))
      assert Signal.number(name) == {:ok, number}
    end
  end

  test "gives each number its name and back" do
    for number <- 1..64, do: assert(Signal.number!(Signal.name(number)) == number)
  end

  test "refuses what is no signal" do
    for other <- [0, 65, -1, 15.0, :term, :SIGTERM, "sigterm", nil] do
      assert Signal.number(other) == :error

      assert_raise ArgumentError, ~r/from 1 to 64.*, got: #{Regex.escape(inspect(other))}$/, fn ->
        Signal.number!(other)
      end
    end
  end

  test "says which signal was probably meant" do
    for other <- [:term, :SIGTERM, "sigterm", "TERM"] do
      assert_raise ArgumentError, ~r/; did you mean :sigterm\?, got: /, fn ->
        Signal.number!(other)
      end
    end
  end
end
