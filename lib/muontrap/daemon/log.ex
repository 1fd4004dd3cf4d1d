# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Log do
  @moduledoc false
  # What a Daemon reads of its program's output, and where the lines go.

  alias MuonTrap.{Command, Daemon}
  alias MuonTrap.Text
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
           | {:logger, Logger.level(), binary(), (binary() -> IO.chardata()) | nil}
  @type t :: %__MODULE__{
          command: String.t(),
          sinks: %{stream() => sink()},
          failed?: boolean()
        }

  @doc "What becomes of the program's standard output and standard error."
  @spec outputs(MuonTrap.Options.t()) :: {:pipe | :null, :pipe | :stdout | :null | :inherit}
  def outputs(options) do
    read? = options.log_output || options.logger_fun || match?({:output, _regex}, options.ready)

    cond do
      # Read whoever wants it, so that it is counted.
      options.capture_stderr_only ->
        {:null, :pipe}

      options.stderr_to_stdout ->
        if read?, do: {:pipe, :stdout}, else: {:null, :null}

      true ->
        {if(read?, do: :pipe, else: :null),
         if(options.log_stderr, do: :pipe, else: options.stderr)}
    end
  end

  @doc "What the lines of the streams are, see `MuonTrap.Command.start/3`."
  @spec lines(MuonTrap.Options.t()) :: pos_integer() | {:bytes, pos_integer()}
  def lines(%{logger_fun: nil, log_transform: nil, log_line_max: max}), do: max
  def lines(%{log_line_max: max}), do: {:bytes, max}

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

  # The prefix may be the name of a file, which is not text always; lines are.
  defp sink(options, level),
    do: {:logger, level, Text.repair(options.log_prefix), options.log_transform}

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

  @doc "Logs how a program has ended by itself."
  @spec ended(t(), MuonTrap.Command.terminal()) :: :ok
  def ended(log, {:ended, %{status: {:exited, 0}}}),
    do: Daemon.log(:info, Text.repair(log.command) <> ": Process exited successfully")

  def ended(log, {:ended, outcome}) do
    status = Command.exit_status(outcome.status)

    more =
      for text <- [signal(Command.status(outcome)), outcome.oom_killed && "out of memory"],
          text,
          do: text

    more = if more == [], do: "", else: " (#{Enum.join(more, ", ")})"
    Daemon.log(:error, "#{Text.repair(log.command)}: Process exited with status #{status}#{more}")
  end

  # The reason that the Daemon stops with says what happened.
  def ended(_log, _failed_or_lost), do: :ok

  defp signal({:signaled, name}) when is_atom(name),
    do: name |> Atom.to_string() |> String.upcase()

  defp signal({:signaled, number}), do: "signal #{number}"
  defp signal({:exited, _code}), do: nil

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

  defp emit({:logger, level, prefix, nil}, line), do: Daemon.log(level, prefix <> line)

  # Not made valid: who gives a transformation can also repair, or knows a logger that does.
  defp emit({:logger, level, prefix, transform}, line),
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

  @doc "The time that `write/4` goes by."
  @spec now_us() :: integer()
  def now_us, do: System.monotonic_time(:microsecond)
end
