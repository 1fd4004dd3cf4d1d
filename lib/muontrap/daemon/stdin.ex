# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Stdin do
  @moduledoc false
  # What `MuonTrap.Daemon.write/2` was given and the program has no room for yet.

  alias MuonTrap.{Native, Nif}

  # One write of any size is taken when nothing waits.
  @max_bytes 1_048_576
  # Whatever is in the pipe beyond this is copied more than once by a retry.
  @piece_bytes 65_536

  defstruct waiting: "", state: :open

  @type t :: %__MODULE__{waiting: binary(), state: :open | :closing | :closed}

  @doc "The input of a program that has one to write to, or not."
  @spec new(:pipe | :null) :: t()
  def new(:pipe), do: %__MODULE__{}
  def new(:null), do: %__MODULE__{state: :closed}

  @doc "Takes bytes to be written."
  @spec put(t(), binary()) :: {:ok, t()} | {:error, :epipe | :eagain}
  def put(%{state: :open, waiting: ""} = stdin, bytes), do: {:ok, %{stdin | waiting: bytes}}

  def put(%{state: :open, waiting: waiting} = stdin, bytes) do
    if byte_size(waiting) + byte_size(bytes) <= @max_bytes,
      do: {:ok, %{stdin | waiting: waiting <> bytes}},
      else: {:error, :eagain}
  end

  def put(_stdin, _bytes), do: {:error, :epipe}

  @doc "Ends the input after what waits."
  @spec close(t()) :: t()
  def close(%{state: :open} = stdin), do: %{stdin | state: :closing}
  def close(stdin), do: stdin

  @doc "Writes what there is room for. When something is left an event `:writable` will come."
  @spec write(t(), Nif.handle() | nil) :: t()
  def write(stdin, nil), do: stdin
  def write(%{state: :closed} = stdin, _handle), do: stdin
  def write(%{state: :open, waiting: ""} = stdin, _handle), do: stdin

  def write(%{state: :closing, waiting: ""} = stdin, handle) do
    Nif.close_stdin(handle)
    %{stdin | state: :closed}
  end

  def write(%{waiting: waiting} = stdin, handle) do
    case Native.write(handle, binary_part(waiting, 0, min(byte_size(waiting), @piece_bytes))) do
      {:ok, written} ->
        rest = binary_part(waiting, written, byte_size(waiting) - written)
        write(%{stdin | waiting: rest}, handle)

      {:error, :eagain} ->
        stdin

      {:error, _nobody_reads} ->
        %{stdin | waiting: "", state: :closed}
    end
  end
end
