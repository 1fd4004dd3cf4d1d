# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Top.Keys do
  @moduledoc false
  # What a line asks for.

  alias MuonTrap.Signal

  @sorts %{"c" => :cpu, "m" => :memory, "o" => :output, "u" => :uptime, "n" => :name}
  # No atom is made of what somebody types.
  @signals for number <- 1..31,
               into: %{},
               do: {to_string(Signal.name(number)), Signal.name(number)}

  @type action ::
          :draw
          | :quit
          | :tree
          | {:sort, atom()}
          | {:interval_ms, pos_integer()}
          | {:stop, pos_integer()}
          | {:signal, pos_integer(), Signal.t()}
          | {:unknown, String.t()}

  @spec parse(String.t()) :: action()
  def parse(line) do
    line = String.trim(line)
    with :error <- words(String.split(line)), do: {:unknown, String.slice(line, 0, 40)}
  end

  defp words([]), do: :draw
  defp words(["q"]), do: :quit
  defp words(["t"]), do: :tree
  defp words([letter]) when is_map_key(@sorts, letter), do: {:sort, @sorts[letter]}
  defp words(["k", id]), do: with({:ok, id} <- number(id), do: {:stop, id})

  defp words(["d", seconds]) do
    case Float.parse(seconds) do
      {seconds, ""} when seconds > 0 and seconds < 86_400 -> {:interval_ms, ceil(seconds * 1000)}
      _other -> :error
    end
  end

  defp words(["s", id, signal]) do
    with {:ok, id} <- number(id), {:ok, signal} <- signal(String.downcase(signal)) do
      {:signal, id, signal}
    end
  end

  defp words(_other), do: :error

  defp number(text) do
    case Integer.parse(text) do
      {number, ""} when number > 0 -> {:ok, number}
      _other -> :error
    end
  end

  defp signal(text) do
    with :error <- Map.fetch(@signals, text),
         :error <- Map.fetch(@signals, "sig" <> text),
         {:ok, number} <- number(text),
         {:ok, _number} <- Signal.number(number),
         do: {:ok, Signal.name(number)}
  end
end
