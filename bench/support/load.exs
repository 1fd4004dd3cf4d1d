# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Bench.Load do
  @moduledoc "The time of the processors, and who had it."

  # USER_HZ, see time(7): /proc counts in this, whatever the kernel does inside.
  @tick_ms 10

  @doc """
  Runs a function. Returns its value and the share of all processors that was taken meanwhile by others than this
  VM and what it started, a number from 0 to 1.
  """
  @spec during((() -> value)) :: {value, float()} when value: term()
  def during(fun) do
    {busy, all} = machine()
    own = own_ms()
    value = fun.()
    own = own_ms() - own
    {busy_then, all_then} = machine()
    foreign = (busy_then - busy - own) / max(all_then - all, 1)
    {value, foreign |> max(0.0) |> min(1.0)}
  end

  # user, nice, system, idle, iowait, irq, softirq, steal: see proc_stat(5). What the host takes is not ours.
  defp machine do
    [first | _processors] = "/proc/stat" |> File.read!() |> String.split("\n")
    ["cpu" | times] = String.split(first)
    times = times |> Enum.take(8) |> Enum.map(&(String.to_integer(&1) * @tick_ms))
    all = Enum.sum(times)
    {all - Enum.at(times, 3) - Enum.at(times, 4), all}
  end

  @doc "What this VM and all processes below it have used, with those that were waited for, in ms."
  @spec own_ms() :: non_neg_integer()
  def own_ms do
    times = for {_pid, %{times: times}} <- family(), do: Enum.sum(times)
    Enum.sum(times) * @tick_ms
  end

  @doc "The processes below this VM."
  @spec below() :: [pos_integer()]
  def below, do: for({pid, _stat} <- family(), pid != own_pid(), do: pid)

  @doc "The name of a process as the kernel has it; `nil` if it is gone."
  @spec name(pos_integer()) :: String.t() | nil
  def name(pid) do
    case File.read("/proc/#{pid}/comm") do
      {:ok, name} -> String.trim(name)
      {:error, _gone} -> nil
    end
  end

  @doc "What all threads of some processes have used so far, in ms, see sched-stats of the kernel."
  @spec threads_ms([pos_integer()]) :: float()
  def threads_ms(pids) do
    times =
      for pid <- pids,
          {:ok, threads} <- [File.ls("/proc/#{pid}/task")],
          thread <- threads,
          {:ok, line} <- [File.read("/proc/#{pid}/task/#{thread}/schedstat")],
          do: line |> String.split() |> hd() |> String.to_integer()

    Enum.sum(times) / 1.0e6
  end

  @doc "This VM."
  @spec own_pid() :: pos_integer()
  def own_pid, do: String.to_integer(System.pid())

  defp family do
    all =
      for name <- File.ls!("/proc"),
          {pid, ""} <- [Integer.parse(name)],
          {:ok, stat} <- [File.read("/proc/#{pid}/stat")],
          into: %{},
          do: {pid, parse(stat)}

    children = Enum.group_by(all, fn {_pid, stat} -> stat.parent end, &elem(&1, 0))
    all |> Map.take(descend([own_pid()], children)) |> Map.to_list()
  end

  defp descend(pids, children),
    do: Enum.flat_map(pids, &[&1 | descend(Map.get(children, &1, []), children)])

  # The name, in brackets, may have spaces in it.
  defp parse(stat) do
    [_state, parent | rest] = stat |> String.split(")") |> List.last() |> String.split()
    # utime, stime, cutime, cstime
    times = rest |> Enum.slice(9, 4) |> Enum.map(&String.to_integer/1)
    %{parent: String.to_integer(parent), times: times}
  end
end
