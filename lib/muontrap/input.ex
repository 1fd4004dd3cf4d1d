# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Input do
  @moduledoc false
  # What is written to a program's standard input, piece by piece, as fast as the program reads.

  alias MuonTrap.Nif

  # Whatever is in the pipe beyond this is copied more than once by a retry.
  @piece_bytes 65_536

  @typedoc "The bytes to write next and where the ones after them come from; nil when all is written."
  @type t :: {binary(), (term() -> term()) | nil} | nil

  @doc "Prepares iodata or an enumerable of iodata."
  @spec new(nil | iodata() | Enumerable.t()) :: t()
  def new(nil), do: nil

  def new(input) when is_binary(input), do: {input, nil}

  def new(input) do
    {IO.iodata_to_binary(input), nil}
  rescue
    # Not iodata: an enumerable of such.
    ArgumentError -> {"", &Enumerable.reduce(input, &1, fn piece, _acc -> {:suspend, piece} end)}
  end

  @doc """
  Writes what there is room for. When something is left an event `:writable` will come; the end of the
  input, or a program that no longer reads it, closes the pipe.
  """
  @spec write(t(), Nif.handle()) :: t()
  def write(nil, _handle), do: nil

  def write({"", nil}, handle) do
    Nif.close_stdin(handle)
    nil
  end

  def write({"", more}, handle) do
    case more.({:cont, ""}) do
      {:suspended, piece, more} -> write({IO.iodata_to_binary(piece), more}, handle)
      {_done_or_halted, _acc} -> write({"", nil}, handle)
    end
  end

  def write({bytes, more}, handle) do
    piece = binary_part(bytes, 0, min(byte_size(bytes), @piece_bytes))

    case Nif.write(handle, piece) do
      {:ok, written} ->
        write({binary_part(bytes, written, byte_size(bytes) - written), more}, handle)

      {:error, :eagain} ->
        {bytes, more}

      {:error, _nobody_reads} ->
        close({bytes, more})
        nil
    end
  end

  @doc "Ends an enumerable that was not read to its end, so that it can release what it holds."
  @spec close(t()) :: :ok
  def close({_bytes, more}) when is_function(more) do
    more.({:halt, ""})
    :ok
  end

  def close(_input), do: :ok
end
