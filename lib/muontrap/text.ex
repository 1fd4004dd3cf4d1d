# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Text do
  @moduledoc false

  @doc "Replaces each run of bytes that are not UTF-8 by U+FFFD."
  @spec repair(binary()) :: String.t()
  def repair(bytes), do: if(String.valid?(bytes), do: bytes, else: repair_chunks(bytes))

  @doc "The atom that a word was probably meant for, given a typo or another case; nil if there is none like it."
  @spec near(term(), [atom()]) :: atom() | nil
  def near(word, atoms) when is_atom(word) or is_binary(word) do
    word = word |> to_string() |> repair() |> String.downcase()
    alike = fn atom -> String.jaro_distance(Atom.to_string(atom), word) end
    nearest = Enum.max_by(atoms, alike)
    if alike.(nearest) > 0.8, do: nearest
  end

  def near(_no_word, _atoms), do: nil

  defp repair_chunks(bytes) do
    bytes
    |> String.chunk(:valid)
    |> Enum.map_join(&if(String.valid?(&1), do: &1, else: "\uFFFD"))
  end
end
