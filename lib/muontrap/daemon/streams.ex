# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Streams do
  @moduledoc false
  # What a Daemon reads of its program's output, in which form, and where that goes.

  alias MuonTrap.{Options, Text}

  @default_tail_bytes 4_096

  @type stream :: :stdout | :stderr
  @typedoc "Where the lines of a stream go, with all that is the same for each. `:standard_error` is that of the VM."
  @type sink ::
          nil
          | :standard_error
          | (binary() -> term())
          | {module(), atom(), list()}
          | {:logger, Logger.level(), binary(), (binary() -> IO.chardata()) | nil}

  @doc "What becomes of the program's standard output and standard error."
  @spec outputs(Options.t()) :: {:pipe | :null, :pipe | :stdout | :null | :inherit}
  def outputs(options) do
    read? = options.log_output || options.logger_fun || match?({:output, _regex}, options.ready)
    kept? = tail_asked?(options)

    cond do
      # Read, or it would fill up.
      options.pty ->
        {:pipe, :stdout}

      # Read whoever wants it, so that it is counted.
      options.capture_stderr_only ->
        {:null, :pipe}

      options.stderr_to_stdout ->
        if read? || kept?, do: {:pipe, :stdout}, else: {:null, :null}

      true ->
        {if(read?, do: :pipe, else: :null),
         if(options.log_stderr || kept?, do: :pipe, else: options.stderr)}
    end
  end

  @doc "What the lines of the two streams are, see `MuonTrap.Command.start/3`."
  @spec lines(Options.t()) :: {lines, lines} when lines: pos_integer() | {:bytes, pos_integer()}
  def lines(%{log_line_max: max} = options) do
    bytes = {:bytes, max}
    lines = if options.logger_fun || options.log_transform, do: bytes, else: max
    {lines, if(passed_on?(options), do: bytes, else: lines)}
  end

  @doc "The stream whose end is kept, and how many bytes of it, as far as it is read."
  @spec tail(Options.t()) :: {stream(), non_neg_integer()}
  def tail(options) do
    apart? = options.capture_stderr_only or not options.stderr_to_stdout
    {if(apart?, do: :stderr, else: :stdout), options.tail_bytes || @default_tail_bytes}
  end

  @doc "Where the lines of each stream go."
  @spec sinks(Options.t()) :: %{stream() => sink()}
  def sinks(options) do
    stderr =
      cond do
        options.log_stderr -> sink(options, options.log_stderr)
        options.capture_stderr_only -> sink(options, options.log_output)
        passed_on?(options) -> :standard_error
        true -> nil
      end

    %{stdout: sink(options, options.log_output), stderr: stderr}
  end

  defp sink(%{logger_fun: fun}, _level) when fun != nil, do: fun
  defp sink(_options, level) when level in [nil, false], do: nil

  # The prefix may be the name of a file, which is not text always; lines are.
  defp sink(options, level),
    do: {:logger, level, Text.repair(options.log_prefix), options.log_transform}

  defp tail_asked?(%{tail_bytes: bytes}), do: bytes not in [nil, 0]

  # Read for its end alone, and shown where it would have been without that.
  defp passed_on?(
         %{log_stderr: nil, capture_stderr_only: false, stderr_to_stdout: false} = options
       ),
       do: tail_asked?(options) and options.stderr == :inherit

  defp passed_on?(_options), do: false
end
