# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Log do
  @moduledoc false
  # What a Daemon reads of its program's output, and where the lines go.

  alias MuonTrap.LineBuffer

  require Logger

  @enforce_keys [:levels, :fun, :prefix, :transform, :metadata, :buffers]
  defstruct [:levels, :fun, :prefix, :transform, :metadata, :buffers, failed?: false]

  @type stream :: :stdout | :stderr
  @type t :: %__MODULE__{}

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
    buffer = LineBuffer.new(max: options.log_line_max)
    own = [muontrap_cmd: options.command, muontrap_args: options.args]
    stderr = options.log_stderr || (options.capture_stderr_only && options.log_output) || nil

    %__MODULE__{
      levels: %{stdout: options.log_output, stderr: stderr},
      fun: options.logger_fun,
      prefix: options.log_prefix,
      transform: options.log_transform,
      metadata: Keyword.merge(options.logger_metadata, own),
      buffers: %{stdout: buffer, stderr: buffer}
    }
  end

  @doc "Logs the lines that a chunk completes, and returns them."
  @spec push(t(), stream(), binary()) :: {[binary()], t()}
  def push(log, stream, bytes) do
    {lines, buffer} = LineBuffer.push(log.buffers[stream], bytes)
    log = %{log | buffers: %{log.buffers | stream => buffer}}
    {lines, Enum.reduce(lines, log, &put(&2, stream, &1))}
  end

  @doc "Logs what no newline ended, and returns it."
  @spec flush(t()) :: {[binary()], t()}
  def flush(log) do
    Enum.reduce([:stdout, :stderr], {[], log}, fn stream, {before, log} ->
      lines = LineBuffer.flush(log.buffers[stream])
      buffers = %{log.buffers | stream => LineBuffer.new()}
      {before ++ lines, Enum.reduce(lines, %{log | buffers: buffers}, &put(&2, stream, &1))}
    end)
  end

  # What a logger does must not take the program down.
  defp put(log, stream, line) do
    write(log, log.levels[stream], line)
    log
  catch
    kind, reason -> failed(log, kind, reason, __STACKTRACE__)
  end

  defp write(%{fun: fun}, _level, line) when is_function(fun), do: fun.(line)
  defp write(%{fun: {m, f, args}}, _level, line), do: apply(m, f, [line | args])
  defp write(_log, nil, _line), do: :ok

  defp write(log, level, line) do
    line = if log.transform, do: log.transform.(line), else: line
    Logger.bare_log(level, [log.prefix, line] |> IO.chardata_to_string(), log.metadata)
  end

  # Said once: it will happen again with each line.
  defp failed(%{failed?: true} = log, _kind, _reason, _stacktrace), do: log

  defp failed(log, kind, reason, stacktrace) do
    try do
      text = Exception.format(kind, reason, stacktrace)
      Logger.error("output of #{inspect(log.metadata[:muontrap_cmd])} is not logged: " <> text)
    catch
      _kind, _reason -> :ok
    end

    %{log | failed?: true}
  end
end
