# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Statistics do
  @moduledoc false
  # What `MuonTrap.Daemon.statistics/1` puts together: from the native part, which the Daemon asks, and in the
  # caller from the cgroup and proc(5).

  alias MuonTrap.{Cgroup, Nif}
  alias MuonTrap.Daemon.{Log, State}

  @doc "What the native part knows of the command, what the program has told of itself, and what the Daemon has done."
  @spec info(State.t()) :: map()
  def info(state) do
    notify =
      if state.notify && state.command, do: %{notify: Map.from_struct(state.notify)}, else: %{}

    state
    |> native()
    |> Map.merge(notify)
    |> Map.merge(%{
      restarts: state.restarts,
      next_start_ms: next_start_ms(state),
      dropped_lines: Log.dropped(state.output.log)
    })
  end

  defp native(%{command: nil, options: options}) do
    %{
      os_pid: nil,
      uptime_ms: 0,
      stdout_bytes: 0,
      stderr_bytes: 0,
      unacknowledged_bytes: 0,
      window_bytes: options.stdio_window
    }
  end

  defp native(%{command: command}), do: Nif.info(command.handle)

  defp next_start_ms(%{phase: :resting, timer: timer}), do: :erlang.read_timer(timer) || 0
  defp next_start_ms(_state), do: nil

  @doc "What is known of a program whose cgroup has this plan."
  @spec of(map(), Cgroup.Plan.t() | nil) :: map()
  def of(info, plan) do
    cgroup = Cgroup.statistics(plan)

    info
    |> Map.take([:os_pid, :uptime_ms, :stdout_bytes, :stderr_bytes, :notify])
    |> Map.merge(Map.take(info, [:unacknowledged_bytes, :window_bytes]))
    |> Map.merge(Map.take(info, [:restarts, :next_start_ms, :dropped_lines]))
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
