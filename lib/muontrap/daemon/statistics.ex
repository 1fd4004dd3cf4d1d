# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Statistics do
  @moduledoc false
  # What `MuonTrap.Daemon.statistics/1` puts together: from the native part, which the Daemon asks, and in the
  # caller from the cgroup and proc(5).

  alias MuonTrap.Daemon.Notify
  alias MuonTrap.{Cgroup, Command, Nif, Options}

  @doc "What the native part knows of the command, and what the program has told of itself."
  @spec info(Command.t() | nil, Options.t(), Notify.t() | nil) :: map()
  def info(nil, options, _notify) do
    %{
      os_pid: nil,
      uptime_ms: 0,
      stdout_bytes: 0,
      stderr_bytes: 0,
      unacknowledged_bytes: 0,
      window_bytes: options.stdio_window
    }
  end

  def info(command, _options, nil), do: Nif.info(command.handle)

  def info(command, _options, notify),
    do: command.handle |> Nif.info() |> Map.put(:notify, Map.from_struct(notify))

  @doc "What is known of a program whose cgroup has this plan."
  @spec of(map(), Cgroup.Plan.t() | nil) :: map()
  def of(info, plan) do
    cgroup = Cgroup.statistics(plan)

    info
    |> Map.take([:os_pid, :uptime_ms, :stdout_bytes, :stderr_bytes, :notify])
    |> Map.merge(Map.take(info, [:unacknowledged_bytes, :window_bytes]))
    |> Map.merge(%{
      # What was logged: whoever waits for a number of bytes, as with upstream, finds them in the log then.
      output_byte_count: info.stdout_bytes + info.stderr_bytes - info.unacknowledged_bytes,
      cpu_time_us: cgroup[:cpu_stat][:usage_usec] || cpu_time_us(info.os_pid),
      memory_peak_bytes: cgroup[:memory_peak] || memory_peak_bytes(info.os_pid),
      cgroup: cgroup
    })
  end

  # The unit is USER_HZ, 100 on every architecture that muontrap runs on.
  defp cpu_time_us(pid) do
    with {:ok, stat} <- proc(pid, "stat") do
      # The name in parentheses may hold anything, these included.
      fields = stat |> String.split(")") |> List.last() |> String.split()

      fields
      |> Enum.slice(11, 4)
      |> Enum.map(&String.to_integer/1)
      |> Enum.sum()
      |> Kernel.*(10_000)
    else
      {:error, _gone} -> nil
    end
  end

  defp memory_peak_bytes(pid) do
    with {:ok, status} <- proc(pid, "status"),
         [_all, kib] <- Regex.run(~r/^VmHWM:\s+(\d+) kB/m, status) do
      String.to_integer(kib) * 1024
    else
      _gone -> nil
    end
  end

  # The numbers in the `/proc` of another PID namespace are those of other processes.
  defp proc(pid, file) do
    with true <- pid != nil,
         {:ok, self} <- File.read("/proc/self/status"),
         [_all, ids] <- Regex.run(~r/^NSpid:\s+(.*)$/m, self),
         true <- ids == System.pid() do
      File.read("/proc/#{pid}/#{file}")
    else
      _does_not_count -> {:error, :enoent}
    end
  end
end
