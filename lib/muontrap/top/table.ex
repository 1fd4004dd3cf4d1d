# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Top.Table do
  @moduledoc false
  # The table as text: a pure function of two samples, the view and the size of the terminal.

  alias MuonTrap.Top.{Cells, Sample, View}

  # Heading, width, and from how many columns of the terminal on it is shown. The command takes the rest.
  @columns [
    id: {"ID", 6, 0},
    pid: {"PID", 8, 50},
    cpu: {"CPU%", 6, 0},
    memory: {"MEM", 6, 40},
    output: {"OUT/s", 6, 60},
    window: {"WINDOW", 6, 90},
    uptime: {"UPTIME", 8, 50},
    contained: {"IN", 7, 80},
    owner: {"OWNER", 18, 100}
  ]

  # Headings, hints and an empty line to type into.
  @other_lines 5
  @keys "c/m/o/u/n sort  t tree  k ID stop  s ID SIGNAL  d SECONDS  q quit, then Enter"

  @doc "Lines of at most so many columns, at most so many of them unless `rows` of the view is `:infinity`."
  @spec render(Sample.t(), Sample.t(), View.t(), {pos_integer(), pos_integer()}) :: iodata()
  def render(now, before, view, {columns, lines}) do
    rows = now |> Sample.rows(before) |> sort(view)
    shown = for {key, {_name, _width, from}} <- @columns, columns >= from, do: key
    room = if view.rows == :infinity, do: :infinity, else: max(lines - @other_lines, 1)
    {body, drawn} = body(rows, room, &row(&1, shown, view.tree))
    hidden = length(rows) - drawn
    more = if hidden > 0, do: "... and #{hidden} more commands", else: ""

    [summary(rows, now), heading(shown) | body]
    |> Enum.concat(if(view.rows == :infinity, do: [], else: [more, view.message || @keys]))
    |> Enum.map(&cut(&1, columns))
    |> Enum.intersperse("\n")
  end

  # As many lines as there is room for, and how many commands that are.
  defp body(rows, :infinity, draw), do: {Enum.flat_map(rows, draw), length(rows)}

  defp body(rows, room, draw) do
    drawn = rows |> Enum.take(room) |> Enum.map(draw)
    {lines, _cut} = drawn |> Enum.concat() |> Enum.split(room)
    ends = Enum.scan(Enum.map(drawn, &length/1), &+/2)
    {lines, Enum.count(Enum.zip([0 | ends], ends), fn {start, _end} -> start < room end)}
  end

  defp summary(rows, now) do
    stopping = Enum.count(rows, & &1.command.stopping)
    memory = rows |> Enum.map(&(&1.memory_bytes || 0)) |> Enum.sum()
    cpu = rows |> Enum.map(&(&1.cpu_percent || 0.0)) |> Enum.sum()
    unknown = if now.processes, do: "", else: " (no /proc of ours: no CPU, no memory)"

    "muontrap: #{count(rows)}, #{stopping} stopping, CPU #{Cells.percent(cpu)}%, " <>
      "memory #{Cells.size(memory)}#{unknown}"
  end

  defp count([_one]), do: "1 command"
  defp count(rows), do: "#{length(rows)} commands"

  defp heading(shown), do: line(for(key <- shown, do: {key, elem(@columns[key], 0)}), "COMMAND")

  defp row(row, shown, tree?) do
    cells = for key <- shown, do: {key, Cells.text(key, row)}
    [line(cells, Cells.text(:command, row)) | if(tree?, do: Cells.tree(row), else: [])]
  end

  defp line(cells, command) do
    cells =
      for {key, text} <- cells do
        {_name, width, _from} = @columns[key]
        text = String.slice(text, 0, width)

        if key == :owner,
          do: String.pad_trailing(text, width),
          else: String.pad_leading(text, width)
      end

    Enum.join(cells ++ [command], " ")
  end

  defp sort(rows, %{sort: sort, reversed: reversed}) do
    # The largest first, but names as in a dictionary.
    order = if reversed == (sort == :name), do: :desc, else: :asc
    column = if sort == :name, do: :command, else: sort
    Enum.sort_by(rows, &{Cells.value(column, &1), &1.command.id, &1.command.owner}, order)
  end

  defp cut(line, columns), do: String.slice(line, 0, columns)
end
