# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Notify do
  @moduledoc false
  # What programs tell of themselves over `NOTIFY_SOCKET`, see sd_notify(3).
  #
  # `BARRIER=1` comes with a descriptor that the program waits to see closed. A datagram that is read without
  # room for descriptors is one whose descriptors the kernel closes, so reading it is all there is to do.

  alias MuonTrap.Text

  # A pid_t.
  @pid_max 0x7FFF_FFFF
  # Endless for systemd: the largest number of microseconds that it knows.
  @endless_us 0xFFFF_FFFF_FFFF_FFFF
  # A message is sent after no more.
  @max_ms 0xFFFF_FFFF

  defstruct status: nil, main_pid: nil, stopping: nil, reloading: nil

  @type t :: %__MODULE__{
          status: String.t() | nil,
          main_pid: pos_integer() | nil,
          stopping: true | nil,
          reloading: true | nil
        }

  @type order ::
          :ready
          | :reloading
          | :alive
          | :failed
          | :stopping
          | {:extend_ms, pos_integer()}
          | {:watchdog_ms, pos_integer() | nil}

  @doc "Takes a datagram: what is known now, and what there is to do about it, in the order of its lines."
  @spec take(t(), binary()) :: {t(), [order()]}
  def take(known, datagram) do
    lines = String.split(datagram, "\n", trim: true)
    {known, orders} = Enum.reduce(lines, {known, []}, &line/2)
    {known, Enum.reverse(orders)}
  end

  defp line("READY=1", {known, orders}), do: {%{known | reloading: nil}, [:ready | orders]}

  defp line("RELOADING=1", {known, orders}),
    do: {%{known | reloading: true}, [:reloading | orders]}

  defp line("STOPPING=1", {known, orders}),
    do: {%{known | stopping: true}, [:stopping | orders]}

  defp line("STATUS=" <> text, {known, orders}),
    do: {%{known | status: Text.repair(text)}, orders}

  defp line("WATCHDOG=1", {known, orders}), do: {known, [:alive | orders]}
  defp line("WATCHDOG=trigger", {known, orders}), do: {known, [:failed | orders]}

  defp line("MAINPID=" <> text, {known, orders}) do
    case number(text) do
      pid when pid in 1..@pid_max -> {%{known | main_pid: pid}, orders}
      _nonsense -> {known, orders}
    end
  end

  # As systemd has it: no time, or endless time, is no extension, and no watchdog.
  defp line("EXTEND_TIMEOUT_USEC=" <> text, {known, orders} = acc) do
    case number(text) do
      us when is_integer(us) and us > 0 and us < @endless_us ->
        {known, [{:extend_ms, milliseconds(us)} | orders]}

      _none_or_nonsense ->
        acc
    end
  end

  defp line("WATCHDOG_USEC=" <> text, {known, orders} = acc) do
    case number(text) do
      us when us in [0, @endless_us] -> {known, [{:watchdog_ms, nil} | orders]}
      us when us in 1..@endless_us -> {known, [{:watchdog_ms, milliseconds(us)} | orders]}
      _nonsense -> acc
    end
  end

  defp line(_unknown, acc), do: acc

  defp number(text) do
    case Integer.parse(text) do
      {number, ""} -> number
      _nonsense -> nil
    end
  end

  defp milliseconds(us), do: min(div(us + 999, 1000), @max_ms)
end
