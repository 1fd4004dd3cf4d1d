# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Telemetry do
  @moduledoc """
  The events that muontrap sends to the [`telemetry`](https://hex.pm/packages/telemetry) library.

  muontrap does not depend on that library. Without it, or before its application has started, no events are sent. From
  Elixir 1.15 on it starts before muontrap; for earlier versions list both applications in that order.

      :telemetry.attach("log", [:muontrap, :command, :stop], fn _event, measurements, metadata, _config ->
        us = System.convert_time_unit(measurements.duration, :native, :microsecond)
        Logger.info("\#{metadata.command}: \#{inspect(metadata.status)} after \#{us} µs")
      end, nil)

  All functions of `MuonTrap`, Daemons and sessions send the same events. Handlers run in the process that owns the
  command, and it waits for them: the caller, the Daemon, or the process of the session. `telemetry` detaches a handler
  that raises.

  Each `:start` is followed by exactly one `:stop` or `:exception`, unless the owner is killed first.

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
    * `:stopped` - whether it was asked to stop: by its timeout or another bound, by the end of its Daemon, by an enumeration that
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

  ### `[:muontrap, :commands]`

  All commands of this VM at one moment, by `measure/0`. No metadata. Measurements:

    * `:live` - commands that are not over; `:stopping`, `:orphaned` - how many of these are, see `MuonTrap.list/0`
    * `:helpers` - helper processes at work, one for each command whose tree is not gone; `:ready_helpers` - those
      that wait for a command
    * `:descriptors` - what commands and helpers take of the VM's open files
    * `:output_bytes` - what was read of all commands since the library was loaded, those that are over included
    * `:unacknowledged_bytes` - output that owners have and not yet acknowledged

  ## Metrics

  For [`telemetry_metrics`](https://hex.pm/packages/telemetry_metrics) and its reporters:

      def metrics do
        import Telemetry.Metrics

        [
          counter("muontrap.command.start.system_time", tags: [:command]),
          distribution("muontrap.command.stop.duration", tags: [:command], unit: {:native, :millisecond}),
          counter("muontrap.command.stop.duration", tags: [:command, :exit_status]),
          sum("muontrap.command.stop.stdout_bytes", tags: [:command], unit: :byte),
          sum("muontrap.command.stop.user_us", tags: [:command], unit: :microsecond),
          last_value("muontrap.command.stop.max_rss_bytes", tags: [:command], unit: {:byte, :megabyte}),
          counter("muontrap.command.exception.duration", tags: [:command]),
          sum("muontrap.command.leftover.survivors", tags: [:command]),
          last_value("muontrap.commands.live"),
          last_value("muontrap.commands.stopping"),
          last_value("muontrap.commands.helpers"),
          last_value("muontrap.commands.descriptors"),
          last_value("muontrap.commands.output_bytes", unit: :byte),
          last_value("muontrap.commands.unacknowledged_bytes", unit: :byte)
        ]
      end

  For the last six, `measure/0` has to be called periodically, for example by
  [`telemetry_poller`](https://hex.pm/packages/telemetry_poller):

      {:telemetry_poller, measurements: [{MuonTrap.Telemetry, :measure, []}], period: 10_000}
  """

  alias MuonTrap.{Command, Error, Native, Nif}

  require Logger

  @doc """
  Emits `[:muontrap, :commands]`: how many commands, helpers, descriptors and bytes there are.

  For pollers. Does not block a scheduler, and takes about a microsecond for each command. Without the `telemetry`
  library, and without muontrap's native one, it does nothing.
  """
  @spec measure() :: :ok
  def measure do
    with true <- heard?(), {:ok, totals} <- Native.totals() do
      {measurements, renamed} =
        Map.split(totals, [
          :stopping,
          :orphaned,
          :descriptors,
          :output_bytes,
          :unacknowledged_bytes
        ])

      %{commands: live, at_work: helpers, ready: ready} = renamed
      more = %{live: live, helpers: helpers, ready_helpers: ready}
      emit([:muontrap, :commands], Map.merge(measurements, more), %{})
    end

    :ok
  end

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
  defp heard?, do: function_exported?(:telemetry, :execute, 3) and started?()

  # Before 1.4 the library warns of each event as long as its application does not run. Looked up in a table: a call
  # of the application controller has no answer while the VM shuts down.
  defp started? do
    :application_controller.get_master(:telemetry) != :undefined or
      Application.spec(:telemetry, :vsn) == nil
  end

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

  defp execute(event, measurements, metadata),
    do: emit([:muontrap, :command, event], measurements, metadata)

  # The library catches what handlers raise. Should something else come from there, the command matters more.
  defp emit(event, measurements, metadata) do
    apply(:telemetry, :execute, [event, measurements, metadata])
  catch
    kind, reason ->
      Logger.error([
        "muontrap lost a telemetry event: ",
        Exception.format(kind, reason, __STACKTRACE__)
      ])
  end
end
