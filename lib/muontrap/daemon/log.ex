# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Log do
  @moduledoc false
  # What a Daemon reads of its program's output, and where the lines go.

  alias MuonTrap.Daemon.Text
  require Logger

  # How many lines are logged before the time is looked at.
  @lines_at_once 8

  @enforce_keys [:command, :sinks]
  defstruct [:command, :sinks, failed?: false]

  @type stream :: :stdout | :stderr
  # Where the lines of a stream go, with all that is the same for each.
  @typep sink ::
           nil
           | (binary() -> term())
           | {module(), atom(), list()}
           | {:logger, Logger.level(), binary(), (binary() -> IO.chardata()) | nil, keyword()}
  @type t :: %__MODULE__{
          command: String.t(),
          sinks: %{stream() => sink()},
          failed?: boolean()
        }

  @doc "What becomes of the program's standard output and standard error."
  @spec outputs(MuonTrap.Options.t()) :: {:pipe | :null, :pipe | :stdout | :null}
  def outputs(options) do
    read? = options.log_output || options.logger_fun || match?({:output, _regex}, options.ready)

    cond do
      options.capture_stderr_only ->
        {:null, if(read? || options.log_stderr, do: :pipe, else: :null)}

      options.stderr_to_stdout ->
        if read?, do: {:pipe, :stdout}, else: {:null, :null}

      true ->
        {if(read?, do: :pipe, else: :null), if(options.log_stderr, do: :pipe, else: :null)}
    end
  end

  @doc "Makes the log of a Daemon from its options."
  @spec new(MuonTrap.Options.t()) :: t()
  def new(options) do
    stderr = options.log_stderr || (options.capture_stderr_only && options.log_output)

    %__MODULE__{
      command: options.command,
      sinks: %{stdout: sink(options, options.log_output), stderr: sink(options, stderr)}
    }
  end

  defp sink(%{logger_fun: fun}, _level) when fun != nil, do: fun
  defp sink(_options, level) when level in [nil, false], do: nil

  defp sink(options, level) do
    own = [muontrap_cmd: options.command, muontrap_args: options.args]
    metadata = Keyword.merge(options.logger_metadata, own)
    # It may be the name of a file, which is not text always; lines are.
    {:logger, level, Text.repair(options.log_prefix), options.log_transform, metadata}
  end

  @doc """
  Logs lines until there is none, or that time is over (monotonic, in microseconds). Returns those that are left.
  """
  @spec write(t(), stream(), [binary()], integer() | :infinity) :: {[binary()], t()}
  def write(log, stream, lines, until_us),
    do: write(log, Map.fetch!(log.sinks, stream), lines, until_us, @lines_at_once)

  defp write(log, nil, _lines, _until_us, _at_once), do: {[], log}
  defp write(log, _sink, [], _until_us, _at_once), do: {[], log}

  defp write(log, sink, lines, until_us, 0) do
    if now_us() < until_us,
      do: write(log, sink, lines, until_us, @lines_at_once),
      else: {lines, log}
  end

  defp write(log, sink, [line | lines], until_us, at_once),
    do: write(put(log, sink, line), sink, lines, until_us, at_once - 1)

  # What a logger does must not take the program down.
  defp put(log, sink, line) do
    emit(sink, line)
    log
  catch
    kind, reason -> failed(log, kind, reason, __STACKTRACE__)
  end

  defp emit(fun, line) when is_function(fun), do: fun.(line)
  defp emit({m, f, args}, line), do: apply(m, f, [line | args])

  defp emit({:logger, level, prefix, nil, metadata}, line),
    do: Logger.bare_log(level, prefix <> line, metadata)

  defp emit({:logger, level, prefix, transform, metadata}, line) do
    text = IO.chardata_to_string([prefix, transform.(line)])
    Logger.bare_log(level, text, metadata)
  end

  # Said once: it will happen again with each line.
  defp failed(%{failed?: true} = log, _kind, _reason, _stacktrace), do: log

  defp failed(log, kind, reason, stacktrace) do
    try do
      text = Exception.format(kind, reason, stacktrace)
      Logger.error("output of #{inspect(log.command)} is not logged: " <> text)
    catch
      _kind, _reason -> :ok
    end

    %{log | failed?: true}
  end

  @doc "The time that `write/4` goes by."
  @spec now_us() :: integer()
  def now_us, do: System.monotonic_time(:microsecond)
end
