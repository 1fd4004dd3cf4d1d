# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Late do
  @moduledoc false
  # Waits that end late. A VM that stood still, as by SIGSTOP or `docker pause`, has heard nothing meanwhile, and a
  # program that stood still with it could not do what it is waited for. So the time that was lost is waited once more.

  # Timers of a VM that runs are late by a few milliseconds, by some more on a busy machine.
  @in_time_ms 50

  # 49 days.
  @longest_ms 0xFFFF_FFFF

  @doc "As much of a time as a process can wait for a message without a break."
  @spec at_once_ms(non_neg_integer()) :: non_neg_integer()
  def at_once_ms(wait_ms), do: min(wait_ms, @longest_ms)

  @doc "How long to go on with a wait of `wait_ms` that was due at `due_ms`: not at all if it ended in time."
  @spec more_ms(integer(), non_neg_integer()) :: non_neg_integer()
  def more_ms(due_ms, wait_ms) do
    late_ms = now_ms() - due_ms
    if late_ms < @in_time_ms, do: 0, else: min(late_ms, wait_ms)
  end

  @doc "A timer whose message is `{:timeout, timer, {about, due_ms, most_ms}}`, for `again/2`. None for `nil` or `:infinity`."
  @spec start(non_neg_integer() | :infinity | nil, atom()) :: reference() | nil
  def start(unlimited, _about) when unlimited in [nil, :infinity], do: nil

  def start(wait_ms, about), do: start(wait_ms, about, wait_ms)

  # most_ms: how much longer it may take.
  defp start(wait_ms, about, most_ms),
    do: :erlang.start_timer(wait_ms, self(), {about, now_ms() + wait_ms, most_ms})

  @doc """
  The timer that goes on with the wait of one that came late, or nil. It does so once: a process that has too much to
  do is always late.
  """
  @spec again({atom(), integer(), non_neg_integer()}) :: reference() | nil
  def again({about, due_ms, most_ms}) do
    case more_ms(due_ms, most_ms) do
      0 -> nil
      more_ms -> start(more_ms, about, 0)
    end
  end

  defp now_ms, do: System.monotonic_time(:millisecond)
end
