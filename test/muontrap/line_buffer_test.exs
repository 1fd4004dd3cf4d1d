# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.LineBufferTest do
  use ExUnit.Case, async: true

  import MuonTrap.Generators

  alias MuonTrap.LineBuffer

  doctest LineBuffer

  @runs 10_000

  defp lines(chunks, opts \\ []) do
    {lines, buffer} =
      Enum.flat_map_reduce(List.wrap(chunks), LineBuffer.new(opts), &LineBuffer.push(&2, &1))

    lines ++ LineBuffer.flush(buffer)
  end

  # The definition of a line in one regular expression, for output that is not cut.
  defp model(bytes) do
    for [line, line_end] <- Regex.scan(~r/([^\r\n]*)(\r*\n|\r+|\z)/, bytes, capture: [1, 2]),
        line != "" or String.ends_with?(line_end, "\n"),
        do: line
  end

  describe "in text mode" do
    test "delivers whole lines and the last one without newline" do
      assert lines(["a\nb", "b\n", "\n", "c"]) == ["a", "bb", "", "c"]
      assert lines(["a\n"]) == ["a"]
      assert lines([]) == []
    end

    test "ends a line once at \\r\\n, also when the chunk ends in between" do
      assert lines("a\r\n\r\nb\r\n") == ["a", "", "b"]
      assert lines(["a\r", "\n\r", "\nb", "\r\n"]) == ["a", "", "b"]
      assert lines(["a\r\r\n", "b"]) == ["a", "b"]
    end

    test "shows each state of a progress bar at once, and no empty line for it" do
      {lines, buffer} = LineBuffer.push(LineBuffer.new(), "\r10%\r20%\r")
      assert lines == ["10%", "20%"]
      assert {["30%"], buffer} = LineBuffer.push(buffer, "\r30%\r\n")
      assert LineBuffer.flush(buffer) == []
    end

    test "keeps little of an endless progress bar" do
      bar = Enum.map_join(1..1_000, &"\r#{&1}")

      buffer =
        Enum.reduce(1..100, LineBuffer.new(), fn _, b -> b |> LineBuffer.push(bar) |> elem(1) end)

      assert :erlang.external_size(buffer) < 1_000
    end

    test "cuts a long line into marked pieces and drops nothing" do
      assert lines("0123456789\n", max: 4) == ["0123 [...]", "[...] 4567 [...]", "[...] 89"]
      assert lines("01234567\n", max: 4) == ["0123 [...]", "[...] 4567"]
      assert lines("0123\n4567\r\n8", max: 4) == ["0123", "4567", "8"]
    end

    test "cuts between characters" do
      assert lines("abc€def", max: 4) == ["abc [...]", "[...] €d [...]", "[...] ef"]
      assert lines("a𝄞b", max: 4) == ["a [...]", "[...] 𝄞 [...]", "[...] b"]
    end

    test "gives a line without end in pieces as it comes, and keeps no more than :max bytes" do
      push = fn _, {count, b} ->
        {lines, b} = LineBuffer.push(b, String.duplicate("x", 1_000))
        assert :erlang.external_size(b) < 5_000
        {count + length(lines), b}
      end

      {count, _buffer} = Enum.reduce(1..1_000, {0, LineBuffer.new(max: 4_000)}, push)
      assert count == 249
    end

    test "does not split a character between chunks" do
      for char <- ["é", "€", "𝄞"], at <- 1..(byte_size(char) - 1) do
        {left, right} = {binary_part(char, 0, at), binary_part(char, at, byte_size(char) - at)}
        assert lines(["a" <> left, right <> "b\n"]) == ["a" <> char <> "b"]
      end
    end

    # Table 3-8 of the Unicode standard and its neighbours.
    test "replaces each maximal invalid part by one U+FFFD" do
      for {bytes, text} <- [
            {<<0x61, 0xF1, 0x80, 0x80, 0xE1, 0x80, 0xC2, 0x62, 0x80, 0x63, 0x80, 0xBF, 0x64>>,
             "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd"},
            {<<0xC0, 0xAF>>, "\uFFFD\uFFFD"},
            {<<0xE0, 0x80, 0x80>>, "\uFFFD\uFFFD\uFFFD"},
            {<<0xED, 0xA0, 0x80>>, "\uFFFD\uFFFD\uFFFD"},
            {<<0xF4, 0x91, 0x92, 0x93>>, "\uFFFD\uFFFD\uFFFD\uFFFD"},
            {<<0xFF, 0x41>>, "\uFFFDA"},
            {<<0xF0, 0x9F, 0x92>>, "\uFFFD"}
          ] do
        assert lines([bytes, "\n"]) == [text]
        assert lines(["ok\n", bytes, "\nok"]) == ["ok", text, "ok"]
      end
    end

    test "leaves invalid bytes alone when told so" do
      assert lines(<<"caf", 0xE9, "\r\n">>, invalid: :keep) == [<<"caf", 0xE9>>]
    end

    test "gives the same lines for any chunks of any bytes" do
      check(
        fn -> {output(30), one_of([4, 5, 7, 16, 65_536]), one_of([:replace, :keep])} end,
        fn {bytes, max, invalid} ->
          opts = [max: max, invalid: invalid]
          assert lines(chunks(bytes), opts) == lines(bytes, opts)
        end,
        runs: @runs
      )
    end

    test "gives the lines of the definition" do
      check(
        fn -> output(30) end,
        fn bytes -> assert lines(chunks(bytes), invalid: :keep) == model(bytes) end,
        runs: @runs
      )
    end

    test "gives valid UTF-8, and pieces that make up the whole line" do
      check(
        fn -> {output(30), int(4..20)} end,
        fn {bytes, max} ->
          pieces = lines(chunks(bytes), max: max)
          assert Enum.all?(pieces, &String.valid?/1)
          assert join(pieces) == lines(bytes)
          assert Enum.all?(lines(bytes, max: max, invalid: :keep), &(byte_size(&1) <= max + 12))
        end,
        runs: @runs
      )
    end

    defp join(pieces) do
      pieces
      |> Enum.reduce([], fn
        "[...] " <> piece, [head | rest] -> [String.replace_suffix(head, " [...]", piece) | rest]
        piece, acc -> [piece | acc]
      end)
      |> Enum.reverse()
    end

    if function_exported?(String, :replace_invalid, 1) do
      test "replaces as String.replace_invalid/1 does" do
        check(
          fn -> output(30) |> String.replace(["\r", "\n"], "") end,
          fn bytes -> assert Enum.join(lines([bytes])) == String.replace_invalid(bytes) end,
          runs: @runs
        )
      end
    end
  end

  describe "in raw mode" do
    test "ends a line at \\n alone and leaves the bytes as they are" do
      assert lines(["a\r\n\rb", <<0xFF, "\n\n">>, "c"], mode: :raw) ==
               ["a\r", <<"\rb", 0xFF>>, "", "c"]
    end

    test "gives a line whole however long it is" do
      long = String.duplicate("x", 1_000_000)
      assert lines([long, long, "\n"], mode: :raw, max: 4) == [long <> long]
    end

    test "gives what String.split gives, for any chunks" do
      check(
        fn -> output(30) end,
        fn bytes ->
          expected = String.split(bytes, "\n")
          expected = if List.last(expected) == "", do: Enum.drop(expected, -1), else: expected
          assert lines(chunks(bytes), mode: :raw) == expected
        end,
        runs: @runs
      )
    end
  end

  test "refuses options that make no sense" do
    for opts <- [[max: 3], [max: :infinity], [mode: :binary], [invalid: :drop]] do
      assert_raise ArgumentError, ~r/got: \[/, fn -> LineBuffer.new(opts) end
    end
  end
end
