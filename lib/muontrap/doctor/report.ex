# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor.Report do
  @moduledoc false
  # What was found, for people and for programs.

  @margin 25

  @spec text([MuonTrap.Doctor.finding()], pos_integer()) :: iodata()
  def text(findings, columns) do
    counts = Enum.frequencies_by(findings, & &1.status)

    sum =
      for status <- [:ok, :degraded, :missing], count = counts[status], do: "#{count} #{status}"

    [
      "muontrap ",
      version(),
      ": ",
      Enum.intersperse(sum, ", "),
      "\n\n" | Enum.map(findings, &block(&1, columns))
    ]
  end

  defp block(finding, columns) do
    head =
      String.pad_trailing("  #{finding.status}", 12) <>
        String.pad_trailing("#{finding.check}", 13)

    [
      head,
      wrap(finding.found, columns),
      if(finding.consequence, do: [indent(), wrap(finding.consequence, columns)], else: []),
      if(finding.mend in [nil, ""], do: [], else: [indent(), "=> ", finding.mend, "\n"])
    ]
  end

  # What mends it is left in one piece, to be copied.
  defp wrap(text, columns) do
    text
    |> String.split()
    |> Enum.reduce([], fn
      word, [] ->
        [word]

      word, [line | lines] ->
        if String.length(line) + 1 + String.length(word) <= max(columns - @margin, 20),
          do: [line <> " " <> word | lines],
          else: [word, line | lines]
    end)
    |> Enum.reverse()
    |> Enum.intersperse("\n" <> indent())
    |> then(&[&1, "\n"])
  end

  defp indent, do: String.duplicate(" ", @margin)

  @spec json([MuonTrap.Doctor.finding()], MuonTrap.Doctor.status()) :: iodata()
  def json(findings, overall) do
    keys = [:check, :status, :found, :consequence, :mend]
    checks = for finding <- findings, do: object(for key <- keys, do: {key, value(finding[key])})

    [
      "{\"version\":",
      value(version()),
      ",\"status\":",
      value(overall),
      ",\"checks\":[\n",
      Enum.intersperse(checks, ",\n"),
      "\n]}\n"
    ]
  end

  defp object(pairs) do
    pairs = for {key, value} <- pairs, do: [?", to_string(key), "\":", value]
    [?{, Enum.intersperse(pairs, ?,), ?}]
  end

  # All that there is in a finding.
  defp value(nil), do: "null"
  defp value(atom) when is_atom(atom), do: value(Atom.to_string(atom))
  defp value(text), do: [?", escape(text, []), ?"]

  # RFC 8259, section 7. A path may hold any bytes.
  defp escape(<<char::utf8, rest::binary>>, done), do: escape(rest, [done | escaped(char)])
  defp escape(<<_byte, rest::binary>>, done), do: escape(rest, [done | "\uFFFD"])
  defp escape(<<>>, done), do: done

  defp escaped(?"), do: "\\\""
  defp escaped(?\\), do: "\\\\"
  defp escaped(char) when char < 0x20, do: "\\u" <> hex(char)
  defp escaped(char), do: <<char::utf8>>

  defp hex(char), do: char |> Integer.to_string(16) |> String.pad_leading(4, "0")

  # Known without the application having started.
  defp version do
    _ = Application.load(:muontrap)
    to_string(Application.spec(:muontrap, :vsn) || "of unknown version")
  end
end
