# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Notify do
  @moduledoc false
  # What programs tell of themselves over `NOTIFY_SOCKET`, see sd_notify(3).
  #
  # `BARRIER=1` comes with a descriptor that the program waits to see closed. A datagram that is read without
  # room for descriptors is one whose descriptors the kernel closes, so reading it is all there is to do.

  alias MuonTrap.Text

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
          | {:watchdog_ms, pos_integer()}

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
    case Integer.parse(text) do
      {pid, ""} when pid > 0 -> {%{known | main_pid: pid}, orders}
      _nonsense -> {known, orders}
    end
  end

  defp line("EXTEND_TIMEOUT_USEC=" <> text, acc), do: milliseconds(:extend_ms, text, acc)
  defp line("WATCHDOG_USEC=" <> text, acc), do: milliseconds(:watchdog_ms, text, acc)
  defp line(_unknown, acc), do: acc

  defp milliseconds(order, text, {known, orders}) do
    case Integer.parse(text) do
      {us, ""} when us > 0 -> {known, [{order, div(us + 999, 1000)} | orders]}
      _nonsense -> {known, orders}
    end
  end
end
