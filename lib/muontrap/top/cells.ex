# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Top.Cells do
  @moduledoc false
  # What each column says of a command: as text to read, and as a value to sort by.

  alias MuonTrap.Text
  alias MuonTrap.Top.Sample

  @type column ::
          :id
          | :pid
          | :cpu
          | :memory
          | :output
          | :window
          | :uptime
          | :contained
          | :owner
          | :command

  @spec text(column(), Sample.row()) :: String.t()
  def text(:id, row), do: "#{row.command.id || "-"}"
  def text(:pid, row), do: "#{row.command.os_pid || "-"}"
  def text(:cpu, row), do: if(row.cpu_percent, do: percent(row.cpu_percent), else: "-")
  def text(:memory, row), do: if(row.memory_bytes, do: size(row.memory_bytes), else: "-")
  def text(:output, row), do: size(trunc(row.output_per_s))
  def text(:window, row), do: "#{value(:window, row)}%"
  def text(:uptime, row), do: duration(div(row.command.uptime_ms, 1000))
  def text(:contained, %{command: %{waiting: true}}), do: "waits"

  def text(:contained, %{command: command}) do
    mark = if command.stopping, do: "!", else: ""
    if command.containment == :cgroup, do: "cgroup" <> mark, else: "tree" <> mark
  end

  def text(:owner, %{command: %{name: nil, owner: owner, orphaned: orphaned}}),
    do: if(orphaned, do: "gone", else: inspect(owner))

  def text(:owner, %{command: %{name: name}}), do: inspect(name)
  def text(:command, row), do: Enum.map_join(row.command.command, " ", &clean/1)

  @spec value(column(), Sample.row()) :: term()
  def value(:id, row), do: row.command.id || 0
  def value(:pid, row), do: row.command.os_pid || 0
  def value(:cpu, row), do: row.cpu_percent || 0.0
  def value(:memory, row), do: row.memory_bytes || 0
  def value(:output, row), do: row.output_per_s

  def value(:window, %{command: %{unacknowledged_bytes: used, window_bytes: size}}),
    do: div(used * 100, max(size, 1))

  def value(:uptime, row), do: row.command.uptime_ms
  def value(:command, row), do: row.command.command
  def value(column, row), do: text(column, row)

  @doc "A line for each process of the command."
  @spec tree(Sample.row()) :: [String.t()]
  def tree(%{tree: nil}), do: []
  def tree(%{tree: {_shim, children}}), do: below(children, 1)

  defp below(children, depth) do
    Enum.flat_map(children, fn {{pid, _parent, _cpu, bytes, name}, children} ->
      mark = String.duplicate("  ", depth) <> "└ "
      ["#{mark}#{pid} #{clean(name)} #{size(bytes)}" | below(children, depth + 1)]
    end)
  end

  @spec percent(number()) :: String.t()
  def percent(number), do: :erlang.float_to_binary(number * 1.0, decimals: 1)

  @doc "Bytes in four figures at the most, as in top(1)."
  @spec size(non_neg_integer()) :: String.t()
  def size(bytes), do: size(bytes, ["", "K", "M", "G"])
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
end
