# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Log do
  @moduledoc false
  # The lines of a program on their way to where they go, and what is logged of its end.

  alias MuonTrap.Daemon
  alias MuonTrap.Daemon.{Rate, Streams}
  alias MuonTrap.{StderrTail, Text}
  require Logger

  # How many lines are logged before the time is looked at: more and more of them while that takes less than
  # `@quick_us`, because to look at the time takes longer than to hand over a line.
  @lines_at_once 4..64
  @quick_us 100

  @enforce_keys [:command, :sinks]
  defstruct [:command, :sinks, :rate, failed?: false, at_once: @lines_at_once.first]

  @type t :: %__MODULE__{
          command: String.t(),
          sinks: %{Streams.stream() => Streams.sink()},
          rate: Rate.t() | nil,
          failed?: boolean(),
          at_once: pos_integer()
        }

  @doc "Makes the log of a Daemon from its options."
  @spec new(MuonTrap.Options.t()) :: t()
  def new(options) do
    %__MODULE__{
      command: options.command,
      sinks: Streams.sinks(options),
      rate: Rate.new(options.log_rate)
    }
  end

  @doc "Makes the Logger metadata of the calling process, a Daemon, that of its events."
  @spec put_metadata(MuonTrap.Options.t()) :: :ok
  def put_metadata(options) do
    argv = Enum.map(options.args, &Text.repair/1)

    own = [
      muontrap_cmd: Text.repair(options.command),
      muontrap_args: Enum.join(argv, " "),
      muontrap_argv: options.args
    ]

    options.logger_metadata |> Keyword.merge(own) |> Logger.metadata()
  end

  @doc "Takes the arguments out of it again."
  @spec forget_arguments() :: :ok
  def forget_arguments, do: Logger.metadata(muontrap_args: nil, muontrap_argv: nil)

  @doc "Logs the line that tells how a program has ended by itself. What was read of its words comes after it."
  @spec ended(map(), String.t(), String.t()) :: :ok
  def ended(%{status: {:exited, 0}}, line, _tail), do: Daemon.log(:info, line)
  def ended(_outcome, line, tail), do: Daemon.log(:error, line <> tail)

  @doc """
  Logs lines until there is none, or that time is over (monotonic, in microseconds). Returns those that are left.
  """
  @spec write(t(), Streams.stream(), [binary()], integer() | :infinity) :: {[binary()], t()}
  def write(log, stream, lines, until_us) do
    case Map.fetch!(log.sinks, stream) do
      nil -> {[], log}
      sink -> write(log, sink, lines, until_us, now_us())
    end
  end

  defp write(log, _sink, [], _until_us, _since_us), do: {[], log}

  defp write(log, sink, lines, until_us, since_us) do
    {lines, log} = some(lines, log, sink, log.at_once)
    now_us = now_us()
    log = %{log | at_once: at_once(log.at_once, now_us - since_us)}
    if now_us < until_us, do: write(log, sink, lines, until_us, now_us), else: {lines, log}
  end

  defp at_once(lines, took_us) when took_us < @quick_us, do: min(2 * lines, @lines_at_once.last)
  defp at_once(_lines, _took_us), do: @lines_at_once.first

  defp some(lines, log, sink, at_once) when log.rate == nil or sink == :standard_error,
    do: each(lines, log, sink, at_once)

  defp some(lines, log, _sink, at_once) when lines == [] or at_once == 0, do: {lines, log}

  # What is passed on is not counted.
  defp some([line | lines], log, sink, at_once) do
    log =
      case Rate.take(log.rate, now_us()) do
        {:pass, rate} -> emit(%{log | rate: rate}, sink, line)
        {:drop, rate} -> %{log | rate: rate}
      end

    some(lines, log, sink, at_once - 1)
  end

  defp each([line | lines], log, sink, at_once) when at_once > 0,
    do: each(lines, emit(log, sink, line), sink, at_once - 1)

  defp each(lines, log, _sink, _at_once), do: {lines, log}

  # What a logger does must not take the program down.
  defp emit(log, sink, line) do
    cond do
      is_function(sink) -> sink.(line)
      sink == :standard_error -> StderrTail.show([line, ?\n])
      true -> emit_to(sink, line)
    end

    log
  catch
    kind, reason -> failed(log, kind, reason, __STACKTRACE__)
  end

  defp emit_to({m, f, args}, line), do: apply(m, f, [line | args])

  defp emit_to({:logger, level, prefix, nil}, line), do: Daemon.log(level, prefix <> line)

  # Not made valid: who gives a transformation can also repair, or knows a logger that does.
  defp emit_to({:logger, level, prefix, transform}, line),
    do: Daemon.log(level, [prefix, transform.(line)])

  # Said once: it will happen again with each line.
  defp failed(%{failed?: true} = log, _kind, _reason, _stacktrace), do: log

  defp failed(log, kind, reason, stacktrace) do
    try do
      text = Exception.format(kind, reason, stacktrace)

      Logger.error(
        "a line of #{inspect(log.command)} is lost because its logger failed, " <>
          "which is said once: " <> text
      )
    catch
      _kind, _reason -> :ok
    end

    %{log | failed?: true}
  end

  @doc "Whether lines were dropped that nothing was told of."
  @spec dropping?(t()) :: boolean()
  def dropping?(%{rate: rate}), do: rate != nil and rate.unsaid > 0

  @doc "Tells of them in one line."
  @spec tell_dropped(t()) :: t()
  def tell_dropped(%{rate: %{unsaid: unsaid, max: max} = rate} = log) when unsaid > 0 do
    lines = if unsaid == 1, do: "1 line", else: "#{unsaid} lines"

    Daemon.log(
      :warning,
      "#{Text.repair(log.command)}: #{lines} not logged, more than #{max} in a second"
    )

    %{log | rate: %{rate | unsaid: 0}}
  end

  def tell_dropped(log), do: log

  @doc "How many lines were dropped all in all."
  @spec dropped(t()) :: non_neg_integer()
  def dropped(%{rate: nil}), do: 0
  def dropped(%{rate: rate}), do: rate.dropped

  @doc "The time that `write/4` goes by."
  @spec now_us() :: integer()
  def now_us, do: System.monotonic_time(:microsecond)
end
