# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap do
  @moduledoc """
  Runs OS programs so that none is ever lost.

  `cmd/3` is `System.cmd/3` that contains what it runs: when it returns, and when the calling process or
  the VM ends before in any way, the program and everything it started is gone. Neither root nor cgroups
  are needed for that.
  """

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Command, Error, Input, LineBuffer, Nif, Options}

  @doc """
  Runs a program and returns its output and exit status, as `System.cmd/3` does.

  `command` is an absolute path or a name looked up in `PATH`, `args` are handed over as they are. The
  calling process waits until the program has ended and nothing of what it started is left. It is never
  killed by what happens inside and finds no message of it in its mailbox.

  Returns `{collectable, exit_status}`: the output in `:into`, and the exit code, or 128 and the number of
  the signal that ended the program (137 for SIGKILL), or `:timeout`.

  When the calling process ends, the program gets `:stop_signal`, and after `:delay_to_sigkill` everything
  that is left gets SIGKILL. What the program leaves in the background when it exits is killed at once.

  ## Options

  #{Options.docs(:cmd)}
  ## Errors

    * `ArgumentError` - an argument or option that makes no sense
    * `ErlangError` with the errno, as `System.cmd/3` raises it - the program cannot be executed, `:cd`
      cannot be entered, or the system is out of something: `:enoent`, `:eacces`, `:e2big`, `:emfile`, ...
    * `MuonTrap.Error` - an option that the system refuses: user, limit, cgroup; the program has not run. Or a
      helper was killed, and the program with it: the step is `:shim`

  Processes that cannot be killed, those of another user or stuck in the kernel, are not waited for beyond
  some seconds. They are logged as an error, and the call returns.

  ## Examples

      iex> MuonTrap.cmd("echo", ["hello"])
      {"hello\\n", 0}

      iex> MuonTrap.cmd("sh", ["-c", "echo one; echo two; exit 3"], lines: 1024, into: [])
      {["one", "two"], 3}

      iex> MuonTrap.cmd("sleep", ["1000"], timeout: 50)
      {"", :timeout}

      iex> MuonTrap.cmd("tr", ["a-z", "A-Z"], input: "hello")
      {"HELLO", 0}
  """
  @spec cmd(binary(), [binary()], keyword()) :: {Collectable.t(), 0..255 | :timeout}
  def cmd(command, args, opts \\ []) do
    options = Options.validate!(:cmd, command, args, opts)
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
      true -> {stdin, :pipe, :inherit}
    end
  end

  defp collect(running, options, acc, into) do
    buffer = if options.lines, do: LineBuffer.new(mode: :raw)
    state = %{acc: acc, into: into, buffer: buffer, input: Input.new(options.input), over: nil}

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
      {{:ended, _outcome}, %{over: :timeout} = state} ->
        {finish(state), :timeout}

      {{:ended, outcome}, state} ->
        {finish(state), Command.exit_status(outcome.status)}

      {{:failed, failure}, state} ->
        fail(Command.error(failure), options, into.(state.acc, :halt))

      {{:lost, failure, _survivors}, state} ->
        fail(Command.error(failure), options, into.(state.acc, :halt))
    end
  end

  defp loop(running, deadline, state) do
    case Command.next(running, deadline) do
      {{stream, bytes}, running} when stream in [:stdout, :stderr] and is_binary(bytes) ->
        loop(running, deadline, put(state, bytes))

      {:writable, running} ->
        loop(running, deadline, %{state | input: Input.write(state.input, running.handle)})

      {:timeout, running} ->
        Command.stop(running)
        loop(running, :infinity, %{state | over: :timeout})

      {terminal, running} when is_terminal(terminal) ->
        Command.report(running, terminal)
        Input.close(state.input)
        {terminal, state}
    end
  end

  defp put(%{buffer: nil} = state, bytes),
    do: %{state | acc: state.into.(state.acc, {:cont, bytes})}

  defp put(state, bytes) do
    {lines, buffer} = LineBuffer.push(state.buffer, bytes)
    put_lines(%{state | buffer: buffer}, lines)
  end

  defp put_lines(state, lines),
    do: %{state | acc: Enum.reduce(lines, state.acc, &state.into.(&2, {:cont, &1}))}

  defp finish(%{buffer: nil} = state), do: state.into.(state.acc, :done)

  defp finish(state) do
    state = put_lines(state, LineBuffer.flush(state.buffer))
    state.into.(state.acc, :done)
  end

  defp deadline(:infinity), do: :infinity
  defp deadline(timeout_ms), do: System.monotonic_time(:millisecond) + timeout_ms

  @doc """
  Lists the commands of this VM that are not over.

  Each is a map: `:id`, `:owner` (a pid), `:name` (under which the owner is registered, or nil), `:command`
  (program and arguments), `:os_pid` (nil before the program runs and after it), `:uptime_ms`, `:stdout_bytes`,
  `:stderr_bytes`, `:unacknowledged_bytes` of `:window_bytes`, `:containment` (`:cgroup` or `:subreaper`),
  `:cgroup` (directories), `:stopping`, `:orphaned` (the owner is gone) and `:done` (the tree is gone, output is
  left). Does not block. A program that ends within some milliseconds may never show an `:os_pid`.
  """
  @spec list() :: [map()]
  def list do
    for command <- Nif.list() do
      containment = if command.cgroup == [], do: :subreaper, else: :cgroup
      Map.merge(command, %{name: registered_name(command.owner), containment: containment})
    end
  end

  defp registered_name(pid) do
    case Process.info(pid, :registered_name) do
      {:registered_name, name} when is_atom(name) -> name
      _none_or_dead -> nil
    end
  end
end
