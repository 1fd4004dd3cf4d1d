# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Bounds do
  @moduledoc false
  # What a call does not go beyond: its time, the time without output, and the bytes of output. The first that it
  # reaches stops the program; those after it change nothing any more.

  alias MuonTrap.{Late, Options, Result}

  @enforce_keys [:stop, :deadline, :idle_ms, :limit, :excess]
  defstruct [
    :stop,
    :deadline,
    :idle_ms,
    :limit,
    :excess,
    idle_at: :infinity,
    bytes: 0,
    kept: 0,
    truncated: false,
    stopped_by: nil
  ]

  @typedoc """
  stop: what stops the program, no function, which would be void once the code that made it is purged; deadline,
  idle_at: in monotonic milliseconds; limit: of bytes of output; excess: what happens beyond it; bytes: those that
  came; kept: those of whole lines that the caller has.
  """
  @type t :: %__MODULE__{
          stop: {module(), atom(), [term()]} | nil,
          deadline: integer() | :infinity,
          idle_ms: pos_integer() | :infinity,
          limit: non_neg_integer() | :infinity,
          excess: :truncate | :stop | nil,
          idle_at: integer() | :infinity,
          bytes: non_neg_integer(),
          kept: non_neg_integer(),
          truncated: boolean(),
          stopped_by: Result.bound() | nil
        }

  @doc "Those of a checked call, whose time runs from now on. `stop` is called once at the most."
  @spec new(Options.t(), {module(), atom(), [term()]} | nil) :: t()
  def new(options, stop) do
    {limit, excess} =
      if options.max_output == :infinity, do: {:infinity, nil}, else: options.max_output

    waits(%__MODULE__{
      stop: stop,
      deadline: after_ms(options.timeout),
      idle_ms: options.idle_timeout,
      limit: limit,
      excess: excess
    })
  end

  @doc "What is said of a program that no bound has reached."
  @spec none() :: %{stopped_by: Result.bound() | nil, truncated: boolean()}
  def none, do: %{stopped_by: nil, truncated: false}

  @doc "The program is waited for anew: the time without output begins."
  @spec waits(t()) :: t()
  def waits(%{idle_ms: :infinity} = bounds), do: bounds
  def waits(bounds), do: %{bounds | idle_at: after_ms(bounds.idle_ms)}

  defp after_ms(:infinity), do: :infinity
  defp after_ms(ms), do: System.monotonic_time(:millisecond) + ms

  @doc """
  A bound is reached. Unless another was before, the program is stopped; unless silence is heard of too late: then it
  may have been that of a VM that stood still, and is waited for once more.
  """
  @spec reached(t(), Result.bound()) :: t()
  def reached(%{stopped_by: nil} = bounds, :idle_timeout) do
    case Late.more_ms(bounds.idle_at, bounds.idle_ms) do
      0 -> stop(bounds, :idle_timeout)
      more_ms -> %{bounds | idle_at: after_ms(more_ms)}
    end
  end

  def reached(%{stopped_by: nil} = bounds, cause), do: stop(bounds, cause)
  def reached(bounds, _cause), do: bounds

  defp stop(bounds, cause) do
    {module, function, args} = bounds.stop
    apply(module, function, args)
    %{bounds | stopped_by: cause, deadline: :infinity, idle_ms: :infinity, idle_at: :infinity}
  end

  @doc "Takes a piece of output, and returns of it what the caller gets."
  @spec keep(t(), binary()) :: {binary(), t()}
  def keep(%{limit: :infinity} = bounds, piece), do: {piece, bounds}

  def keep(%{limit: limit, bytes: bytes} = bounds, piece) do
    room = max(limit - bytes, 0)
    bounds = count(bounds, byte_size(piece))
    if byte_size(piece) <= room, do: {piece, bounds}, else: {binary_part(piece, 0, room), bounds}
  end

  @doc """
  The same for lines, which came with so many bytes. A line that does not fit, with its newline, is dropped whole, and
  so is all that follows.
  """
  @spec keep_lines(t(), [binary()], non_neg_integer()) :: {[binary()], t()}
  def keep_lines(%{limit: :infinity} = bounds, lines, _bytes), do: {lines, bounds}
  def keep_lines(%{truncated: true} = bounds, _lines, _bytes), do: {[], bounds}

  def keep_lines(bounds, lines, bytes) do
    # The last line comes with no bytes if no newline ended it.
    newline = min(bytes, 1)
    {lines, kept} = fitting(lines, bounds.kept, bounds.limit, newline, [])
    {lines, count(%{bounds | kept: kept}, bytes)}
  end

  defp fitting([line | lines], kept, limit, newline, acc)
       when kept + byte_size(line) + newline <= limit,
       do: fitting(lines, kept + byte_size(line) + newline, limit, newline, [line | acc])

  defp fitting(_lines, kept, _limit, _newline, acc), do: {Enum.reverse(acc), kept}

  defp count(%{truncated: true} = bounds, _bytes), do: bounds

  defp count(%{limit: limit, bytes: before} = bounds, bytes) when before + bytes <= limit,
    do: %{bounds | bytes: before + bytes}

  defp count(bounds, _bytes) do
    bounds = %{bounds | bytes: bounds.limit, truncated: true}
    if bounds.excess == :stop, do: reached(bounds, :max_output), else: bounds
  end

  @doc "What comes of standard output as lines: no more of one is kept than can be handed out."
  @spec lines(Options.t()) :: :raw | {:raw, pos_integer()} | nil
  def lines(%{lines: nil}), do: nil
  def lines(%{max_output: {limit, _excess}}), do: {:raw, limit + 1}
  def lines(_unlimited), do: :raw
end
