# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Stream do
  @moduledoc """
  The output of a program as an enumerable: what `MuonTrap.stream!/3`, `MuonTrap.stream/3`, `MuonTrap.pipe!/4` and
  `MuonTrap.pipe/4` return.

  It is lazy. Each enumeration starts the program anew. The enumerating process owns the program: when the process ends,
  the program and everything that it started ends, too. Output is read only when it is needed. A program that is faster
  than its consumer waits, and at most `:stdio_window` bytes of its output are in the VM. In a pipeline that is 64 KiB
  for what another program reads and for what a filter writes, unless a window is given or configured.

  An enumeration returns when the program and everything it started is gone. If it stops early (`Enum.take/2`, an
  exception, a `throw`), the program gets `:stop_signal`, and after `:delay_to_sigkill` what is left gets SIGKILL. A
  suspended enumeration (`Stream.zip/2`, `Enumerable.reduce/3` with `:suspend`) can go on only in the process that began
  it; elsewhere it raises `ArgumentError`.
  """

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Bounds, Call, Command, Commands, Defaults, Input, Nif, Options, StderrTail}
  alias MuonTrap.Input.Feeder
  alias MuonTrap.Options.Words

  @pipeline_bytes 65_536

  @enforce_keys [:options, :mode, :window_given?]
  defstruct [:options, :mode, :window_given?]

  @typedoc """
  `options` is a checked call; `mode` says how the enumeration ends; `window_given?` whether its window is that of the call
  or the configuration, and not a default.
  """
  @type t :: %__MODULE__{options: Options.t(), mode: mode(), window_given?: boolean()}

  @typep mode :: :raise | :result | :silent

  @doc false
  # `:raise` raises what is no success after the last element, `:result` gives the result as the last element, and
  # `:silent`, for what another program reads, does neither.
  @spec new(Options.t(), :raise | :result, keyword() | map()) :: t()
  def new(options, mode, given) do
    window_given? =
      Enum.any?(given, &match?({:stdio_window, _bytes}, &1)) or
        Defaults.stdio_window() != Defaults.built_in(:stdio_window)

    %__MODULE__{options: options, mode: mode, window_given?: window_given?}
  end

  @doc false
  # The stream of a program that reads this enumerable.
  @spec filter(Enumerable.t(), {binary(), [binary()], keyword() | map()}, :raise | :result) ::
          t()
  def filter(enumerable, {command, args, opts}, mode) do
    for {key, value} <- opts, key in [:input, :stdin] do
      raise ArgumentError,
            "the program of a pipeline reads what is piped to it: leave #{inspect(key)} out, " <>
              "got: #{Words.kind(value)}"
    end

    input = {:input, as_input(enumerable)}
    options = Options.validate!(:stream, command, args, [input | Enum.to_list(opts)])
    new(options, mode, opts)
  end

  @doc false
  # What a program gets of an enumerable: of a stream its standard output alone, however it ends.
  @spec as_input(Enumerable.t()) :: Enumerable.t()
  def as_input(%__MODULE__{options: options, mode: mode} = stream) do
    mode = if mode == :raise, do: :raise, else: :silent
    # Tagged elements are for those who look at them.
    %{stream | options: %{options | capture_stderr: false}, mode: mode}
  end

  def as_input(enumerable), do: enumerable

  @doc false
  @spec resource(t()) :: Enumerable.t()
  def resource(stream), do: Stream.resource(fn -> start(stream) end, &wanted/1, &stop/1)

  # In a pipeline, what another program reads and what a filter writes: bulk, which is cheaper in fewer pieces. A pipe
  # holds as much.
  defp widen(%{options: options, window_given?: false} = stream) do
    if options.input != nil or Feeder.interrupt() != nil,
      do: %{stream | options: %{options | stdio_window: @pipeline_bytes}},
      else: stream
  end

  defp widen(stream), do: stream

  # The programs that are started for an enumeration: those whose output nobody but the next one sees come before it.
  defp chain(%{options: %{input: %__MODULE__{} = before} = options} = stream) do
    if joins?(before) and pipes?(options),
      do: chain(before) ++ [without_input(stream)],
      else: [stream]
  end

  defp chain(stream), do: [stream]

  defp without_input(stream), do: %{stream | options: %{stream.options | input: nil}}

  # What has to be looked at passes through the VM.
  defp joins?(%{mode: :result}), do: false

  defp joins?(%{options: options}) do
    pipes?(options) and options.lines == nil and not options.capture_stderr and
      not options.capture_stderr_only and
      options.timeout == :infinity and options.idle_timeout == :infinity and
      options.max_output == :infinity
  end

  # Neither a terminal nor a program on another node can have a pipe of another program.
  defp pipes?(options), do: options.pty == nil and options.node == nil

  defp start(stream) do
    [first | _] = chain = stream |> widen() |> chain()
    stages = chain |> Enum.with_index(1 - length(chain)) |> Enum.reduce([], &start_stage/2)
    started(Enum.reverse(stages), first.options.input, stream)
  end

  # `place` is 0 for the last one.
  defp start_stage({%{options: options, mode: mode}, place}, before) do
    stderr = Call.stderr(options, mode == :raise)
    stdin = with [%{command: command} | _] <- before, do: command.handle
    stdout = if place < 0, do: :held

    joined = [stdin: if(stdin == [], do: nil, else: stdin), stdout: stdout]

    case Call.start(options, stderr, stderr != :tail, joined) do
      {:ok, command} ->
        [%{command: command, stderr: stderr, mode: mode, tail: ""} | before]

      {:error, error} ->
        Commands.abort(Enum.map(before, & &1.command))
        raise error
    end
  end

  defp started(stages, input, %{options: options, mode: mode}) do
    commands = Enum.map(stages, & &1.command)
    {first, %{command: last, stderr: stderr}} = {hd(commands), List.last(stages)}

    try do
      input = Input.new(input, first)

      %{
        owner: self(),
        commands: Commands.new(commands, Feeder.interrupt() != nil or Input.pulled?(input)),
        stages: Map.new(stages, &{&1.command.ref, &1}),
        first: first,
        last: last.ref,
        bounds: Bounds.new(options, {Command, :stop, [last]}),
        stderr: stderr,
        lines?: options.lines != nil,
        input: Input.write(input, first.handle),
        mode: mode,
        # What is left to do when nothing runs any more: an exception to raise, or nothing.
        over: nil
      }
    catch
      kind, reason ->
        stacktrace = __STACKTRACE__
        Commands.abort(commands)
        :erlang.raise(kind, reason, stacktrace)
    end
  end

  # The time of whoever enumerates is not the program's.
  defp wanted(state), do: next(%{state | bounds: Bounds.waits(state.bounds)})

  defp next(%{over: :done} = state), do: {:halt, state}

  # Not in the step that found it out: `Stream.resource/3` would have the program stopped that has ended.
  defp next(%{over: {:raise, error}}), do: raise(error)

  defp next(%{owner: owner}) when owner != self() do
    raise ArgumentError,
          "the enumeration of a program's output goes on only in the process that began it, #{inspect(owner)}, " <>
            "got: #{inspect(self())}"
  end

  defp next(%{bounds: bounds, last: last, first: %{handle: first}} = state) do
    {event, commands} = Commands.next(state.commands, bounds.deadline, bounds.idle_at)
    state = %{state | commands: commands}

    case event do
      {^last, {stream, bytes}} when stream in [:stdout, :stderr] and is_binary(bytes) ->
        piece(state, stream, bytes)

      {^last, {stream, lines, bytes}} when stream in [:stdout, :stderr] ->
        {kept, bounds} = Bounds.keep_lines(bounds, lines, bytes)
        output(%{state | bounds: bounds}, stream, kept, lines)

      {ref, {:stderr, bytes}} ->
        next(pass_on(state, ref, bytes))

      {_first, :writable} ->
        next(%{state | input: Input.write(state.input, first)})

      {_first, {:input, event}} ->
        next(%{state | input: Input.take(state.input, event, first)})

      bound when bound in [:timeout, :idle_timeout] ->
        next(%{state | bounds: Bounds.reached(bounds, bound)})

      :interrupted ->
        {:halt, state}

      {ref, terminal} when is_terminal(terminal) ->
        %{command: command} = stage = Map.fetch!(state.stages, ref)
        Command.report(command, terminal)
        # Those before the last one are of no use without it.
        if ref == last, do: Commands.abort(state.commands)
        if ref == last or command == state.first, do: Input.close(state.input)
        conclude(state, stage, Call.conclude(command, terminal))
    end
  end

  # What is passed on is nobody's to keep, and not counted.
  defp piece(%{stderr: :tail} = state, :stderr, bytes),
    do: {[], pass_on(state, state.last, bytes)}

  defp piece(state, stream, bytes) do
    {kept, bounds} = Bounds.keep(state.bounds, bytes)
    output(%{state | bounds: bounds}, stream, if(kept == "", do: [], else: [kept]), [bytes])
  end

  defp pass_on(state, ref, bytes), do: tail(state, ref, &StderrTail.pass_on(&1, bytes))

  defp tail(state, ref, fun),
    do: %{state | stages: Map.update!(state.stages, ref, &%{&1 | tail: fun.(&1.tail)})}

  # `came` is what the program said, `elements` those of it that its consumer gets.
  defp output(%{stderr: :apart} = state, stream, elements, came) do
    said = text(state, came)

    state =
      if stream == :stderr, do: tail(state, state.last, &StderrTail.keep(&1, said)), else: state

    {Enum.map(elements, &{stream, &1}), state}
  end

  defp output(state, _stream, elements, _came), do: {elements, state}

  defp text(%{lines?: true}, lines), do: IO.iodata_to_binary(Enum.map(lines, &[&1, ?\n]))
  defp text(_state, bytes), do: IO.iodata_to_binary(bytes)

  defp conclude(%{last: ref} = state, %{command: %{ref: ref} = command} = stage, concluded) do
    case concluded do
      {:ok, outcome} ->
        result = Call.result(command, outcome, state.bounds, nil, nil)
        ended(state, result, Call.exit_error(command, result, stage.tail))

      {:error, error} ->
        {[], %{state | over: {:raise, error}}}
    end
  end

  # One before the last: its reader may read to the end now.
  defp conclude(state, %{command: command} = stage, concluded) do
    read? = Nif.release(command.handle)

    case concluded do
      {:ok, outcome} ->
        result = Call.result(command, outcome, Bounds.none(), nil, nil)
        error = Call.exit_error(command, result, stage.tail)
        # Who has lost its reader ends as it likes.
        if stage.mode == :raise and read? and error != nil, do: raise(error), else: next(state)

      {:error, error} ->
        raise error
    end
  end

  defp ended(%{mode: :result} = state, result, _error), do: {[{:exit, result}], done(state)}

  defp ended(%{mode: :raise} = state, _result, error) when error != nil,
    do: {[], %{state | over: {:raise, error}}}

  defp ended(state, _result, _error), do: {[], done(state)}

  defp done(state), do: %{state | over: :done}

  defp stop(%{over: over}) when over != nil, do: :ok

  defp stop(%{owner: owner} = state) when owner == self() do
    state.stages |> Map.values() |> Enum.map(& &1.command) |> Commands.abort()
    Input.close(state.input)
  end

  # Its events come to the owner, who is asked nothing here. When that ends, what it began is over in any case.
  defp stop(state), do: Commands.stop(state.commands)

  defimpl Enumerable do
    def reduce(stream, acc, fun),
      do: stream |> MuonTrap.Stream.resource() |> Enumerable.reduce(acc, fun)

    def count(_stream), do: {:error, __MODULE__}
    def member?(_stream, _element), do: {:error, __MODULE__}
    def slice(_stream), do: {:error, __MODULE__}
  end

  defimpl Inspect do
    # The environment, the input and the arguments are nobody's business but the program's.
    def inspect(%{options: options}, _opts),
      do: "#MuonTrap.Stream<#{Path.basename(options.command)}>"
  end
end
