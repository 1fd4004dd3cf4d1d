# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Top.Table do
  @moduledoc false
  # The table as text: a pure function of two samples, the view and the size of the terminal.

  alias MuonTrap.Text
  alias MuonTrap.Top.{Sample, View}

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

    "muontrap: #{count(rows)}, #{stopping} stopping, CPU #{percent(cpu)}%, " <>
      "memory #{size(memory)}#{unknown}"
  end

  defp count([_one]), do: "1 command"
  defp count(rows), do: "#{length(rows)} commands"

  defp heading(shown), do: line(for(key <- shown, do: {key, elem(@columns[key], 0)}), "COMMAND")

  defp row(%{command: command} = row, shown, tree?) do
    first =
      line(
        for(key <- shown, do: {key, cell(key, row)}),
        Enum.map_join(command.command, " ", &clean/1)
      )

    if tree? and row.tree != nil, do: [first | below(elem(row.tree, 1), 1)], else: [first]
  end

  defp below(children, depth) do
    Enum.flat_map(children, fn {{pid, _parent, _cpu, bytes, name}, children} ->
      mark = String.duplicate("  ", depth) <> "└ "
      ["#{mark}#{pid} #{clean(name)} #{size(bytes)}" | below(children, depth + 1)]
    end)
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

  defp cell(:id, row), do: "#{row.command.id || "-"}"
  defp cell(:pid, row), do: "#{row.command.os_pid || "-"}"
  defp cell(:cpu, row), do: if(row.cpu_percent, do: percent(row.cpu_percent), else: "-")
  defp cell(:memory, row), do: if(row.memory_bytes, do: size(row.memory_bytes), else: "-")
  defp cell(:output, row), do: size(trunc(row.output_per_s))
  defp cell(:uptime, row), do: duration(div(row.command.uptime_ms, 1000))

  defp cell(:window, %{command: %{unacknowledged_bytes: used, window_bytes: size}}),
    do: "#{div(used * 100, max(size, 1))}%"

  defp cell(:contained, %{command: %{waiting: true}}), do: "waits"

  defp cell(:contained, %{command: command}) do
    mark = if command.stopping, do: "!", else: ""
    if command.containment == :cgroup, do: "cgroup" <> mark, else: "tree" <> mark
  end

  defp cell(:owner, %{command: %{name: nil, owner: owner, orphaned: orphaned}}),
    do: if(orphaned, do: "gone", else: inspect(owner))

  defp cell(:owner, %{command: %{name: name}}), do: inspect(name)

  defp sort(rows, %{sort: sort, reversed: reversed}) do
    # The largest first, but names as in a dictionary.
    order = if reversed == (sort == :name), do: :desc, else: :asc
    Enum.sort_by(rows, &{key(sort, &1), &1.command.id, &1.command.owner}, order)
  end

  defp key(:cpu, row), do: row.cpu_percent || 0.0
  defp key(:memory, row), do: row.memory_bytes || 0
  defp key(:output, row), do: row.output_per_s
  defp key(:uptime, row), do: row.command.uptime_ms
  defp key(:name, row), do: row.command.command

  defp percent(number), do: :erlang.float_to_binary(number * 1.0, decimals: 1)

  # Four figures at the most, as in top(1).
  defp size(bytes), do: size(bytes, ["", "K", "M", "G"])
  defp size(number, [unit]), do: "#{trunc(number)}#{unit}"
  defp size(number, [unit | _units]) when number < 1000, do: "#{trunc(number)}#{unit}"

  defp size(number, [_unit, next | _units]) when number < 10_240,
    do: :erlang.float_to_binary(number / 1024, decimals: 1) <> next

  defp size(number, [_unit | units]), do: size(number / 1024, units)

  defp duration(seconds) when seconds < 60, do: "#{seconds}s"
  defp duration(seconds) when seconds < 3600, do: "#{div(seconds, 60)}m#{pad(rem(seconds, 60))}s"

  defp duration(seconds) when seconds < 86_400,
    do: "#{div(seconds, 3600)}h#{pad(div(rem(seconds, 3600), 60))}m"

  defp duration(seconds), do: "#{div(seconds, 86_400)}d#{pad(div(rem(seconds, 86_400), 3600))}h"

  defp pad(number), do: number |> Integer.to_string() |> String.pad_leading(2, "0")

  # What a program was called with must not move the cursor.
  defp clean(word), do: word |> Text.repair() |> String.replace(~r/\p{C}/u, "?")

  defp cut(line, columns), do: String.slice(line, 0, columns)
end
