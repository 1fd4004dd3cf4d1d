# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.LivebookTest do
  @moduledoc "The notebooks run from top to bottom; each cell asserts by itself what it shows."

  use MuonTrap.Case

  import ExUnit.CaptureIO, only: [with_io: 1]

  setup do
    on_exit(fn ->
      for module <- [Tour, VegaLite, Kino.DataTable] do
        :code.purge(module)
        :code.delete(module)
      end
    end)
  end

  for file <- Path.wildcard("livebooks/*.livemd") do
    test "#{file} runs, and draws with letters where there is no VegaLite" do
      {_values, output} = run(unquote(file))
      assert output =~ "Processes that are left (processes)"
      assert output =~ ~r/^System\.cmd +#+ 4$/m
      assert output =~ ~r/^command: sh -c echo hello; exec sleep 4711, id: \d+, /m
    end

    test "#{file} runs, and plots with VegaLite and Kino" do
      Code.compile_file("test/support/livebook.exs")
      {values, output} = run(unquote(file))
      refute output =~ "#"

      plots = for %{__struct__: VegaLite, spec: spec} <- values, do: spec
      assert length(plots) == 3

      for %{"title" => title, "mark" => "bar"} = plot <- plots do
        %{"x" => {unit, :quantitative}, "y" => {"what", :nominal}} = plot["encoding"]
        values = plot["data"]["values"]
        assert Enum.all?(values, &(is_binary(&1["what"]) and is_integer(&1[unit]))), title
      end

      assert [%{rows: [%{command: "sh -c echo hello; exec sleep 4711", stdout_bytes: 6}]}] =
               for(%{__struct__: Kino.DataTable} = table <- values, do: table)
    end
  end

  # The value of each cell, and what all of them print.
  defp run(file) do
    cells = Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(file), capture: [1])

    with_io(fn ->
      # A cell knows the variables of those above it.
      {values, _bindings} =
        Enum.map_reduce(cells, [], fn [cell], bindings ->
          Code.eval_string(cell, bindings, file: Path.expand(file))
        end)

      values
    end)
  end
end
