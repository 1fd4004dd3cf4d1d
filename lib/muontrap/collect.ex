# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Collect do
  @moduledoc false
  # Runs a command to its end and collects its output: what MuonTrap.cmd/3 and MuonTrap.run/3 are views of.

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Command, Error, Input, LineBuffer, Options, Result}

  @doc "Runs a checked call. Raises what `MuonTrap.cmd/3` documents."
  @spec run(Options.t()) :: Result.t()
  def run(options) do
    {acc, into} = Collectable.into(options.into)

    case Command.start(options, stdio(options)) do
      {:ok, running} -> collect(running, options, acc, into)
      {:error, error} -> fail(error, options, into.(acc, :halt))
    end
  end

  # Steps that System.cmd/3 has as well fail as it fails.
  @as_system_cmd [:lookup, :exec, :chdir, :fork, :pipe]

  defp fail(%Error{step: step, reason: reason}, options, _halted) when step in @as_system_cmd do
    :erlang.error(reason, [options.command, options.args, []])
  end

  defp fail(error, _options, _halted), do: raise(error)

  defp stdio(%{use_stdio: false}), do: {:inherit, :inherit, :inherit}

  defp stdio(options) do
    stdin = if options.input, do: :pipe, else: :null

    cond do
      options.capture_stderr_only -> {stdin, :null, :pipe}
      options.stderr_to_stdout -> {stdin, :pipe, :stdout}
      options[:capture_stderr] -> {stdin, :pipe, :pipe}
      true -> {stdin, :pipe, :inherit}
    end
  end

  defp collect(running, options, acc, into) do
    state = %{
      acc: acc,
      into: into,
      buffer: if(options.lines, do: LineBuffer.new(mode: :raw)),
      # Standard error as iodata, if it is collected apart.
      stderr: if(options[:capture_stderr], do: []),
      input: Input.new(options.input),
      timed_out: false
    }

    try do
      state = %{state | input: Input.write(state.input, running.handle)}
      loop(running, deadline(options.timeout), state)
    catch
      kind, reason ->
        stacktrace = __STACKTRACE__
        Command.abort(running)
        into.(acc, :halt)
        :erlang.raise(kind, reason, stacktrace)
    else
      {{:ended, outcome}, state} ->
        result(running, outcome, state)

      {{:failed, failure}, state} ->
        fail(Command.error(failure), options, into.(state.acc, :halt))

      {{:lost, failure, _survivors}, state} ->
        fail(Command.error(failure), options, into.(state.acc, :halt))
    end
  end

  defp loop(running, deadline, state) do
    case Command.next(running, deadline) do
      {{stream, bytes}, running} when stream in [:stdout, :stderr] and is_binary(bytes) ->
        loop(running, deadline, put(state, stream, bytes))

      {:writable, running} ->
        loop(running, deadline, %{state | input: Input.write(state.input, running.handle)})

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

  defp put(%{buffer: nil} = state, _stream, bytes),
    do: %{state | acc: state.into.(state.acc, {:cont, bytes})}

  defp put(state, _stream, bytes) do
    {lines, buffer} = LineBuffer.push(state.buffer, bytes)
    put_lines(%{state | buffer: buffer}, lines)
  end

  defp put_lines(state, lines),
    do: %{state | acc: Enum.reduce(lines, state.acc, &state.into.(&2, {:cont, &1}))}

  defp result(running, outcome, state) do
    %Result{
      status: if(state.timed_out, do: :timeout, else: Command.status(outcome)),
      exit_status: Command.exit_status(outcome.status),
      output: finish(state),
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

  defp finish(%{buffer: nil} = state), do: state.into.(state.acc, :done)

  defp finish(state) do
    state = put_lines(state, LineBuffer.flush(state.buffer))
    state.into.(state.acc, :done)
  end

  defp deadline(:infinity), do: :infinity
  defp deadline(timeout_ms), do: System.monotonic_time(:millisecond) + timeout_ms
end
