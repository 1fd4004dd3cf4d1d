# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options.Docs do
  @moduledoc false
  # The option table as Markdown.

  alias MuonTrap.Defaults
  alias MuonTrap.Options.{Table, Words}

  @doc "The options of a function in groups: a sentence each, type and default."
  @spec of(atom()) :: String.t()
  def of(kind) do
    for {title, rows} <- Table.groups(),
        [_one | _more] = lines <- [for(row <- rows, kind in elem(row, 1), do: line(row))],
        into: "",
        do: "**#{title}**\n\n#{lines}\n"
  end

  defp line({key, _kinds, type, default, doc}) do
    "  * `#{inspect(key)}` - #{sentence(doc)}. #{capitalize(Words.describe(type))}#{default(default)}.\n"
  end

  @doc "What there is to know of options beyond a sentence, for all functions at once."
  @spec details() :: String.t()
  def details do
    for {title, rows} <- Table.groups(),
        [_one | _more] = parts <- [for(row <- rows, part = detail(row), do: part)],
        into: "",
        do: "### #{title}\n\n#{Enum.join(parts, "\n")}\n"
  end

  defp detail({key, _kinds, _type, _default, doc}) do
    case String.split(doc, "\n\n", parts: 2) do
      [_sentence, more] -> "`#{inspect(key)}`: #{one_line(more)}\n"
      [_sentence] -> nil
    end
  end

  defp sentence(doc), do: doc |> String.split("\n\n", parts: 2) |> hd() |> one_line()
  defp one_line(text), do: text |> String.split() |> Enum.join(" ")

  # `String.capitalize/1` makes the rest small.
  defp capitalize(<<first::binary-1, rest::binary>>), do: String.upcase(first) <> rest

  defp default(nil), do: ""

  defp default({Defaults, key}),
    do: "; default: `#{Defaults.built_in(key)}`, or that of `config :muontrap, #{key}: ...`"

  defp default(value), do: "; default: `#{inspect(value)}`"
end
