# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Stdin do
  @moduledoc false
  # What the program of a Daemon or a session is given to read, and has no room for yet.

  alias MuonTrap.{Command, Handle}

  # One write of any size is taken when nothing waits.
  @max_bytes 1_048_576
  # What is written in a row before the owner hears of anything else, however fast the program reads.
  @turn_bytes 1_048_576

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

  @doc "Drops what waits. Returns how many bytes that was."
  @spec drop(t()) :: {non_neg_integer(), t()}
  def drop(stdin), do: {byte_size(stdin.waiting), %{stdin | waiting: ""}}

  @doc "Ends the input after what waits."
  @spec close(t()) :: t()
  def close(%{state: :open} = stdin), do: %{stdin | state: :closing}
  def close(stdin), do: stdin

  @doc """
  Writes what there is room for, before the program is started nothing. When something is left an event `:writable`
  will come.
  """
  @spec write(t(), Command.t() | nil) :: t()
  def write(stdin, nil), do: stdin
  def write(stdin, command), do: write(stdin, command, @turn_bytes)

  defp write(%{state: :closed} = stdin, _command, _turn), do: stdin
  defp write(%{state: :open, waiting: ""} = stdin, _command, _turn), do: stdin

  defp write(%{state: :closing, waiting: ""} = stdin, command, _turn) do
    Handle.close_stdin(command.handle)
    %{stdin | state: :closed}
  end

  defp write(stdin, command, turn) when turn <= 0 do
    send(self(), {:muontrap, command.ref, :writable})
    stdin
  end

  defp write(%{waiting: waiting} = stdin, command, turn) do
    case Handle.write(command.handle, waiting) do
      {:ok, rest} ->
        written = byte_size(waiting) - byte_size(rest)
        write(%{stdin | waiting: rest}, command, turn - written)

      {:error, :eagain} ->
        stdin

      {:error, _nobody_reads} ->
        %{stdin | waiting: "", state: :closed}
    end
  end
end
