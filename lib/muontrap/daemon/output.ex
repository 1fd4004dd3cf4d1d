# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Output do
  @moduledoc false
  # The lines of a program on their way to the logger, which may be slow: a Daemon logs for a slice of time and
  # hears of other things in between. A chunk is acknowledged when its last line was logged.

  alias MuonTrap.Daemon.{Log, Streams}
  alias MuonTrap.{Options, StderrTail}

  # How long a Daemon logs in a row. One line takes as long as it takes.
  @slice_us 5_000

  @enforce_keys [:log, :kept]
  defstruct [:log, :kept, queue: [], tail: ""]

  # kept: of which stream the end is kept, and how many bytes; tail: that end
  # queue: chunks in their order, their lines and their size in bytes; few, for they are not acknowledged.
  @type t :: %__MODULE__{
          log: Log.t(),
          kept: {Streams.stream(), non_neg_integer()},
          queue: [{Streams.stream(), [binary()], non_neg_integer()}],
          tail: binary()
        }

  @doc "The output of a program that is not started yet."
  @spec new(Options.t()) :: t()
  def new(options), do: %__MODULE__{log: Log.new(options), kept: Streams.tail(options)}

  @doc "Takes the lines of a chunk of this size."
  @spec take(t(), Streams.stream(), [binary()], non_neg_integer()) :: t()
  def take(output, stream, lines, bytes),
    do: keep(%{output | queue: output.queue ++ [{stream, lines, bytes}]}, stream, lines)

  defp keep(%{kept: {stream, max}} = output, stream, lines) when max > 0 do
    bytes = IO.iodata_to_binary(Enum.map(lines, &[&1, ?\n]))
    %{output | tail: StderrTail.keep(output.tail, bytes, max)}
  end

  defp keep(output, _stream, _lines), do: output

  @doc "The end of the stream that is kept: whole lines if there is more than one."
  @spec tail(t()) :: {Streams.stream(), binary()}
  def tail(%{kept: {stream, max}, tail: tail}), do: {stream, StderrTail.text(tail, max)}

  @doc "Begins with another program. Everything of the one before is logged."
  @spec forget(t()) :: t()
  def forget(%{queue: []} = output), do: %{output | tail: ""}

  @doc "Whether everything is logged that was taken."
  @spec idle?(t()) :: boolean()
  def idle?(%{queue: queue}), do: queue == []

  @doc "Logs for a slice of time, or all of it. Returns how many bytes can be acknowledged."
  @spec log(t(), :slice | :all) :: {non_neg_integer(), t()}
  def log(output, :all), do: log(output, :infinity, 0)
  def log(output, :slice), do: log(output, Log.now_us() + @slice_us, 0)

  defp log(%{queue: []} = output, _until_us, bytes), do: {bytes, output}

  defp log(%{queue: [{stream, lines, size} | later]} = output, until_us, bytes) do
    case Log.write(output.log, stream, lines, until_us) do
      {[], log} -> log(%{output | log: log, queue: later}, until_us, bytes + size)
      {rest, log} -> {bytes, %{output | log: log, queue: [{stream, rest, size} | later]}}
    end
  end
end
