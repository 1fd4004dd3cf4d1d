# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Stream do
  @moduledoc """
  The output of a program as an enumerable: what `MuonTrap.stream!/3`, `MuonTrap.stream/3`, `MuonTrap.pipe!/4` and
  `MuonTrap.pipe/4` return.

  It is lazy. Each enumeration starts a program of its own, which the enumerating process owns: when that process ends,
  so does the program with everything it started. Only what was asked for is read. A program that is faster than its
  consumer waits, and at most `:stdio_window` bytes of its output are in the VM.

  An enumeration returns when the program and everything it started is gone. If it stops early (`Enum.take/2`, an
  exception, a `throw`), the program gets `:stop_signal`, and after `:delay_to_sigkill` what is left gets SIGKILL. A
  suspended enumeration (`Stream.zip/2`, `Enumerable.reduce/3` with `:suspend`) can go on only in the process that began
  it; elsewhere it raises `ArgumentError`.
  """

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Call, Command, Input, Options, StderrTail}

  @enforce_keys [:options, :mode]
  defstruct [:options, :mode]

  @typedoc "`options` is a checked call; `mode` says how the enumeration ends."
  @type t :: %__MODULE__{options: Options.t(), mode: mode()}

  @typep mode :: :raise | :result | :silent

  @doc false
  # `:raise` raises what is no success after the last element, `:result` gives the result as the last element, and
  # `:silent`, for what another program reads, does neither.
  @spec new(Options.t(), :raise | :result) :: t()
  def new(options, mode), do: %__MODULE__{options: options, mode: mode}

  @doc false
  # What a program gets of an enumerable: of a stream its standard output alone, however it ends.
  @spec as_input(Enumerable.t()) :: Enumerable.t()
  def as_input(%__MODULE__{options: options, mode: mode}) do
    mode = if mode == :raise, do: :raise, else: :silent
    # Tagged elements are for those who look at them.
    %__MODULE__{options: %{options | capture_stderr: false}, mode: mode}
  end

  def as_input(enumerable), do: enumerable

  @doc false
  @spec resource(t()) :: Enumerable.t()
  def resource(stream), do: Stream.resource(fn -> start(stream) end, &next/1, &stop/1)

  defp start(%{options: options, mode: mode}) do
    stderr = Call.stderr(options, mode == :raise)

    case Call.start(options, stderr, stderr != :tail) do
      {:ok, running} -> started(running, options, stderr, mode)
      {:error, error} -> raise error
    end
  end

  defp started(running, options, stderr, mode) do
    input = Input.new(options.input, running)

    %{
      owner: self(),
      running: running,
      deadline: Call.deadline(options.timeout),
      stderr: stderr,
      tail: "",
      lines?: options.lines != nil,
      input: Input.write(input, running.handle),
      mode: mode,
      timed_out: false,
      # What is left to do when nothing runs any more: an exception to raise, or nothing.
      over: nil
    }
  catch
    kind, reason ->
      stacktrace = __STACKTRACE__
      Command.abort(running)
      :erlang.raise(kind, reason, stacktrace)
  end

  defp next(%{over: :done} = state), do: {:halt, state}

  # Not in the step that found it out: `Stream.resource/3` would have the program stopped that has ended.
  defp next(%{over: {:raise, error}}), do: raise(error)

  defp next(%{owner: owner}) when owner != self() do
    raise ArgumentError,
          "the enumeration of a program's output goes on only in the process that began it, #{inspect(owner)}, " <>
            "got: #{inspect(self())}"
  end

  defp next(state) do
    case Command.next(state.running, state.deadline) do
      {{stream, bytes}, running} when stream in [:stdout, :stderr] and is_binary(bytes) ->
        output(%{state | running: running}, stream, [bytes])

      {{stream, lines, _bytes}, running} when stream in [:stdout, :stderr] ->
        output(%{state | running: running}, stream, lines)

      {:writable, running} ->
        next(%{state | running: running, input: Input.write(state.input, running.handle)})

      {{:input, event}, running} ->
        input = Input.take(state.input, event, running.handle)
        next(%{state | running: running, input: input})

      {:timeout, running} ->
        Command.stop(running)
        next(%{state | running: running, deadline: :infinity, timed_out: true})

      {:interrupted, running} ->
        {:halt, %{state | running: running}}

      {terminal, running} when is_terminal(terminal) ->
        Command.report(running, terminal)
        Input.close(state.input)
        conclude(%{state | running: running}, terminal)
    end
  end

  defp output(%{stderr: :tail} = state, :stderr, [bytes]),
    do: {[], %{state | tail: StderrTail.pass_on(state.tail, bytes)}}

  defp output(%{stderr: :apart} = state, stream, elements) do
    tail = if stream == :stderr, do: StderrTail.keep(state.tail, text(state, elements))
    {Enum.map(elements, &{stream, &1}), %{state | tail: tail || state.tail}}
  end

  defp output(state, _stream, elements), do: {elements, state}

  defp text(%{lines?: true}, lines), do: IO.iodata_to_binary(Enum.map(lines, &[&1, ?\n]))
  defp text(_state, bytes), do: IO.iodata_to_binary(bytes)

  defp conclude(state, terminal) do
    case Call.conclude(state.running, terminal) do
      {:ok, outcome} ->
        result = Call.result(state.running, outcome, state.timed_out, nil, nil)
        ended(state, result, Call.exit_error(state.running, result, state.tail))

      {:error, error} ->
        {[], %{state | over: {:raise, error}}}
    end
  end

  defp ended(%{mode: :result} = state, result, _error), do: {[{:exit, result}], done(state)}

  defp ended(%{mode: :raise} = state, _result, error) when error != nil,
    do: {[], %{state | over: {:raise, error}}}

  defp ended(state, _result, _error), do: {[], done(state)}

  defp done(state), do: %{state | over: :done}

  defp stop(%{over: over}) when over != nil, do: :ok

  defp stop(%{owner: owner} = state) when owner == self() do
    Command.abort(state.running)
    Input.close(state.input)
  end

  # Its events come to the owner, who is asked nothing here. When that ends, what it began is over in any case.
  defp stop(state), do: Command.stop(state.running)

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
