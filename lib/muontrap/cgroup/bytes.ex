# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.Bytes do
  @moduledoc false

  # In v1 "unlimited" is the largest multiple of a page, and pages have up to 64 KiB.
  @unlimited 0x7FFF_FFFF_FFFF_0000

  @doc """
  A number of bytes as the kernel reads it: with `K`, `M`, `G` and so on behind it, `-1` and `max` for
  "no limit".

      iex> MuonTrap.Cgroup.Bytes.parse("256M\\n")
      {:ok, 268_435_456}
  """
  @spec parse(String.t()) :: {:ok, non_neg_integer() | :max} | :error
  def parse(text), do: if(String.valid?(text), do: parse_text(text), else: :error)

  defp parse_text(text) do
    case text |> String.trim() |> Integer.parse() do
      {-1, ""} -> {:ok, :max}
      {number, unit} when number >= 0 -> scale(number, String.upcase(unit))
      _other -> if String.trim(text) == "max", do: {:ok, :max}, else: :error
    end
  end

  for {unit, power} <- Enum.with_index(["", "K", "M", "G", "T", "P", "E"]) do
    defp scale(number, unquote(unit)) do
      bytes = number * unquote(Integer.pow(1024, power))
      {:ok, if(bytes >= @unlimited, do: :max, else: bytes)}
    end
  end

  defp scale(_number, _unit), do: :error
end
