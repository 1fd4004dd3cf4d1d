# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Text do
  @moduledoc false

  @doc "Replaces each run of bytes that are not UTF-8 by U+FFFD."
  @spec repair(binary()) :: String.t()
  def repair(bytes), do: if(String.valid?(bytes), do: bytes, else: repair_chunks(bytes))

  defp repair_chunks(bytes) do
    bytes
    |> String.chunk(:valid)
    |> Enum.map_join(&if(String.valid?(&1), do: &1, else: "\uFFFD"))
  end
end
