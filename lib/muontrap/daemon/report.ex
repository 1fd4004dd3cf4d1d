# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Report do
  @moduledoc false
  # How a program has ended, in words: for the log, and for who looks at the Daemon's state.

  alias MuonTrap.{Command, Text}

  @doc "One line. `lived_ms` is how long the program ran."
  @spec ended(String.t(), map(), non_neg_integer()) :: String.t()
  def ended(command, %{status: {:exited, 0}}, _lived_ms),
    do: Text.repair(command) <> ": Process exited successfully"

  def ended(command, outcome, lived_ms) do
    more =
      for text <- [signal(Command.status(outcome)), outcome.oom_killed && "out of memory"],
          text,
          do: text

    more = if more == [], do: "", else: " (#{Enum.join(more, ", ")})"
    pid = if outcome.os_pid, do: ", pid #{outcome.os_pid}", else: ""

    "#{Text.repair(command)}: Process exited with status #{Command.exit_status(outcome.status)}" <>
      "#{more}#{pid}, after #{duration(lived_ms)}"
  end

  @doc "The end of what the program wrote, to be put after that line."
  @spec tail(:stdout | :stderr, binary()) :: String.t()
  def tail(stream, bytes) do
    what = if stream == :stdout, do: "output", else: "standard error"

    case String.trim_trailing(Text.repair(bytes)) do
      "" -> ""
      text -> ". The end of its #{what}:\n" <> text
    end
  end

  defp signal({:signaled, name}) when is_atom(name),
    do: name |> Atom.to_string() |> String.upcase()

  defp signal({:signaled, number}), do: "signal #{number}"
  defp signal({:exited, _code}), do: nil

  @doc ~S'''
  A time as people say it.

      iex> for ms <- [7, 2_345, 61_000, 7_260_000, 90_000_000], do: MuonTrap.Daemon.Report.duration(ms)
      ["7 ms", "2.3 s", "1 min 1 s", "2 h 1 min", "1 d 1 h"]
  '''
  @spec duration(non_neg_integer()) :: String.t()
  def duration(ms) when ms < 1_000, do: "#{ms} ms"
  def duration(ms) when ms < 60_000, do: "#{div(ms, 1_000)}.#{div(rem(ms, 1_000), 100)} s"
  def duration(ms) when ms < 3_600_000, do: two(div(ms, 1_000), 60, "min", "s")
  def duration(ms) when ms < 86_400_000, do: two(div(ms, 60_000), 60, "h", "min")
  def duration(ms), do: two(div(ms, 3_600_000), 24, "d", "h")

  defp two(count, per, large, small),
    do: "#{div(count, per)} #{large} #{rem(count, per)} #{small}"
end
