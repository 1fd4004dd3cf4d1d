# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.GuideTestsTest do
  @moduledoc "The code and the tests that guides show for the reader's own project, each guide in a VM of its own."

  use MuonTrap.Case

  alias MuonTrap.OtherVM

  # What it needs, and how many tests it has.
  @guides [
    {"guides/testing.md", File.read!("test/support/mocks.exs"), 10},
    {"guides/libraries.md", "", 0}
  ]

  for {guide, support, count} <- @guides do
    test "#{guide}: its code runs, and its tests pass" do
      code = [
        "{:ok, _started} = Application.ensure_all_started(:muontrap)\n",
        "ExUnit.start(autorun: false, timeout: 40_000)\n",
        unquote(support),
        blocks(unquote(guide)),
        "%{failures: 0} = result = ExUnit.run()\nIO.puts([\"passed: \", inspect(result.total)])"
      ]

      {output, status} = OtherVM.run(OtherVM.directory(), [], IO.iodata_to_binary(code))
      assert {status, output} == {0, output}
      assert output =~ "passed: #{unquote(count)}\n"
      refute output =~ "warning"
    end
  end

  test "where there is no muontrap, a library falls back to System" do
    [[call, hello] | _] =
      "guides/libraries.md" |> blocks() |> Enum.chunk_every(2, 1) |> Enum.drop(2)

    code = "#{call}\n#{hello}\nIO.inspect(YourLibrary.Command.runner())"

    assert MuonTrap.cmd("elixir", ["-e", code], cd: "/", stderr_to_stdout: true) ==
             {"System\n", 0}
  end

  # What belongs into mix.exs is a function, which only a module can have.
  defp blocks(guide) do
    for [code] <- Regex.scan(~r/^```elixir\n(.*?)^```/ms, File.read!(guide), capture: [1]) do
      if code =~ ~r/^defp /,
        do: "defmodule M#{System.unique_integer([:positive])} do def d, do: deps()\n#{code}end\n",
        else: code <> "\n"
    end
  end
end
