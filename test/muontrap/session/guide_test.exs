# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.GuideTest do
  @moduledoc "The examples of the guide of conversations do what they say: each is run, and its matches are the proof."

  use MuonTrap.Case

  @guide "guides/sessions.md"
  @blocks Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(@guide), capture: :all_but_first)

  for {[code], n} <- Enum.with_index(@blocks, 1) do
    test "example #{n}" do
      # With modules of its own, and in a process of its own, with which its programs end.
      {:ok, _binding} =
        Task.await(
          Task.async(fn -> {:ok, Code.eval_string(unquote(code), [], file: @guide)} end),
          60_000
        )

      for module <- [Frames, Squares], :code.delete(module), do: :code.purge(module)
      refute_received _anything
    end
  end

  test "there are examples" do
    assert length(@blocks) >= 5
  end
end
