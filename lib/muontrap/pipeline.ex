# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Pipeline do
  @moduledoc false
  # Runs MuonTrap.pipeline/2: programs joined by pipes of the kernel, as in a shell. The calling process owns all of
  # them, and gets the output of the last one.

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Bounds, Call, Command, Commands, Input, Options, Result, StderrTail}

  # What one program cannot have of its own, and what all of them cannot have together.
  @of_all [
    :into,
    :lines,
    :input,
    :stdin,
    :timeout,
    :idle_timeout,
    :max_output,
    :capture_stderr,
    :pipefail
  ]
  @of_one [:arg0, :cgroup_path, :stderr_to_stdout]
  @of_none [:capture_stderr_only]

  @typedoc "A checked pipeline: the options of the whole, and those of each program."
  @type t :: %{whole: Options.t(), programs: [Options.t()]}

  @doc "Checks a pipeline. Raises `ArgumentError` as `Options.validate!/4` does."
  @spec validate!(term(), term()) :: t()
  def validate!(programs, opts) do
    unless is_list(programs) and programs != [] and not List.improper?(programs) do
      raise ArgumentError,
            "MuonTrap.pipeline/2 expects a list of {command, args} or {command, args, options}, got: " <>
              inspect(programs)
    end

    split = Enum.map(programs, &program!/1)
    {command, args, _opts} = List.last(split)
    whole = Options.validate!(:pipeline, command, args, opts)
    refuse!(opts, @of_one ++ @of_none, "is for one program of MuonTrap.pipeline/2, not for all")
    shared = opts |> Enum.to_list() |> Keyword.drop(@of_all)
    %{whole: whole, programs: Enum.map(split, &with_shared!(&1, shared, whole.env))}
  end

  defp program!({command, args}), do: {command, args, []}
  defp program!({_command, _args, _opts} = program), do: program

  # Without it: arguments may hold a secret.
  defp program!(_other) do
    raise ArgumentError,
          "MuonTrap.pipeline/2 expects each program as {command, args} or {command, args, options}"
  end

  defp with_shared!({command, args, opts}, shared, env) do
    # Its own kind of check first, so that there are options to merge.
    own = Options.validate!(:pipeline, command, args, opts)
    refuse!(opts, @of_all ++ @of_none, "is not for one program of MuonTrap.pipeline/2")
    opts = Keyword.merge(shared, Enum.to_list(opts))
    Options.validate!(:pipeline, command, args, Keyword.put(opts, :env, env ++ own.env))
  end

  defp refuse!(opts, keys, why) do
    for {key, value} <- opts, key in keys do
      raise ArgumentError, "option #{inspect(key)} #{why}, got: #{inspect(value)}"
    end
  end

  @doc "Runs a checked pipeline. Raises what `MuonTrap.pipeline/2` documents."
  @spec run(t()) :: Result.t()
  def run(pipeline) do
    {_commands, result, _tail} = run(pipeline, false)
    result
  end

  @doc "Runs a checked pipeline like `run/1`. Raises `MuonTrap.ExitError` if it does not succeed."
  @spec run!(t()) :: Result.t()
  def run!(pipeline) do
    {started, result, tails} = run(pipeline, true)
    at = telling(result.programs, pipeline.whole)
    error = Call.exit_error(Enum.at(started, at), result, Enum.at(tails, at))
    if error, do: raise(error), else: result
  end

  defp run(%{whole: whole, programs: programs}, raising?) do
    {acc, into} = Collectable.into(whole.into)

    case start(programs, whole, raising?) do
      {:ok, started} ->
        collect(started, whole, acc, into)

      {:error, error} ->
        into.(acc, :halt)
        raise error
    end
  end

  # Each gets its input from the one before it, and keeps what the next will read until that has it.
  defp start(programs, whole, raising?) do
    last = length(programs) - 1

    programs
    |> Enum.with_index()
    |> Enum.reduce_while({:ok, []}, fn {options, at}, {:ok, started} ->
      stdio = {
        stdin(started, whole),
        if(at == last, do: :pipe, else: :joint),
        stderr(options, whole, raising?)
      }

      lines = if at == last, do: Bounds.lines(whole)

      case Command.start(options, stdio, lines: {lines, nil}) do
        {:ok, command} ->
          {:cont, {:ok, [command | started]}}

        {:error, error} ->
          Commands.abort(started)
          {:halt, {:error, error}}
      end
    end)
    |> then(&with({:ok, started} <- &1, do: {:ok, Enum.reverse(started)}))
  end

  defp stdin([before | _], _whole), do: before.handle
  defp stdin([], %{input: nil, stdin: :null}), do: :null
  defp stdin([], _whole), do: :pipe

  defp stderr(%{stderr_to_stdout: true}, _whole, _raising?), do: :stdout

  defp stderr(_options, whole, raising?),
    do: if(whole.capture_stderr or raising?, do: :pipe, else: :inherit)

  defp collect([first | _] = started, whole, acc, into) do
    state = %{
      commands: Commands.new(started),
      # All of them, whether they run or not.
      started: Map.new(started, &{&1.ref, &1}),
      first: first.ref,
      acc: acc,
      into: into,
      apart?: whole.capture_stderr,
      # Standard error of all in the order in which it came, and of each: what was captured, or the end of what was
      # passed on.
      errors: [],
      error_of: Map.new(started, &{&1.ref, if(whole.capture_stderr, do: [], else: "")}),
      results: %{},
      input: Input.new(whole.input, first),
      bounds: Bounds.new(whole, {Commands, :stop, [started]})
    }

    state = state |> guarded(&write/1) |> loop()
    output = state.into.(state.acc, :done)
    results = for command <- started, do: Map.fetch!(state.results, command.ref)
    tails = for command <- started, do: tail(state, Map.fetch!(state.error_of, command.ref))
    {started, result(results, whole, state, output), tails}
  end

  defp write(state),
    do: %{state | input: Input.write(state.input, Map.fetch!(state.started, state.first).handle)}

  defp tail(%{apart?: true}, captured), do: StderrTail.keep("", IO.iodata_to_binary(captured))
  defp tail(_state, tail), do: tail

  defp guarded(state, fun) do
    fun.(state)
  catch
    kind, reason ->
      stacktrace = __STACKTRACE__
      Commands.abort(state.commands)
      Input.close(state.input)
      state.into.(state.acc, :halt)
      :erlang.raise(kind, reason, stacktrace)
  end

  defp loop(%{commands: %{running: running}} = state) when running == %{}, do: state

  defp loop(%{bounds: bounds} = state) do
    {event, commands} = Commands.next(state.commands, bounds.deadline, bounds.idle_at)
    %{state | commands: commands} |> guarded(&take(&1, event)) |> loop()
  end

  defp take(state, {_last, {:stdout, bytes}}) do
    {bytes, bounds} = Bounds.keep(state.bounds, bytes)
    acc = if bytes == "", do: state.acc, else: state.into.(state.acc, {:cont, bytes})
    waits(%{state | bounds: bounds, acc: acc})
  end

  defp take(state, {_last, {:stdout, lines, bytes}}) do
    {lines, bounds} = Bounds.keep_lines(state.bounds, lines, bytes)
    acc = Enum.reduce(lines, state.acc, &state.into.(&2, {:cont, &1}))
    waits(%{state | bounds: bounds, acc: acc})
  end

  defp take(%{apart?: true} = state, {ref, {:stderr, bytes}}) do
    {bytes, bounds} = Bounds.keep(state.bounds, bytes)
    error_of = Map.update!(state.error_of, ref, &[&1 | bytes])
    waits(%{state | bounds: bounds, errors: [state.errors | bytes], error_of: error_of})
  end

  defp take(state, {ref, {:stderr, bytes}}),
    do:
      waits(%{state | error_of: Map.update!(state.error_of, ref, &StderrTail.pass_on(&1, bytes))})

  defp take(state, {_first, :writable}), do: write(state)

  defp take(state, {ref, {:input, event}}) do
    %{handle: handle} = Map.fetch!(state.started, ref)
    %{state | input: Input.take(state.input, event, handle)}
  end

  defp take(state, bound) when bound in [:timeout, :idle_timeout],
    do: %{state | bounds: Bounds.reached(state.bounds, bound)}

  # This process pulls the input of a command that does not want any more of it.
  defp take(_state, :interrupted), do: exit(:shutdown)

  defp take(state, {ref, terminal}) when is_terminal(terminal) do
    command = Map.fetch!(state.started, ref)
    Command.report(command, terminal)
    state = if ref == state.first, do: close_input(state), else: state

    case Call.conclude(command, terminal) do
      {:ok, outcome} ->
        captured = if state.apart?, do: IO.iodata_to_binary(Map.fetch!(state.error_of, ref))
        # How it ended itself, whatever the pipeline was stopped by.
        result = Call.result(command, outcome, Bounds.none(), nil, captured)

        %{state | results: Map.put(state.results, ref, result)}

      {:error, error} ->
        raise error
    end
  end

  defp close_input(state) do
    Input.close(state.input)
    %{state | input: nil}
  end

  # The time of whoever takes the output is not the programs'.
  defp waits(state), do: %{state | bounds: Bounds.waits(state.bounds)}

  defp result(results, whole, state, output) do
    told = Enum.at(results, telling(results, whole))
    usages = Enum.map(results, & &1.usage)

    %{
      List.last(results)
      | status: state.bounds.stopped_by || told.status,
        exit_status: told.exit_status,
        output: output,
        stderr: if(state.apart?, do: IO.iodata_to_binary(state.errors)),
        timed_out: state.bounds.stopped_by == :timeout,
        stopped_by: state.bounds.stopped_by,
        truncated: state.bounds.truncated,
        oom_killed: Enum.any?(results, & &1.oom_killed),
        survivors: Enum.flat_map(results, & &1.survivors),
        leftovers: Enum.flat_map(results, & &1.leftovers),
        usage: %{
          user_us: usages |> Enum.map(& &1.user_us) |> Enum.sum(),
          system_us: usages |> Enum.map(& &1.system_us) |> Enum.sum(),
          max_rss_bytes: usages |> Enum.map(& &1.max_rss_bytes) |> Enum.max()
        },
        duration_ms: results |> Enum.map(& &1.duration_ms) |> Enum.max(),
        programs: results
    }
  end

  # Which program's status is that of the pipeline.
  defp telling(results, %{pipefail: pipefail?}) do
    last = length(results) - 1
    failed = for {result, at} <- Enum.with_index(results), failed?(result, at == last), do: at
    if pipefail?, do: List.last(failed) || last, else: last
  end

  # One whose reader has ended early is ended as it should be.
  defp failed?(%{status: {:signaled, :sigpipe}}, false), do: false
  defp failed?(%{status: status}, _last?), do: status != {:exited, 0}
end
