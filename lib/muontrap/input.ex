# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Input do
  @moduledoc false
  # What is written to a program's standard input, piece by piece, as fast as the program reads.
  #
  # An enumerable is pulled by `MuonTrap.Input.Feeder`, in a process of its own: the owner never waits for it. Its
  # pieces come as events `{:input, _}` of the command.

  alias MuonTrap.Input.Feeder
  alias MuonTrap.{Command, Handle}

  # What is written in a row before the owner hears of anything else, however fast the program reads.
  @turn_bytes 1_048_576

  @enforce_keys [:ref, :waiting]
  defstruct [:ref, :waiting, :feeder]

  @typedoc "The pieces to write next, and where those after them come from; nil when all is written."
  @type t ::
          %__MODULE__{ref: reference(), waiting: [binary()], feeder: Feeder.t() | nil} | nil

  @doc "Prepares iodata or an enumerable of iodata for a command that runs."
  @spec new(nil | iodata() | Enumerable.t(), Command.t()) :: t()
  def new(nil, _command), do: nil

  def new(input, %{ref: ref}) do
    %__MODULE__{ref: ref, waiting: pieces(IO.iodata_to_binary(input))}
  rescue
    # Not iodata: an enumerable of such.
    ArgumentError -> %__MODULE__{ref: ref, waiting: [], feeder: Feeder.start(input, ref)}
  end

  defp pieces(""), do: []
  defp pieces(bytes), do: [bytes]

  @doc "Whether another process has more of it."
  @spec pulled?(t()) :: boolean()
  def pulled?(input), do: match?(%{feeder: %Feeder{}}, input)

  @doc """
  Takes the event `{:input, _}`: a piece, the end of the enumerable, or what it raised, which is raised here.
  """
  @spec take(t(), Feeder.event(), Handle.t()) :: t()
  def take(nil, _event, _handle), do: nil

  def take(%{waiting: []} = input, {:piece, bytes}, handle),
    do: write(%{input | waiting: [bytes]}, handle)

  # Few: the feeder is not far ahead.
  def take(input, {:piece, bytes}, _handle), do: %{input | waiting: input.waiting ++ [bytes]}

  def take(input, :done, handle) do
    close(input)
    write(%{input | feeder: nil}, handle)
  end

  def take(_input, {:raised, kind, reason, stacktrace}, _handle),
    do: :erlang.raise(kind, reason, stacktrace)

  @doc """
  Writes what there is room for. When something is left an event `:writable` will come; the end of the
  input, or a program that no longer reads it, closes the pipe.
  """
  @spec write(t(), Handle.t()) :: t()
  def write(input, handle), do: write(input, handle, @turn_bytes)

  defp write(nil, _handle, _turn), do: nil

  defp write(%{waiting: [], feeder: nil}, handle, _turn) do
    Handle.close_stdin(handle)
    nil
  end

  # The next piece is on its way.
  defp write(%{waiting: []} = input, _handle, _turn), do: input

  defp write(input, _handle, turn) when turn <= 0 do
    send(self(), {:muontrap, input.ref, :writable})
    input
  end

  defp write(%{waiting: [bytes | later]} = input, handle, turn) do
    case Handle.write(handle, bytes) do
      {:ok, rest} ->
        written = byte_size(bytes) - byte_size(rest)
        input = %{input | waiting: if(rest == "", do: later, else: [rest | later])}
        write(wrote(input, written), handle, turn - written)

      {:error, :eagain} ->
        input

      {:error, _nobody_reads} ->
        close(input)
        nil
    end
  end

  defp wrote(%{feeder: nil} = input, _bytes), do: input
  defp wrote(input, bytes), do: %{input | feeder: Feeder.wrote(input.feeder, bytes)}

  @doc """
  Ends an enumerable that was not read to its end, so that it can release what it holds. No message of it
  comes after that.
  """
  @spec close(t()) :: :ok
  def close(%{feeder: feeder}) when feeder != nil, do: Feeder.stop(feeder)
  def close(_input), do: :ok
end
