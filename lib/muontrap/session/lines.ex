# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Lines do
  @moduledoc false
  # Output that nobody has taken yet, in lines as the native part finds them: `MuonTrap.Session.Bytes` with `:lines`.

  alias MuonTrap.Session.Bytes

  @enforce_keys [:tagged?, :main]
  defstruct [:tagged?, :main, waiting: [], size: 0]

  @type t :: %__MODULE__{
          tagged?: boolean(),
          main: Bytes.stream(),
          waiting: [{Bytes.stream(), binary()}],
          size: non_neg_integer()
        }

  @spec new(boolean(), Bytes.stream()) :: t()
  def new(tagged?, main), do: %__MODULE__{tagged?: tagged?, main: main}

  @doc "Takes the lines of a chunk."
  @spec put(t(), Bytes.stream(), [binary()]) :: t()
  def put(buffer, stream, lines) do
    size = lines |> Enum.map(&size_of/1) |> Enum.sum()
    waiting = buffer.waiting ++ Enum.map(lines, &{stream, &1})
    %{buffer | waiting: waiting, size: buffer.size + size}
  end

  @spec size(t()) :: non_neg_integer()
  def size(buffer), do: buffer.size

  @spec clear(t()) :: t()
  def clear(buffer), do: %{buffer | waiting: [], size: 0}

  @spec limit(Bytes.request(), pos_integer()) :: pos_integer()
  def limit(_request, max_bytes), do: max_bytes

  @spec take(t(), Bytes.request(), boolean()) :: {tuple() | :eof, t()} | :more
  def take(%{waiting: [{_stream, line} = piece | rest]} = buffer, :read, _ended?),
    do: {{:ok, if(buffer.tagged?, do: piece, else: line)}, without(buffer, line, rest)}

  def take(buffer, :line, ended?) do
    case List.keytake(buffer.waiting, buffer.main, 0) do
      {{_stream, line}, rest} -> {{:ok, line}, without(buffer, line, rest)}
      nil -> if ended?, do: {:eof, buffer}, else: :more
    end
  end

  def take(buffer, :read, ended?), do: if(ended?, do: {:eof, buffer}, else: :more)
  def take(buffer, _of_bytes, _ended?), do: {{:error, :lines}, buffer}

  @doc "The next line for an owner that is sent events, if there is room for any, and its size."
  @spec event(t(), non_neg_integer()) :: {{Bytes.stream(), binary()}, pos_integer(), t()} | nil
  def event(%{waiting: [{_stream, line} = piece | rest]} = buffer, room) when room > 0,
    do: {piece, size_of(line), without(buffer, line, rest)}

  def event(_buffer, _room), do: nil

  defp without(buffer, line, rest),
    do: %{buffer | waiting: rest, size: buffer.size - size_of(line)}

  # Empty ones count as well.
  defp size_of(line), do: byte_size(line) + 1
end
