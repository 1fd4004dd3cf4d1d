# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Collect do
  @moduledoc false
  # Runs a command to its end and collects its output: what MuonTrap.cmd/3 and MuonTrap.run/3 are views of.

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Bounds, Call, Command, Input, Options, Result, StderrTail}

  @doc "Runs a checked call. `how` it fails if it cannot be started, see `MuonTrap.Call.fail!/2`."
  @spec run(Options.t(), :posix | :error) :: Result.t()
  def run(options, how) do
    {_running, result, _tail} = run(options, Call.stderr(options, false), how)
    result
  end

  @doc "The same, and raises `MuonTrap.ExitError` unless the program exits with 0."
  @spec run!(Options.t(), :posix | :error) :: Result.t()
  def run!(options, how) do
    {running, result, tail} = run(options, Call.stderr(options, true), how)
    if error = Call.exit_error(running, result, tail), do: raise(error)
    result
  end

  defp run(options, stderr, how) do
    {acc, into} = Collectable.into(options.into)

    # What is collected apart is never cut, nor what is shown.
    case Call.start(options, stderr, stderr == nil) do
      {:ok, running} ->
        collect(running, options, stderr, how, acc, into)

      {:error, error} ->
        into.(acc, :halt)
        Call.fail!(error, how)
    end
  end

  defp collect(running, options, stderr, how, acc, into) do
    state = %{
      acc: acc,
      into: into,
      stderr: stderr,
      # Standard error as iodata, if it is collected apart; its end, if that is kept.
      errors: if(stderr == :tail, do: "", else: []),
      input: Input.new(options.input, running),
      bounds: Bounds.new(options, {Command, :stop, [running]})
    }

    try do
      state = %{state | input: Input.write(state.input, running.handle)}
      loop(running, state)
    catch
      kind, reason ->
        stacktrace = __STACKTRACE__
        Command.abort(running)
        Input.close(state.input)
        into.(acc, :halt)
        :erlang.raise(kind, reason, stacktrace)
    else
      {terminal, state} -> conclude(running, terminal, state, how)
    end
  end

  defp conclude(running, terminal, state, how) do
    case Call.conclude(running, terminal) do
      {:ok, outcome} ->
        errors = IO.iodata_to_binary(state.errors)
        output = state.into.(state.acc, :done)
        apart = if state.stderr == :apart, do: errors

        {running, Call.result(running, outcome, state.bounds, output, apart), tail(state, errors)}

      {:error, error} ->
        state.into.(state.acc, :halt)
        Call.fail!(error, how)
    end
  end

  defp tail(%{stderr: :tail}, errors), do: errors
  defp tail(_state, errors), do: StderrTail.keep("", errors)

  defp loop(running, %{bounds: bounds} = state) do
    case Command.next(running, bounds.deadline, bounds.idle_at) do
      {{stream, bytes}, running} when stream in [:stdout, :stderr] and is_binary(bytes) ->
        loop(running, waits(put(state, stream, bytes)))

      {{stream, lines, bytes}, running} when stream in [:stdout, :stderr] ->
        loop(running, waits(put_lines(state, lines, bytes)))

      {:writable, running} ->
        loop(running, %{state | input: Input.write(state.input, running.handle)})

      {{:input, event}, running} ->
        loop(running, %{state | input: Input.take(state.input, event, running.handle)})

      {bound, running} when bound in [:timeout, :idle_timeout] ->
        loop(running, %{state | bounds: Bounds.reached(bounds, bound)})

      # This process pulls the input of a command that does not want any more of it.
      {:interrupted, _running} ->
        exit(:shutdown)

      {terminal, running} when is_terminal(terminal) ->
        Command.report(running, terminal)
        Input.close(state.input)
        {terminal, state}
    end
  end

  # The time of whoever takes the output is not the program's.
  defp waits(state), do: %{state | bounds: Bounds.waits(state.bounds)}

  # What is passed on is nobody's to keep, and not counted.
  defp put(%{stderr: :tail} = state, :stderr, bytes),
    do: %{state | errors: StderrTail.pass_on(state.errors, bytes)}

  defp put(state, stream, bytes) do
    {bytes, bounds} = Bounds.keep(state.bounds, bytes)
    collect(%{state | bounds: bounds}, stream, bytes)
  end

  defp collect(state, _stream, ""), do: state

  defp collect(%{stderr: :apart} = state, :stderr, bytes),
    do: %{state | errors: [state.errors | bytes]}

  defp collect(state, _stream, bytes),
    do: %{state | acc: state.into.(state.acc, {:cont, bytes})}

  defp put_lines(state, lines, bytes) do
    {lines, bounds} = Bounds.keep_lines(state.bounds, lines, bytes)
    acc = Enum.reduce(lines, state.acc, &state.into.(&2, {:cont, &1}))
    %{state | acc: acc, bounds: bounds}
  end
end
