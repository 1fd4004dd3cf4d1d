# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Rate do
  @moduledoc false
  # The option `:log_rate`: so many lines in each second, which begins with its first line.

  @second_us 1_000_000

  # unsaid: dropped since it was told last; dropped: all in all
  @enforce_keys [:max]
  defstruct [:max, :since_us, used: 0, unsaid: 0, dropped: 0]

  @type t :: %__MODULE__{
          max: pos_integer(),
          since_us: integer() | nil,
          used: non_neg_integer(),
          unsaid: non_neg_integer(),
          dropped: non_neg_integer()
        }

  @doc "Lines per second, or nil for no limit."
  @spec new(pos_integer() | nil) :: t() | nil
  def new(nil), do: nil
  def new(max), do: %__MODULE__{max: max}

  @doc "Whether a line of this moment is logged."
  @spec take(t(), integer()) :: {:pass | :drop, t()}
  def take(%{since_us: since_us} = rate, now_us)
      when since_us == nil or now_us - since_us >= @second_us,
      do: {:pass, %{rate | since_us: now_us, used: 1}}

  def take(%{used: used, max: max} = rate, _now_us) when used < max,
    do: {:pass, %{rate | used: used + 1}}

  def take(rate, _now_us),
    do: {:drop, %{rate | unsaid: rate.unsaid + 1, dropped: rate.dropped + 1}}
end
