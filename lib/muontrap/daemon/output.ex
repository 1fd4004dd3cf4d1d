# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Output do
  @moduledoc false
  # What a Daemon does with its program's output: splits it into lines and logs them.

  alias MuonTrap.LineBuffer
  require Logger

  @enforce_keys [:buffers, :sinks, :transform, :prefix, :metadata]
  defstruct [:buffers, :sinks, :transform, :prefix, :metadata, failed?: false]

  @type stream :: :stdout | :stderr
  @type t :: %__MODULE__{}

  @doc "What becomes of standard output and standard error for these options."
  @spec streams(MuonTrap.Options.t()) :: {atom(), atom()}
  def streams(options) do
    logged? = options.log_output != nil or options.logger_fun != nil
    stdout? = logged? or match?({:output, _regex}, options.ready)

    cond do
      options.capture_stderr_only ->
        {:null, if(logged? or options.log_stderr != nil, do: :pipe, else: :null)}

      options.stderr_to_stdout ->
        {if(stdout?, do: :pipe, else: :null), :stdout}

      true ->
        {if(stdout?, do: :pipe, else: :null), if(options.log_stderr, do: :pipe, else: :inherit)}
    end
  end

  @spec new(MuonTrap.Options.t()) :: t()
  def new(options) do
    # A function gets the bytes as they are; Logger must not see what is no UTF-8.
    invalid = if options.logger_fun, do: :keep, else: :replace
    buffer = LineBuffer.new(max: options.log_line_max, invalid: invalid)

    %__MODULE__{
      buffers: %{stdout: buffer, stderr: buffer},
      sinks: %{
        stdout: options.logger_fun || options.log_output,
        stderr: options.logger_fun || options.log_stderr || options.log_output
      },
      transform: options.log_transform,
      prefix: options.log_prefix,
      metadata:
        Keyword.merge(options.logger_metadata,
          muontrap_cmd: options.command,
          muontrap_args: options.args
        )
    }
  end

  @doc "Logs the lines that a chunk completes, and returns them."
  @spec push(t(), stream(), binary()) :: {[binary()], t()}
  def push(output, stream, chunk) do
    {lines, buffer} = LineBuffer.push(output.buffers[stream], chunk)
    output = %{output | buffers: Map.put(output.buffers, stream, buffer)}
    {lines, Enum.reduce(lines, output, &log(&2, stream, &1))}
  end

  @doc "Logs what is left without a line end."
  @spec flush(t()) :: t()
  def flush(output) do
    for stream <- [:stdout, :stderr],
        line <- LineBuffer.flush(output.buffers[stream]),
        reduce: output do
      output -> log(output, stream, line)
    end
  end

  defp log(output, stream, line) do
    write(output.sinks[stream], output, line)
    output
  catch
    kind, reason -> report(output, Exception.format(kind, reason, __STACKTRACE__))
  end

  defp write(nil, _output, _line), do: :ok
  defp write(fun, _output, line) when is_function(fun), do: fun.(line)
  defp write({module, name, args}, _output, line), do: apply(module, name, [line | args])

  defp write(level, output, line) do
    line = if output.transform, do: output.transform.(line), else: line
    Logger.bare_log(level, [output.prefix, line], output.metadata)
  end

  # Once: a logger that raises does so for each line.
  defp report(%{failed?: true} = output, _text), do: output

  defp report(output, text) do
    Logger.error([output.prefix, "a line could not be logged: ", text], output.metadata)
    %{output | failed?: true}
  end
end
