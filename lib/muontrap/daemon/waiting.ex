# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Waiting do
  @moduledoc false
  # The Daemons that wait before they start their program again, for `MuonTrap.list/0`.
  #
  # Each has a table of its own meanwhile, which goes with it however it ends: nothing has to be cleaned up, nor started
  # before.

  alias MuonTrap.Options

  @type t :: :ets.tid()

  @doc "The calling Daemon waits until a point in monotonic milliseconds."
  @spec put(Options.t(), integer()) :: t()
  def put(options, until_ms) do
    table = :ets.new(__MODULE__, [:protected])

    entry = %{
      id: nil,
      owner: self(),
      command: [options.command | options.args],
      os_pid: nil,
      uptime_ms: 0,
      stdout_bytes: 0,
      stderr_bytes: 0,
      unacknowledged_bytes: 0,
      window_bytes: options.stdio_window,
      cgroup: [],
      stopping: false,
      orphaned: false,
      done: false
    }

    :ets.insert(table, {:waiting, entry, until_ms})
    table
  end

  @doc "It does not wait any more."
  @spec delete(t() | nil) :: :ok
  def delete(nil), do: :ok

  def delete(table) do
    :ets.delete(table)
    :ok
  end

  @doc "All that wait, each with `:next_start_ms`, the milliseconds that are left."
  @spec list() :: [map()]
  def list do
    now_ms = System.monotonic_time(:millisecond)

    for table <- :ets.all(),
        :ets.info(table, :name) == __MODULE__,
        {:waiting, entry, until_ms} <- rows(table),
        do: Map.put(entry, :next_start_ms, max(until_ms - now_ms, 0))
  end

  defp rows(table) do
    :ets.lookup(table, :waiting)
  rescue
    # It has just gone.
    ArgumentError -> []
  end
end
