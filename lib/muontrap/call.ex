# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Call do
  @moduledoc false
  # What a call of a program is, whether its output is collected or streamed: which streams it has, how a start that
  # failed is raised, and what is known at its end.

  require Logger

  alias MuonTrap.{Bounds, Command, Error, Options, Result, StderrTail}

  # As long as any.
  @line_max_bytes 0x7FFF_FFFF

  @typedoc "What becomes of standard error in the VM: `:apart`, its end is kept, or nothing of its own."
  @type stderr :: :apart | :tail | nil

  @doc "What is to become of it. `raising?`: a status other than 0 is raised, with the end of standard error."
  @spec stderr(Options.t(), boolean()) :: stderr()
  def stderr(%{pty: %{}}, _raising?), do: nil
  def stderr(%{capture_stderr: true}, _raising?), do: :apart
  def stderr(%{capture_stderr_only: true}, _raising?), do: nil
  def stderr(%{stderr_to_stdout: true}, _raising?), do: nil
  def stderr(%{use_stdio: false}, _raising?), do: nil
  def stderr(_options, raising?), do: if(raising?, do: :tail)

  @doc """
  Starts the program of a checked call. `stderr_lines?`: with `:lines` standard error comes in lines as well. `more` is
  that of `MuonTrap.Command.start/3`, and what is joined to other commands: `stdin: handle` of the one before it,
  `stdout: :held`.
  """
  @spec start(Options.t(), stderr(), boolean(), keyword()) ::
          {:ok, Command.t()} | {:error, Error.t()}
  def start(options, stderr, stderr_lines?, more \\ []) do
    lines = lines(options)
    lines_of_stderr = if stderr_lines?, do: lines
    {stdin, stdout, third} = stdio(options, stderr)
    {joined, more} = Keyword.split(more, [:stdin, :stdout])
    stdio = {joined[:stdin] || stdin, joined[:stdout] || stdout, third}
    Command.start(options, stdio, [lines: {lines, lines_of_stderr}] ++ more)
  end

  defp lines(%{lines: nil}), do: nil
  # A terminal makes \r\n of each \n.
  defp lines(%{pty: %{}}), do: {:bytes, @line_max_bytes}
  defp lines(options), do: Bounds.lines(options)

  defp stdio(%{use_stdio: false}, _stderr), do: {:inherit, :inherit, :inherit}

  defp stdio(options, stderr) do
    stdin = if options[:input] || options.stdin in [:open, :pipe], do: :pipe, else: :null

    cond do
      options.pty -> {stdin, :pipe, :stdout}
      options.capture_stderr_only -> {stdin, :null, :pipe}
      options.stderr_to_stdout -> {stdin, :pipe, :stdout}
      stderr -> {stdin, :pipe, :pipe}
      true -> {stdin, :pipe, :inherit}
    end
  end

  # Steps that System.cmd/3 has as well.
  @as_system_cmd [:lookup, :exec, :chdir, :fork, :pipe]

  @doc """
  Raises what became of a program that did not start, or whose helper died: `:posix` raises as System.cmd/3 does what
  it can raise too, `:error` raises the error itself.

  System.cmd/3 raises the bare errno. What failed comes along in the stack trace, where Elixir and Erlang look for it
  when they format the error, see EEP 54. The arguments, which System.cmd/3 leaves there, do not: they may hold a
  secret.
  """
  @spec fail!(Error.t(), :posix | :error) :: no_return()
  def fail!(%Error{step: step} = error, :posix) when step in @as_system_cmd,
    do: :erlang.error(error.reason, :none, error_info: %{module: Error, cause: error})

  def fail!(error, _how), do: raise(error)

  @doc "How a terminal event ends the call: with an outcome, or with an error."
  @spec conclude(Command.t(), Command.terminal()) :: {:ok, map()} | {:error, Error.t()}
  def conclude(_running, {:ended, outcome}), do: {:ok, outcome}
  def conclude(_running, {:lost, failure, _survivors}), do: {:error, Command.error(failure)}

  def conclude(running, {:failed, failure}) do
    case Command.start_error(running, failure) do
      %Error{reason: :memory_limit} = error ->
        Logger.error(Exception.message(error))
        {:ok, out_of_memory()}

      error ->
        {:error, error}
    end
  end

  # With a little more memory the OOM killer would have ended it in its first instructions: the same result.
  defp out_of_memory do
    %{
      status: {:signaled, 9},
      os_pid: nil,
      oom_killed: true,
      survivors: [],
      leftovers: [],
      user_us: 0,
      system_us: 0,
      max_rss_bytes: 0
    }
  end

  @doc "All that is known of the end. `output` and `stderr` are what was collected."
  @spec result(
          Command.t(),
          map(),
          %{
            :stopped_by => Result.bound() | nil,
            :truncated => boolean(),
            optional(atom()) => term()
          },
          Collectable.t() | nil,
          binary() | nil
        ) :: Result.t()
  def result(running, outcome, bounds, output, stderr) do
    %Result{
      status: bounds.stopped_by || Command.status(outcome),
      exit_status: Command.exit_status(outcome.status),
      output: output,
      stderr: stderr,
      os_pid: outcome.os_pid,
      timed_out: bounds.stopped_by == :timeout,
      stopped_by: bounds.stopped_by,
      truncated: bounds.truncated,
      oom_killed: outcome.oom_killed,
      survivors: outcome.survivors,
      leftovers: Enum.map(outcome.leftovers, &Command.error/1),
      usage: Map.take(outcome, [:user_us, :system_us, :max_rss_bytes]),
      duration_ms:
        running |> Command.duration() |> System.convert_time_unit(:native, :millisecond)
    }
  end

  @doc "The error of a result that is none of success, or nil."
  @spec exit_error(Command.t(), Result.t(), StderrTail.t()) :: Exception.t() | nil
  def exit_error(_running, %{status: {:exited, 0}}, _tail), do: nil

  def exit_error(running, result, tail) do
    stderr = StderrTail.text(tail)
    %MuonTrap.ExitError{command: running.program, result: result, stderr: stderr}
  end
end
