# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Limits do
  @moduledoc false
  # The bounds of a session: those of `MuonTrap.Bounds`, told by timers to a process that never waits.
  #
  # The time without output runs while somebody wants output, and stands still while nobody does. One timer for it is
  # under way at the most, that of a moment which has moved on by the time it comes, mostly: the next is set then.

  alias MuonTrap.{Bounds, Command, Handle, Options, Result}

  @enforce_keys [:bounds, :left_ms]
  defstruct [:bounds, :left_ms, :timer, :idle_timer]

  # left_ms: what is left of the time without output, while it stands still: while `idle_at` of the bounds is :infinity
  @type t :: %__MODULE__{
          bounds: Bounds.t(),
          left_ms: pos_integer() | :infinity,
          timer: reference() | nil,
          idle_timer: reference() | nil
        }

  @doc "Those of a checked call, whose time runs from now on."
  @spec new(Options.t()) :: t()
  def new(options) do
    bounds = Bounds.new(options, nil)
    %__MODULE__{bounds: %{bounds | idle_at: :infinity}, left_ms: options.idle_timeout}
  end

  @doc "The program runs. The message `{:timeout, timer, :over}` will say that its time is over."
  @spec run(t(), Command.t()) :: t()
  def run(%{bounds: %{deadline: deadline} = bounds} = limits, %{handle: handle, grace_ms: grace}) do
    timer = if deadline != :infinity, do: :erlang.start_timer(deadline, self(), :over, abs: true)
    %{limits | bounds: %{bounds | stop: {Handle, :stop, [handle, grace]}}, timer: timer}
  end

  @doc """
  Says whether output is wanted from now on. While it is, the message `{:timeout, timer, :idle}` may say that there was
  none for too long.
  """
  @spec wanted(t(), boolean()) :: t()
  def wanted(%{bounds: %{idle_ms: :infinity}} = limits, _wanted?), do: limits

  def wanted(%{bounds: %{idle_at: :infinity}} = limits, true),
    do: limits |> idle_at(now() + limits.left_ms) |> set_timer()

  def wanted(%{bounds: %{idle_at: at}} = limits, false) when at != :infinity,
    do: idle_at(%{limits | left_ms: max(at - now(), 0)}, :infinity)

  def wanted(limits, _as_before), do: limits

  @doc "Takes a piece of output, bytes or lines, that came with so many bytes. Returns of it what the session keeps."
  @spec keep(t(), binary() | [binary()], non_neg_integer()) :: {binary() | [binary()], t()}
  def keep(%{bounds: bounds} = limits, piece, size) do
    {kept, bounds} =
      if is_binary(piece),
        do: Bounds.keep(bounds, piece),
        else: Bounds.keep_lines(bounds, piece, size)

    {kept, begin_anew(%{limits | bounds: bounds})}
  end

  defp begin_anew(%{bounds: %{idle_ms: :infinity}} = limits), do: limits

  defp begin_anew(%{bounds: %{idle_at: :infinity, idle_ms: ms}} = limits),
    do: %{limits | left_ms: ms}

  defp begin_anew(%{bounds: %{idle_ms: ms}} = limits), do: idle_at(limits, now() + ms)

  @doc "Whether there was no output for too long, now that the timer says so. If not, another one is set if need be."
  @spec idle?(t()) :: {boolean(), t()}
  def idle?(%{bounds: %{idle_at: at}} = limits) do
    limits = %{limits | idle_timer: nil}

    cond do
      at == :infinity -> {false, limits}
      at > now() -> {false, set_timer(limits)}
      true -> {true, limits}
    end
  end

  @doc "Output is on its way that counts although the time has passed. Looks again in a moment."
  @spec look_again(t()) :: t()
  def look_again(limits), do: limits |> idle_at(now() + 1) |> set_timer()

  @doc "A bound is reached: unless another was before, or silence is heard of too late, the program is stopped."
  @spec reached(t(), Result.bound()) :: t()
  def reached(limits, bound) do
    case %{limits | bounds: Bounds.reached(limits.bounds, bound)} do
      %{bounds: %{idle_at: :infinity}} = limits -> limits
      limits -> set_timer(limits)
    end
  end

  @doc "Whether whatever comes is dropped."
  @spec full?(t()) :: boolean()
  def full?(%{bounds: bounds}), do: bounds.truncated

  defp idle_at(limits, moment), do: %{limits | bounds: %{limits.bounds | idle_at: moment}}

  defp set_timer(%{idle_timer: nil, bounds: %{idle_at: at}} = limits),
    do: %{limits | idle_timer: :erlang.start_timer(at, self(), :idle, abs: true)}

  defp set_timer(limits), do: limits

  defp now, do: System.monotonic_time(:millisecond)
end
