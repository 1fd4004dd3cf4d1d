# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Bytes do
  @moduledoc false
  # Output that nobody has taken yet, as bytes, and what a call takes of it.

  alias MuonTrap.Session.Pattern

  @enforce_keys [:tagged?, :main]
  defstruct [:tagged?, :main, first: :stdout, stdout: "", stderr: ""]

  # main: the stream that a call looks at which names none; first: the one whose bytes have waited longer
  @type stream :: :stdout | :stderr
  @type t :: %__MODULE__{
          tagged?: boolean(),
          main: stream(),
          first: stream(),
          stdout: binary(),
          stderr: binary()
        }
  @type request :: :read | :line | {:exactly, pos_integer()} | {:expect, stream() | nil, term()}

  @doc "Nothing yet. `tagged?`: what is handed out says which stream it is of."
  @spec new(boolean(), stream()) :: t()
  def new(tagged?, main), do: %__MODULE__{tagged?: tagged?, main: main}

  @doc "Takes a piece of output."
  @spec put(t(), stream(), binary()) :: t()
  def put(buffer, stream, bytes) do
    buffer = if size(buffer) == 0, do: %{buffer | first: stream}, else: buffer
    Map.update!(buffer, stream, &(&1 <> bytes))
  end

  @doc "How many bytes there are."
  @spec size(t()) :: non_neg_integer()
  def size(%{stdout: stdout, stderr: stderr}), do: byte_size(stdout) + byte_size(stderr)

  @doc "Drops them."
  @spec clear(t()) :: t()
  def clear(buffer), do: %{buffer | stdout: "", stderr: ""}

  @doc "How many bytes may be gathered for a request."
  @spec limit(request(), pos_integer()) :: pos_integer()
  def limit({:exactly, count}, max_bytes), do: max(count, max_bytes)
  def limit(_request, max_bytes), do: max_bytes

  @doc "The answer to a request, or `:more` if that needs more. `ended?`: no more will come."
  @spec take(t(), request(), boolean()) :: {tuple() | :eof, t()} | :more
  def take(buffer, :read, ended?) do
    case event(buffer, size(buffer)) do
      nil -> if ended?, do: {:eof, buffer}, else: :more
      {{_stream, _bytes} = piece, _size, buffer} -> {{:ok, tag(buffer, piece)}, buffer}
    end
  end

  def take(%{main: main} = buffer, :line, ended?) do
    bytes = Map.fetch!(buffer, main)

    case :binary.match(bytes, "\n") do
      {start, 1} -> cut(buffer, main, start, 1, fn line, _newline -> {:ok, line} end)
      :nomatch when ended? and bytes != "" -> {{:ok, bytes}, put_rest(buffer, main, "")}
      :nomatch -> if ended?, do: {:eof, buffer}, else: :more
    end
  end

  def take(%{main: main} = buffer, {:exactly, count}, ended?) do
    if byte_size(Map.fetch!(buffer, main)) >= count,
      do: cut(buffer, main, count, 0, fn bytes, _nothing -> {:ok, bytes} end),
      else: if(ended?, do: {:eof, buffer}, else: :more)
  end

  def take(buffer, {:expect, stream, pattern}, ended?) do
    stream = stream || buffer.main
    bytes = Map.fetch!(buffer, stream)

    case Pattern.find(pattern, bytes) do
      [{start, length} | _groups] = found ->
        groups = Enum.map(found, &part(bytes, &1))
        cut(buffer, stream, start, length, fn before, _match -> {:ok, before, groups} end)

      nil ->
        if ended?, do: {:eof, buffer}, else: :more
    end
  end

  @doc "The next piece for an owner that is sent events, of so many bytes at most, and its size."
  @spec event(t(), non_neg_integer()) :: {{stream(), binary()}, pos_integer(), t()} | nil
  def event(_buffer, 0), do: nil
  def event(%{stdout: "", stderr: ""}, _room), do: nil

  def event(%{first: stream} = buffer, room) do
    case Map.fetch!(buffer, stream) do
      "" ->
        event(%{buffer | first: other(stream)}, room)

      bytes ->
        count = min(byte_size(bytes), room)
        {piece, rest} = :erlang.split_binary(bytes, count)
        {{stream, piece}, count, put_rest(buffer, stream, rest)}
    end
  end

  defp other(:stdout), do: :stderr
  defp other(:stderr), do: :stdout

  defp tag(%{tagged?: true}, piece), do: piece
  defp tag(_buffer, {_stream, bytes}), do: bytes

  defp part(_bytes, {-1, 0}), do: ""
  defp part(bytes, {start, length}), do: binary_part(bytes, start, length)

  # Splits off what comes before, drops the match, and keeps the rest.
  defp cut(buffer, stream, start, length, answer) do
    {before, later} = buffer |> Map.fetch!(stream) |> :erlang.split_binary(start)
    {match, rest} = :erlang.split_binary(later, length)
    {answer.(before, match), put_rest(buffer, stream, rest)}
  end

  # The other stream, if it has something, has waited longer than what comes now.
  defp put_rest(buffer, stream, ""),
    do: %{Map.put(buffer, stream, "") | first: other(stream)}

  defp put_rest(buffer, stream, rest), do: Map.put(buffer, stream, rest)
end
