# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.TroubleshootingTest do
  @moduledoc "What the guide on troubleshooting has one write does what it says."

  use MuonTrap.Case

  import MuonTrap.Daemons, only: [trap_exits: 1]

  @guide "guides/troubleshooting.md"
  @external_resource @guide

  setup :trap_exits

  @blocks Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(@guide), capture: :all_but_first)

  for {[code], number} <- Enum.with_index(@blocks, 1) do
    @code code
    test "block #{number}: #{code |> String.split("\n") |> hd()}" do
      {_result, _binding} = Code.eval_string(@code, [], file: @guide)
    end
  end

  test "there are blocks, and every guide that it names is there" do
    assert length(@blocks) >= 10

    for [_all, name] <- Regex.scan(~r/\]\(([a-z-]+\.md)/, File.read!(@guide)),
        do: assert(File.exists?(Path.join("guides", name)), name)
  end
end
