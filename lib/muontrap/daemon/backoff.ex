# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Backoff do
  @moduledoc false
  # The option `:restart_backoff`: how long a Daemon waits before it starts its program again.

  import Bitwise

  @defaults %{first: 500, max: 60_000, healthy_after: 30_000, on: :failure}
  # A message is sent after no more.
  @max_ms 0xFFFF_FFFF

  @type t :: %{
          first: pos_integer(),
          max: pos_integer(),
          healthy_after: pos_integer(),
          on: :failure | :end
        }

  @doc "Checks and normalizes it. The culprit is the part that is wrong."
  @spec cast(term()) :: {:ok, t()} | {:error, culprit :: term()}
  def cast(true), do: {:ok, @defaults}

  def cast(given) do
    if Keyword.keyword?(given), do: cast(given, @defaults), else: {:error, given}
  end

  defp cast([], %{first: first, max: max}) when first > max,
    do: {:error, [first: first, max: max]}

  defp cast([], backoff), do: {:ok, backoff}

  defp cast([{:on, on} | rest], backoff) when on in [:failure, :end],
    do: cast(rest, %{backoff | on: on})

  defp cast([{key, ms} | rest], backoff)
       when key in [:first, :max, :healthy_after] and is_integer(ms) and ms in 1..@max_ms,
       do: cast(rest, %{backoff | key => ms})

  defp cast([entry | _rest], _backoff), do: {:error, [entry]}

  @doc """
  The time to wait after so many failures in a row: doubled by each, no more than `:max`, and of that a random part
  between the half and the whole, so that programs that failed together do not start together. `random` returns a float
  from 0 to 1.
  """
  @spec delay_ms(t(), pos_integer(), (() -> float())) :: non_neg_integer()
  def delay_ms(%{first: first, max: max}, failures, random \\ &:rand.uniform/0) do
    # The largest first time doubled 32 times is more than any maximum.
    whole = min(max, first <<< min(failures - 1, 32))
    round(whole / 2 * (1 + random.()))
  end
end
