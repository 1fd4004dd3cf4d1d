# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Collect do
  @moduledoc false
  # Runs a command to its end and collects its output: what MuonTrap.cmd/3 and MuonTrap.run/3 are views of.

  import MuonTrap.Command, only: [is_terminal: 1]

  require Logger

  alias MuonTrap.{Command, Error, Input, Options, Result}

  @doc "Runs a checked call. Raises what `MuonTrap.cmd/3` documents."
  @spec run(Options.t()) :: Result.t()
  def run(options) do
    {acc, into} = Collectable.into(options.into)

    lines = if options.lines, do: :raw

    case Command.start(options, stdio(options), lines: {lines, lines_of_stderr(options, lines)}) do
      {:ok, running} -> collect(running, options, acc, into)
      {:error, error} -> fail(error, options, into.(acc, :halt))
    end
  end

  # Steps that System.cmd/3 has as well fail as it fails.
  @as_system_cmd [:lookup, :exec, :chdir, :fork, :pipe]

  # Without the arguments, which System.cmd/3 leaves in the stack trace: they may hold a secret.
  defp fail(%Error{step: step, reason: reason}, _options, _halted) when step in @as_system_cmd,
    do: :erlang.error(reason)

  defp fail(error, _options, _halted), do: raise(error)

  defp stdio(%{use_stdio: false}), do: {:inherit, :inherit, :inherit}

  defp stdio(options) do
    stdin = if options.input || options.stdin == :open, do: :pipe, else: :null

    cond do
      options.capture_stderr_only -> {stdin, :null, :pipe}
      options.stderr_to_stdout -> {stdin, :pipe, :stdout}
      options[:capture_stderr] -> {stdin, :pipe, :pipe}
      true -> {stdin, :pipe, :inherit}
    end
  end

  # That which is collected apart is never cut.
  defp lines_of_stderr(options, lines), do: if(options[:capture_stderr], do: nil, else: lines)

  defp collect(running, options, acc, into) do
    state = %{
      acc: acc,
      into: into,
      # Standard error as iodata, if it is collected apart.
      stderr: if(options[:capture_stderr], do: []),
      input: Input.new(options.input, running),
      timed_out: false
    }

    try do
      state = %{state | input: Input.write(state.input, running.handle)}
      loop(running, deadline(options.timeout), state)
    catch
      kind, reason ->
        stacktrace = __STACKTRACE__
        Command.abort(running)
        Input.close(state.input)
        into.(acc, :halt)
        :erlang.raise(kind, reason, stacktrace)
    else
      {{:ended, outcome}, state} ->
        result(running, outcome, state)

      {{:failed, failure}, state} ->
        not_started(running, Command.start_error(running, failure), options, state)

      {{:lost, failure, _survivors}, state} ->
        fail(Command.error(failure), options, into.(state.acc, :halt))
    end
  end

  # With a little more memory the OOM killer would have ended it in its first instructions: the same result.
  defp not_started(running, %Error{reason: :memory_limit} = error, _options, state) do
    Logger.error(Exception.message(error))
    usage = %{user_us: 0, system_us: 0, max_rss_bytes: 0}

    outcome = %{
      status: {:signaled, 9},
      os_pid: nil,
      oom_killed: true,
      survivors: [],
      leftovers: []
    }

    result(running, Map.merge(outcome, usage), state)
  end

  defp not_started(_running, error, options, state),
    do: fail(error, options, state.into.(state.acc, :halt))

  defp loop(running, deadline, state) do
    case Command.next(running, deadline) do
      {{stream, bytes}, running} when stream in [:stdout, :stderr] and is_binary(bytes) ->
        loop(running, deadline, put(state, stream, bytes))

      {{stream, lines, _bytes}, running} when stream in [:stdout, :stderr] ->
        loop(running, deadline, put_lines(state, lines))

      {:writable, running} ->
        loop(running, deadline, %{state | input: Input.write(state.input, running.handle)})

      {{:input, event}, running} ->
        loop(running, deadline, %{state | input: Input.take(state.input, event, running.handle)})

      {:timeout, running} ->
        Command.stop(running)
        loop(running, :infinity, %{state | timed_out: true})

      {terminal, running} when is_terminal(terminal) ->
        Command.report(running, terminal)
        Input.close(state.input)
        {terminal, state}
    end
  end

  defp put(%{stderr: stderr} = state, :stderr, bytes) when stderr != nil,
    do: %{state | stderr: [stderr | bytes]}

  defp put(state, _stream, bytes),
    do: %{state | acc: state.into.(state.acc, {:cont, bytes})}

  defp put_lines(state, lines),
    do: %{state | acc: Enum.reduce(lines, state.acc, &state.into.(&2, {:cont, &1}))}

  defp result(running, outcome, state) do
    %Result{
      status: if(state.timed_out, do: :timeout, else: Command.status(outcome)),
      exit_status: Command.exit_status(outcome.status),
      output: state.into.(state.acc, :done),
      stderr: if(state.stderr, do: IO.iodata_to_binary(state.stderr)),
      os_pid: outcome.os_pid,
      timed_out: state.timed_out,
      oom_killed: outcome.oom_killed,
      survivors: outcome.survivors,
      leftovers: Enum.map(outcome.leftovers, &Command.error/1),
      usage: Map.take(outcome, [:user_us, :system_us, :max_rss_bytes]),
      duration_ms:
        running |> Command.duration() |> System.convert_time_unit(:native, :millisecond)
    }
  end

  defp deadline(:infinity), do: :infinity
  defp deadline(timeout_ms), do: System.monotonic_time(:millisecond) + timeout_ms
end
