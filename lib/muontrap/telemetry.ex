# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Telemetry do
  @moduledoc """
  The events that muontrap sends to the [`telemetry`](https://hex.pm/packages/telemetry) library.

  muontrap does not depend on it: an application that has the library gets the events, without any configuration.

      :telemetry.attach("log", [:muontrap, :command, :stop], fn _event, measurements, metadata, _config ->
        us = System.convert_time_unit(measurements.duration, :native, :microsecond)
        Logger.info("\#{metadata.command}: \#{inspect(metadata.status)} after \#{us} µs")
      end, nil)

  All functions of `MuonTrap`, Daemons and sessions send the same events. Handlers run in the process that owns the
  command, which waits for them: the caller, the Daemon, or that of the session. The library detaches a handler that
  raises.

  Exactly one of `:stop` and `:exception` follows each `:start`, unless the owner is killed before.

  ## Events

  The metadata of all events:

    * `:command`, `:args` - as they were given
    * `:owner` - the pid of the process that owns the command
    * `:telemetry_span_context` - a reference, the same in all events of one command
    * `:node` - of a command on another node, which emits none there

  No event holds environment, input or output.

  ### `[:muontrap, :command, :start]`

  A command is about to be started. Measurements:

    * `:system_time`, `:monotonic_time` - in native units

  ### `[:muontrap, :command, :stop]`

  A program ended, in whatever way, and so did everything that it started. Measurements:

    * `:duration` - since the start, in native units
    * `:monotonic_time` - in native units
    * `:stdout_bytes`, `:stderr_bytes` - how much of its output was read
    * `:user_us`, `:system_us`, `:max_rss_bytes` - as `:usage` in `MuonTrap.Result`

  Metadata in addition:

    * `:os_pid`, `:exit_status`, `:oom_killed`, `:survivors`, `:leftovers` - as in `MuonTrap.Result`
    * `:status` - `{:exited, code}` or `{:signaled, signal}`, after a timeout too
    * `:stopped` - whether it was asked to stop: by its timeout, by the end of its Daemon, by an enumeration that
      stopped early, or by an exception in the caller

  ### `[:muontrap, :command, :exception]`

  A command could not be started, or its helper was killed. Measurements are `:duration` and `:monotonic_time`;
  metadata in addition:

    * `:kind`, `:reason`, `:stacktrace` - `:error`, the `MuonTrap.Error`, and `[]`
    * `:survivors` - the process ids of what could not be killed

  ### `[:muontrap, :command, :leftover]`

  A process or a cgroup of a command could not be removed. It comes before the `:stop` or `:exception`, and the log has
  an error too. Measurements:

    * `:survivors`, `:leftovers` - how many of them

  Metadata in addition:

    * `:survivors`, `:leftovers` - as in `MuonTrap.Result`
  """

  alias MuonTrap.{Command, Error, Nif}

  require Logger

  @doc false
  @spec start(Command.t()) :: :ok
  def start(command) do
    if heard?() do
      measurements = %{system_time: System.system_time(), monotonic_time: command.since}
      execute(:start, measurements, metadata(command))
    end

    :ok
  end

  @doc false
  @spec stop(Command.t(), map()) :: :ok
  def stop(command, outcome) do
    if heard?() do
      # Another node tells it with the outcome.
      info = Map.get_lazy(outcome, :info, fn -> Nif.info(command.handle) end)

      measurements =
        outcome
        |> Map.take([:user_us, :system_us, :max_rss_bytes])
        |> Map.merge(Map.take(info, [:stdout_bytes, :stderr_bytes]))
        |> Map.merge(times(command))

      more = %{
        status: Command.status(outcome),
        exit_status: Command.exit_status(outcome.status),
        leftovers: Enum.map(outcome.leftovers, &Command.error/1),
        stopped: info.stopping
      }

      metadata = outcome |> Map.take([:os_pid, :oom_killed, :survivors]) |> Map.merge(more)

      execute(:stop, measurements, Map.merge(metadata(command), metadata))
    end

    :ok
  end

  @doc false
  @spec exception(Command.t(), Error.t(), [pos_integer()]) :: :ok
  def exception(command, error, survivors \\ []) do
    if heard?() do
      more = %{kind: :error, reason: error, stacktrace: [], survivors: survivors}
      execute(:exception, times(command), Map.merge(metadata(command), more))
    end

    :ok
  end

  @doc false
  @spec leftover(Command.t(), [pos_integer()], [Error.t()]) :: :ok
  def leftover(command, survivors, leftovers) do
    if heard?() do
      more = %{survivors: survivors, leftovers: leftovers}
      measurements = Map.new(more, fn {key, list} -> {key, length(list)} end)
      execute(:leftover, measurements, Map.merge(metadata(command), more))
    end

    :ok
  end

  # Only loaded code can have handlers: attaching one loads it. So this is never too early, and needs no cache.
  defp heard?, do: function_exported?(:telemetry, :execute, 3)

  defp metadata(command) do
    metadata = %{
      command: command.program,
      args: command.args,
      owner: self(),
      telemetry_span_context: command.ref
    }

    if command.node, do: Map.put(metadata, :node, command.node), else: metadata
  end

  defp times(command) do
    now = System.monotonic_time()
    %{duration: now - command.since, monotonic_time: now}
  end

  # The library catches what handlers raise. Should something else come from there, the command matters more.
  defp execute(event, measurements, metadata) do
    apply(:telemetry, :execute, [[:muontrap, :command, event], measurements, metadata])
  catch
    kind, reason ->
      Logger.error([
        "muontrap lost a telemetry event: ",
        Exception.format(kind, reason, __STACKTRACE__)
      ])
  end
end
