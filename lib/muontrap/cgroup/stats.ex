# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.Stats do
  @moduledoc false
  # What the kernel counts in a group, with the names of cgroup v2 on every machine.
  #
  # What the kernel does not count is left out.

  # {key, v2 file, form}
  @v2 [
    {:memory_current, "memory.current", :integer},
    {:memory_peak, "memory.peak", :integer},
    {:memory_swap_current, "memory.swap.current", :integer},
    {:memory_events, "memory.events", [:low, :high, :max, :oom, :oom_kill, :oom_group_kill]},
    {:memory_pressure, "memory.pressure", :pressure},
    {:cpu_stat, "cpu.stat",
     [:usage_usec, :user_usec, :system_usec, :nr_periods, :nr_throttled, :throttled_usec]},
    {:cpu_pressure, "cpu.pressure", :pressure},
    {:pids_current, "pids.current", :integer},
    {:pids_peak, "pids.peak", :integer},
    {:pids_events, "pids.events", [:max]},
    {:io_pressure, "io.pressure", :pressure},
    {:cgroup_stat, "cgroup.stat", [:nr_descendants, :nr_dying_descendants]}
  ]

  # {key, key inside of it, v1 file, form}
  @v1 [
    {:memory_current, nil, "memory.usage_in_bytes", :integer},
    {:memory_peak, nil, "memory.max_usage_in_bytes", :integer},
    {:memory_events, :max, "memory.failcnt", :integer},
    {:memory_events, :oom_kill, "memory.oom_control", {:field, "oom_kill"}},
    {:cpu_stat, :usage_usec, "cpuacct.usage", :nanoseconds},
    {:cpu_stat, :user_usec, "cpuacct.usage_user", :nanoseconds},
    {:cpu_stat, :system_usec, "cpuacct.usage_sys", :nanoseconds},
    {:cpu_stat, :nr_periods, "cpu.stat", {:field, "nr_periods"}},
    {:cpu_stat, :nr_throttled, "cpu.stat", {:field, "nr_throttled"}},
    {:cpu_stat, :throttled_usec, "cpu.stat", {:field_ns, "throttled_time"}},
    {:pids_current, nil, "pids.current", :integer},
    {:pids_peak, nil, "pids.peak", :integer},
    {:pids_events, :max, "pids.events", {:field, "max"}}
  ]

  @doc "Reads the statistics of a group of one version. Files that cannot be read are left out."
  @spec read(:v1 | :v2, (String.t() -> {:ok, String.t()} | term())) :: map()
  def read(:v2, read) do
    for {key, file, form} <- @v2,
        {:ok, text} <- [read.(file)],
        {:ok, value} <- [parse(form, text)],
        into: %{},
        do: {key, value}
  end

  def read(:v1, read) do
    read_swap(
      for {key, inner, file, form} <- @v1,
          {:ok, text} <- [read.(file)],
          {:ok, value} <- [parse(form, text)],
          reduce: %{} do
        stats when inner == nil -> Map.put(stats, key, value)
        stats -> Map.update(stats, key, %{inner => value}, &Map.put(&1, inner, value))
      end,
      read
    )
  end

  defp read_swap(%{memory_current: memory} = stats, read) do
    with {:ok, text} <- read.("memory.memsw.usage_in_bytes"),
         {:ok, both} <- parse(:integer, text) do
      Map.put(stats, :memory_swap_current, max(both - memory, 0))
    else
      _uncounted -> stats
    end
  end

  defp read_swap(stats, _read), do: stats

  @doc false
  def parse(:integer, text) do
    case text |> String.trim() |> Integer.parse() do
      {number, ""} -> {:ok, number}
      _other -> :error
    end
  end

  def parse(:nanoseconds, text) do
    with {:ok, number} <- parse(:integer, text), do: {:ok, div(number, 1_000)}
  end

  def parse({:field, name}, text) do
    text
    |> String.split("\n")
    |> Enum.find_value(:error, fn line ->
      case String.split(line) do
        [^name, number] -> parse(:integer, number)
        _other -> nil
      end
    end)
  end

  def parse({:field_ns, name}, text) do
    with {:ok, number} <- parse({:field, name}, text), do: {:ok, div(number, 1_000)}
  end

  def parse(:pressure, text) do
    for line <- String.split(text, "\n", trim: true),
        [kind | fields] <- [String.split(line)],
        name = Enum.find([:some, :full], &(Atom.to_string(&1) == kind)),
        into: %{} do
      {name, pressure(fields)}
    end
    |> some()
  end

  def parse(names, text) when is_list(names) do
    for name <- names,
        {:ok, number} <- [parse({:field, Atom.to_string(name)}, text)],
        into: %{} do
      {name, number}
    end
    |> some()
  end

  defp pressure(fields) do
    for field <- fields,
        name <- [:avg10, :avg60, :avg300, :total],
        [left, right] <- [String.split(field, "=", parts: 2)],
        left == Atom.to_string(name),
        {number, ""} <- [if(name == :total, do: Integer.parse(right), else: Float.parse(right))],
        into: %{},
        do: {name, number}
  end

  defp some(map) when map == %{}, do: :error
  defp some(map), do: {:ok, map}
end
