# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.StopSteps do
  @moduledoc false
  # The option `:stop`: what is done one after the other, and how long each is waited for.

  alias MuonTrap.Signal

  # `receive ... after` takes no more.
  @pause_max_ms 0xFFFF_FFFF

  @typedoc "A signal by number or a command, and the pause after it; nil for `:delay_to_sigkill`."
  @type step :: {1..64 | {String.t(), [String.t()]}, non_neg_integer() | nil}

  @doc "Checks and normalizes it. The culprit is the part that is wrong."
  @spec cast(term()) :: {:ok, [step()]} | {:error, culprit :: term()}
  def cast([_first | _more] = steps),
    do: if(List.improper?(steps), do: {:error, steps}, else: cast(steps, []))

  def cast(act) when not is_list(act), do: cast([act])
  def cast(steps), do: {:error, steps}

  defp cast([], acc), do: {:ok, Enum.reverse(acc)}

  defp cast([act, pause_ms | rest], acc) when is_integer(pause_ms) do
    if pause_ms in 0..@pause_max_ms,
      do: with({:ok, act} <- act(act), do: cast(rest, [{act, pause_ms} | acc])),
      else: {:error, pause_ms}
  end

  defp cast([act | rest], acc) do
    # What follows at once follows without a pause; what comes last has the grace.
    pause_ms = if rest == [], do: nil, else: 0
    with {:ok, act} <- act(act), do: cast(rest, [{act, pause_ms} | acc])
  end

  # A number is a pause, so signals have their names.
  defp act(name) when is_atom(name) do
    with :error <- Signal.number(name), do: {:error, name}
  end

  defp act({command, args} = act) when is_list(args) do
    strings? = not List.improper?(args) and Enum.all?([command | args], &string?/1)
    if strings?, do: {:ok, act}, else: {:error, act}
  end

  defp act(other), do: {:error, other}

  defp string?(value), do: is_binary(value) and not String.contains?(value, "\0")

  @doc "How long the steps take at the most."
  @spec duration_ms([step()], non_neg_integer()) :: non_neg_integer()
  def duration_ms(steps, grace_ms), do: Enum.sum(for {_act, ms} <- steps, do: ms || grace_ms)
end
