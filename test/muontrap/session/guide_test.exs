# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.GuideTest do
  @moduledoc "The examples of the guide of conversations do what they say: each is run, and its matches are the proof."

  use MuonTrap.Case

  alias MuonTrap.Cgroups

  @guide "guides/sessions.md"
  @blocks Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(@guide), capture: :all_but_first)

  for {[code], n} <- Enum.with_index(@blocks, 1) do
    if code =~ "python3", do: @tag(needs: "python3")

    test "example #{n}", context do
      if possible?(context[:needs]), do: run(unquote(code))
    end
  end

  defp possible?(nil), do: true

  defp possible?(program),
    do: System.find_executable(program) != nil or Cgroups.announce("there is no #{program}")

  # With modules of its own, and in a process of its own, with which its programs end.
  defp run(code) do
    task = Task.async(fn -> {:ok, Code.eval_string(code, [], file: @guide)} end)
    {:ok, _binding} = Task.await(task, 60_000)
    for module <- [Frames, Squares], :code.delete(module), do: :code.purge(module)
    refute_received _anything
  end

  test "there are examples" do
    assert length(@blocks) >= 5
  end
end
