# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.LivebookTest do
  @moduledoc "The notebooks run from top to bottom; each cell asserts by itself what it shows."

  use MuonTrap.Case

  import ExUnit.CaptureIO, only: [capture_io: 1]

  for file <- Path.wildcard("livebooks/*.livemd") do
    test "#{file} runs, and draws with letters where there is no VegaLite" do
      cells =
        Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(unquote(file)), capture: :all_but_first)

      output = capture_io(fn -> run(List.flatten(cells), unquote(file)) end)
      assert output =~ "Processes that are left (processes)"
      assert output =~ ~r/^System\.cmd +#+ 4$/m
    after
      :code.purge(Tour)
      :code.delete(Tour)
    end
  end

  defp run(cells, file) do
    # A cell knows the variables of those above it.
    Enum.reduce(cells, [], fn cell, bindings ->
      {_value, bindings} = Code.eval_string(cell, bindings, file: Path.expand(file))
      bindings
    end)
  end
end
