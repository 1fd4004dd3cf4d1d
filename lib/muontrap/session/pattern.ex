# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Pattern do
  @moduledoc false
  # Looks for what `MuonTrap.Session.expect/3` waits for, in output that may end in the midst of a character.

  @doc "The match and its groups as `Regex.run/3` gives them with `return: :index`, nil if there is none."
  @spec find(Regex.t() | binary(), binary()) :: [{integer(), integer()}] | nil
  def find(text, bytes) when is_binary(text) do
    case :binary.match(bytes, text) do
      :nomatch -> nil
      match -> [match]
    end
  end

  def find(regex, bytes) do
    Regex.run(regex, bytes, return: :index)
  rescue
    # With the modifier `u`: these bytes are no text, or not yet.
    ArgumentError -> Regex.run(regex, text(bytes, ""), return: :index)
  end

  # As long as the bytes are, so that places stay the same: what is no character is `?`, and one that may still
  # become whole is left out.
  defp text(<<char::utf8, rest::binary>>, text), do: text(rest, <<text::binary, char::utf8>>)

  defp text(bytes, text) do
    # No character is longer.
    first = binary_part(bytes, 0, min(byte_size(bytes), 4))

    case :unicode.characters_to_binary(first) do
      {:error, _before, _rest} -> text(binary_part(bytes, 1, byte_size(bytes) - 1), text <> "?")
      _nothing_or_incomplete -> text
    end
  end
end
