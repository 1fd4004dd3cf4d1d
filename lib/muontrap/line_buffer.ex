# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.LineBuffer do
  @moduledoc """
  Turns output, as it comes in chunks, into lines.

  The lines depend on the bytes alone: however they are cut into chunks, `push/2` and a last `flush/1` give
  the same lines. There are two modes.

  ## `:text`, for logs

    * A line ends with `\\n` or `\\r\\n` (or more than one `\\r` before the `\\n`). A `\\r` without `\\n`, as
      progress bars write it, ends a line as well, but never gives an empty one: a log that only grows shows
      each state of the bar, and shows it at once.
    * A line of more than `:max` bytes comes in pieces of at most that, cut between characters; a piece that
      goes on in the next one ends with `" [...]"`, the next one begins with `"[...] "`. No byte is dropped,
      and no more than `:max` bytes are kept between two calls.
    * Each maximal invalid part of a character becomes one U+FFFD, as the Unicode standard recommends and
      `String.replace_invalid/1` does, so lines are valid UTF-8. With `invalid: :keep` they are left alone.

  ## `:raw`, for `lines:` of `MuonTrap.cmd/3`

  A line ends with `\\n` and with nothing else, and comes whole and untouched however long it is, as in
  `System.cmd/3`. The buffer is as large as the longest line.

  ## Examples

      iex> alias MuonTrap.LineBuffer
      iex> {lines, buffer} = LineBuffer.push(LineBuffer.new(), "one\\r\\ntwo\\nthr")
      iex> lines
      ["one", "two"]
      iex> {lines, buffer} = LineBuffer.push(buffer, "ee")
      iex> lines
      []
      iex> LineBuffer.flush(buffer)
      ["three"]
  """

  @cut_mark " [...]"
  @continued_mark "[...] "
  @replacement "\uFFFD"

  # A character has up to 4 bytes, and a piece has to hold one.
  @max_min 4
  @max_default 65_536

  @enforce_keys [:mode, :max, :invalid]
  defstruct [:mode, :max, :invalid, rest: "", continued?: false, cr: :none]

  # rest: the beginning of a line; of more than `max` bytes only in :raw mode. Not empty if continued?.
  # cr: what the \r before did when rest is empty: nothing, :ended a line, or stood in an empty one (:blank).
  @opaque t :: %__MODULE__{
            mode: :text | :raw,
            max: pos_integer(),
            invalid: :replace | :keep,
            rest: binary(),
            continued?: boolean(),
            cr: :none | :ended | :blank
          }

  @doc """
  Returns an empty buffer.

  ## Options

    * `:mode` - `:text` (the default) or `:raw`
    * `:max` - bytes, at least #{@max_min}, the longest piece of a line in `:text` mode. The marks and what
      replaces invalid bytes come on top. The default is #{@max_default}
    * `:invalid` - `:replace` (the default) or `:keep` bytes that are not UTF-8 in `:text` mode
  """
  @spec new(keyword()) :: t()
  def new(opts \\ []) do
    buffer = %__MODULE__{
      mode: Keyword.get(opts, :mode, :text),
      max: Keyword.get(opts, :max, @max_default),
      invalid: Keyword.get(opts, :invalid, :replace)
    }

    unless buffer.mode in [:text, :raw] and buffer.invalid in [:replace, :keep] and
             is_integer(buffer.max) and buffer.max >= @max_min do
      raise ArgumentError, "invalid options for a line buffer, got: #{inspect(opts)}"
    end

    buffer
  end

  @doc """
  Takes a chunk and returns the lines that it completes, in order, without their ends.

  Lines may be parts of the chunk's binary and keep all of it alive; copy those that are kept for long.
  """
  @spec push(t(), binary()) :: {[binary()], t()}
  def push(buffer, ""), do: {[], buffer}

  def push(%__MODULE__{} = buffer, chunk) when is_binary(chunk) do
    case :binary.split(chunk, "\n", [:global]) do
      [part] -> add_part(buffer, part)
      [head | tail] -> add_lines(buffer, chunk, head, tail)
    end
  end

  @doc """
  Returns what is left at the end of the output: at most one line, which no newline ended.
  """
  @spec flush(t()) :: [binary()]
  def flush(%__MODULE__{rest: ""}), do: []
  def flush(%__MODULE__{mode: :raw, rest: rest}), do: [rest]
  def flush(%__MODULE__{rest: rest} = buffer), do: Enum.reverse(emit(buffer, rest, []))

  defp add_part(%{mode: :raw} = buffer, part), do: {[], %{buffer | rest: buffer.rest <> part}}

  defp add_part(buffer, part) do
    {acc, buffer} = add_text(buffer, part, [])
    {Enum.reverse(acc), buffer}
  end

  defp add_lines(%{mode: :raw, rest: rest} = buffer, _chunk, head, tail) do
    {lines, last} = split_last(tail, [])
    {[rest <> head | lines], %{buffer | rest: :binary.copy(last)}}
  end

  defp add_lines(buffer, chunk, head, tail) do
    {lines, last} = split_last(tail, [])
    {acc, buffer} = end_line(buffer, head, [])
    middle = {byte_size(head) + 1, byte_size(chunk) - byte_size(head) - byte_size(last) - 1}
    {acc, buffer} = end_lines(buffer, lines, {chunk, middle}, acc)
    {acc, buffer} = add_text(buffer, last, acc)
    {Enum.reverse(acc), buffer}
  end

  defp split_last([last], acc), do: {Enum.reverse(acc), last}
  defp split_last([line | rest], acc), do: split_last(rest, [line | acc])

  # The functions below see text without \n. They return the lines so far, last one first.

  # One check of all whole lines of a chunk is much cheaper than one per line, and mostly all that is needed.
  defp end_lines(%{max: max, invalid: invalid} = buffer, lines, {chunk, {start, size}}, acc) do
    valid? = invalid == :keep or valid?(binary_part(chunk, start, size))
    cr? = :binary.match(chunk, "\r", scope: {start, size}) != :nomatch

    if valid? and not cr? and (size <= max or Enum.all?(lines, &(byte_size(&1) <= max))) do
      {Enum.reverse(lines, acc), buffer}
    else
      buffer = if valid?, do: %{buffer | invalid: :keep}, else: buffer
      {acc, buffer} = Enum.reduce(lines, {acc, buffer}, fn l, {acc, b} -> end_line(b, l, acc) end)
      {acc, %{buffer | invalid: invalid}}
    end
  end

  defp end_line(%{rest: "", cr: cr} = buffer, "", acc),
    do: {if(cr == :ended, do: acc, else: ["" | acc]), %{buffer | cr: :none}}

  defp end_line(buffer, part, acc) do
    case add_text(buffer, part, acc) do
      {acc, %{rest: "", cr: :ended} = buffer} -> {acc, %{buffer | cr: :none}}
      {acc, buffer} -> {emit(buffer, buffer.rest, acc), reset(buffer, :none)}
    end
  end

  defp add_text(buffer, "", acc), do: {acc, buffer}

  defp add_text(buffer, part, acc) do
    case :binary.match(part, "\r") do
      :nomatch ->
        keep(buffer, part, acc)

      {at, 1} ->
        {acc, buffer} = end_with_cr(buffer, binary_part(part, 0, at), acc)
        add_text(buffer, from(part, at + 1), acc)
    end
  end

  defp end_with_cr(%{rest: "", cr: :none} = buffer, "", acc), do: {acc, %{buffer | cr: :blank}}
  defp end_with_cr(%{rest: ""} = buffer, "", acc), do: {acc, buffer}

  # Needs neither a copy nor a cut.
  defp end_with_cr(%{rest: "", max: max} = buffer, part, acc) when byte_size(part) <= max,
    do: {emit(buffer, part, acc), %{buffer | cr: :ended}}

  defp end_with_cr(buffer, part, acc) do
    {acc, buffer} = keep(buffer, part, acc)
    {emit(buffer, buffer.rest, acc), reset(buffer, :ended)}
  end

  defp reset(buffer, cr), do: %{buffer | rest: "", continued?: false, cr: cr}

  defp keep(buffer, "", acc), do: {acc, buffer}

  defp keep(%{max: max, rest: rest} = buffer, part, acc) do
    # The copy lets go of the chunk when little of it is kept.
    rest = if rest == "", do: :binary.copy(part), else: rest <> part

    if byte_size(rest) > max do
      {acc, rest} = cut(buffer, rest, acc)
      {acc, %{buffer | rest: rest, continued?: true}}
    else
      {acc, %{buffer | rest: rest}}
    end
  end

  defp cut(%{max: max} = buffer, rest, acc) when byte_size(rest) > max do
    size = max - split_character(rest, max)
    [line | acc] = emit(buffer, binary_part(rest, 0, size), acc)
    cut(%{buffer | continued?: true}, from(rest, size), [line <> @cut_mark | acc])
  end

  defp cut(_buffer, rest, acc), do: {acc, :binary.copy(rest)}

  defp emit(%{continued?: true} = buffer, text, acc),
    do: [@continued_mark <> clean(buffer, text) | acc]

  defp emit(buffer, text, acc), do: [clean(buffer, text) | acc]

  defp clean(%{invalid: :keep}, text), do: text
  defp clean(_buffer, text), do: if(valid?(text), do: text, else: replace_invalid(text))

  # The BIF is three times as fast as String.valid?/1 of old Elixir versions.
  defp valid?(text), do: is_binary(:unicode.characters_to_binary(text))

  defp replace_invalid(text), do: text |> replace_invalid(text, 0, []) |> IO.iodata_to_binary()

  # `size` bytes of `text` were found valid, `rest` is what follows them.
  defp replace_invalid(<<char, rest::binary>>, text, size, acc) when char < 0x80,
    do: replace_invalid(rest, text, size + 1, acc)

  defp replace_invalid(<<char::utf8, rest::binary>>, text, size, acc) do
    bytes = if char < 0x800, do: 2, else: if(char < 0x1_0000, do: 3, else: 4)
    replace_invalid(rest, text, size + bytes, acc)
  end

  defp replace_invalid("", text, _size, acc), do: [acc | text]

  defp replace_invalid(rest, text, size, acc) do
    invalid = invalid_size(rest)
    acc = [acc, binary_part(text, 0, size) | @replacement]
    rest = from(text, size + invalid)
    replace_invalid(rest, rest, 0, acc)
  end

  # A size in a match would have to be pinned by the newest Elixir and must not be by the oldest.
  defp from(binary, at), do: binary_part(binary, at, byte_size(binary) - at)

  # How many of the bytes before `at` begin a character that needs more. Cutting before them is right even if
  # it never gets those.
  defp split_character(text, at) do
    Enum.find(1..3, 0, fn size ->
      tail = binary_part(text, at - size, size)
      incomplete?(tail) and invalid_size(tail) == size
    end)
  end

  defp incomplete?(<<lead, _rest::binary>> = tail) do
    cond do
      lead in 0xF0..0xF4 -> byte_size(tail) < 4
      lead in 0xE0..0xEF -> byte_size(tail) < 3
      lead in 0xC2..0xDF -> byte_size(tail) < 2
      true -> false
    end
  end

  # The maximal subpart of an ill-formed sequence: Unicode 15, section 3.9, table 3-7.
  defp invalid_size(<<lead, second, third, _rest::binary>>)
       when lead in 0xF0..0xF4 and third in 0x80..0xBF do
    if second?(lead, second), do: 3, else: 1
  end

  defp invalid_size(<<lead, second, _rest::binary>>) when lead in 0xE0..0xF4 do
    if second?(lead, second), do: 2, else: 1
  end

  defp invalid_size(_text), do: 1

  defp second?(0xE0, second), do: second in 0xA0..0xBF
  defp second?(0xED, second), do: second in 0x80..0x9F
  defp second?(0xF0, second), do: second in 0x90..0xBF
  defp second?(0xF4, second), do: second in 0x80..0x8F
  defp second?(_lead, second), do: second in 0x80..0xBF
end
