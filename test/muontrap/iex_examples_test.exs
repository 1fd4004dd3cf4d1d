# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.IexExamplesTest do
  @moduledoc "What the guides show in iex is what comes of it."

  use MuonTrap.Case

  @files Path.wildcard("guides/*.{md,cheatmd}")

  # {line, code, what is shown} of each prompt; nothing is shown of those that others follow at once.
  defp prompts(file) do
    for [block] <- Regex.scan(~r/^```elixir\n(iex> .*?)^```/ms, File.read!(file), capture: [1]),
        [prompt, shown] <-
          Regex.scan(~r/((?:^(?:iex|\.\.\.)>[^\n]*\n)+)((?:(?!iex>|\n).*\n)*)/m, block,
            capture: [1, 2]
          ) do
      {Regex.replace(~r/^(iex|\.\.\.)> ?/m, prompt, ""), shown}
    end
  end

  for file <- @files do
    test "#{file} shows what happens" do
      for {code, shown} <- prompts(unquote(file)), reduce: [] do
        bindings ->
          {value, bindings} = Code.eval_string(code, bindings)
          if shown != "", do: assert({code, value} == {code, elem(Code.eval_string(shown), 0)})
          bindings
      end
    end
  end

  test "there are examples to run" do
    assert @files |> Enum.map(&length(prompts(&1))) |> Enum.sum() > 20
  end
end
