# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ExamplesTest do
  @moduledoc "The examples of README and guides are code that parses, and calls that are accepted."

  use MuonTrap.Case

  alias MuonTrap.{Daemon, Options}

  @files ["README.md" | Path.wildcard("{guides,livebooks}/*.{md,cheatmd,livemd}")]

  defp blocks(file) do
    for [_all, code] <- Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(file)),
        not String.contains?(code, "iex>"),
        do: Code.string_to_quoted!(code)
  end

  defp children(quoted) do
    {_quoted, found} =
      Macro.prewalk(quoted, [], fn
        {{:__aliases__, _, [:MuonTrap, :Daemon]}, args} = child, found when is_list(args) ->
          {child, [args | found]}

        other, found ->
          {other, found}
      end)

    for args <- found, do: args |> Code.eval_quoted() |> elem(0)
  end

  test "every example parses, and every child is one that a supervisor can start" do
    all = for file <- @files, block <- blocks(file), args <- children(block), do: args
    # The web server of the README and those of the guide on supervision.
    assert length(all) >= 5

    for args <- all do
      assert %{start: {Daemon, :start_link, [command, args, opts]}} = Daemon.child_spec(args)
      assert %{command: ^command} = Options.validate!(:daemon, command, args, opts)
    end
  end

  test "the examples of iex in README give what it says" do
    examples = Regex.scan(~r/^iex> (.+)\n(\{.*\})/m, File.read!("README.md"))
    assert length(examples) >= 3

    for [_all, code, result] <- examples do
      assert Code.eval_string(code) |> elem(0) == Code.eval_string(result) |> elem(0)
    end
  end

  test "the result that README shows is one" do
    # Different each time.
    varying = [:os_pid, :usage, :duration_ms]

    [[_all, code, result]] =
      Regex.scan(~r/^iex> ([^\n]+)\n(%MuonTrap\.Result\{.*?^\})/ms, File.read!("README.md"))

    {result, _binding} = Code.eval_string(result)
    {real, _binding} = Code.eval_string(code)
    assert Map.drop(real, varying) == Map.drop(result, varying)
    assert Map.keys(real.usage) == Map.keys(result.usage)
  end
end
