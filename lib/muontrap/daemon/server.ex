# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Server do
  @moduledoc false
  # The process of a `MuonTrap.Daemon`: owner of its command from the start of the program to the end of its tree.
  #
  # Three times it waits by itself: in init/1 for the program to run and become ready (`Start`), in between as a
  # GenServer, and in terminate/2 for the end (`Ending`).

  use GenServer

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Command, Error, Input, Late, Nif, Stdin}

  alias MuonTrap.Daemon.{
    Ending,
    Flow,
    Launch,
    Log,
    Orders,
    Output,
    Ready,
    Reason,
    Reload,
    Report,
    Restart,
    Start,
    State,
    Statistics
  }

  # How long a Daemon is there at the least: whoever has started a program that ends at once gets answers for a
  # moment. For longer, but not for ever, while the starter has something to do and has not come to asking.
  @least_life_ms 10
  @least_life_of_asked_ms 200

  @impl GenServer
  def init(options) do
    Process.flag(:trap_exit, true)
    Log.put_metadata(options)
    state = State.new(options)

    if options.wait_for do
      {:ok, state, {:continue, :wait_for}}
    else
      since_ms = State.now_ms()

      with :ok <- Launch.await_room(options, Launch.parent()),
           {:ok, state} <- Start.launch(%{state | starting?: true}, since_ms),
           {:ok, state} <- await_start(state) do
        {:ok, Flow.log_later(%{state | starting?: false})}
      else
        {:error, error} -> {:stop, {:shutdown, error}}
        {:stop, %Error{} = error, state} -> fail_init({:shutdown, error}, state)
        {:stop, reason, state} -> fail_init(reason, state)
      end
    end
  end

  # As by what an enumerable :input has raised.
  defp await_start(state) do
    Start.await(state, &handle_info/2)
  catch
    kind, reason ->
      terminate(reason, state)
      :erlang.raise(kind, reason, __STACKTRACE__)
  end

  # terminate/2 is not called then.
  defp fail_init(reason, state) do
    terminate(reason, state)
    {:stop, reason}
  end

  @impl GenServer
  def handle_continue(:wait_for, state), do: {:noreply, Restart.prepare(state)}

  # Since OTP 25; an older one shows what is hidden here.
  if {:format_status, 1} in GenServer.behaviour_info(:callbacks), do: @impl(GenServer)

  def format_status(status) do
    status
    |> Map.replace_lazy(:state, &State.shown/1)
    |> Map.replace_lazy(:message, &hide_message/1)
    |> Map.replace(:log, [])
  end

  # What this says is in the reason and in the state.
  defp hide_message({:timeout, _timer, {:over, _reason}}), do: :ended
  defp hide_message({:muontrap, _ref, terminal}) when is_terminal(terminal), do: :ended
  defp hide_message({:muontrap, ref, {kind, _content}}), do: {:muontrap, ref, {kind, :hidden}}

  defp hide_message({:muontrap, ref, {kind, _lines, bytes}}),
    do: {:muontrap, ref, {kind, :hidden, bytes}}

  defp hide_message({:"$gen_call", from, {:write, _bytes}}),
    do: {:"$gen_call", from, {:write, :hidden}}

  defp hide_message(message), do: message

  @impl GenServer
  def handle_call(:os_pid, _from, state), do: {:reply, state.os_pid || :error, state}

  def handle_call(:info, _from, state),
    do: {:reply, {Statistics.info(state), state.command && state.command.cgroup}, state}

  def handle_call({:signal, _number}, _from, %{command: nil} = state),
    do: {:reply, {:error, :esrch}, state}

  def handle_call({:signal, number}, _from, state),
    do: {:reply, Nif.signal(state.command.handle, number), state}

  def handle_call({:reload, _timeout_ms}, _from, %{command: nil} = state),
    do: {:reply, {:error, :esrch}, state}

  def handle_call({:reload, timeout_ms}, _from, %{notify: nil} = state) when timeout_ms != nil,
    do: {:reply, {:error, :not_notify}, state}

  def handle_call({:reload, timeout_ms}, from, state) do
    case Nif.signal(state.command.handle, state.options.reload) do
      :ok when timeout_ms != nil -> {:noreply, Reload.wait(state, from, timeout_ms)}
      result -> {:reply, result, state}
    end
  end

  def handle_call({:resize, _size}, _from, %{command: nil} = state),
    do: {:reply, {:error, :esrch}, state}

  def handle_call({:resize, {rows, cols}}, _from, state),
    do: {:reply, Nif.resize(state.command.handle, rows, cols), state}

  def handle_call({:write, bytes}, _from, state) do
    case Stdin.put(state.stdin, bytes) do
      {:ok, stdin} ->
        # Written now, so that a pipe that nobody reads any more is known to the next caller.
        {:reply, :ok, %{state | stdin: Stdin.write(stdin, state.command)}}

      {:error, _reason} = error ->
        {:reply, error, state}
    end
  end

  def handle_call(:close_stdin, _from, state) do
    stdin = state.stdin |> Stdin.close() |> Stdin.write(state.command)
    {:reply, :ok, %{state | stdin: stdin}}
  end

  @impl GenServer
  def handle_info({:muontrap, ref, event}, %{command: %{ref: ref}} = state),
    do: event(event, state)

  def handle_info({ref, _result}, %{wait_task: {:wait_for, %Task{ref: ref}}} = state) do
    Process.demonitor(ref, [:flush])
    {:noreply, Restart.make_room(state)}
  end

  def handle_info({ref, {free, since_ms}}, %{wait_task: {:room, %Task{ref: ref}}} = state) do
    Process.demonitor(ref, [:flush])
    state = %{state | wait_task: nil}

    with :ok <- free, {:ok, state} <- Start.launch(state, since_ms) do
      {:noreply, state}
    else
      {:error, error} -> finish(error, state)
    end
  end

  # Without a result, as after exit(:normal).
  def handle_info(
        {:DOWN, ref, _type, _pid, reason},
        %{wait_task: {_for, %Task{ref: ref}}} = state
      ),
      do: finish(reason, %{state | wait_task: nil})

  def handle_info({:DOWN, ref, _type, _pid, :normal}, state) do
    if Ready.task?(state.ready, ref),
      do: finish(Ready.no_answer(state.options), state),
      else: {:noreply, state}
  end

  def handle_info({ref, _result}, state) when is_reference(ref),
    do: {:noreply, State.ready(state, Ready.returned(state.ready, ref))}

  def handle_info({:udp, socket, _address, _port, datagram}, %{socket: socket} = state) do
    case Orders.take(state, socket, datagram) do
      {:ok, state} -> {:noreply, state}
      {:failed, state} -> finish(Orders.missed(state), state)
    end
  end

  def handle_info(
        {:timeout, timer, {:start_timeout, _due, _wait} = wait},
        %{timer: timer} = state
      ) do
    if again = Late.again(wait),
      do: {:noreply, %{state | timer: again}},
      else: finish(State.error(state, :start_timeout, :timeout), state)
  end

  def handle_info({:timeout, timer, {:over, reason}}, %{timer: timer} = state) do
    if State.now_ms() < state.since_ms + @least_life_of_asked_ms and busy?(Launch.parent()),
      do: {:noreply, %{state | timer: State.start_timer(@least_life_ms, {:over, reason})}},
      else: {:stop, reason, state}
  end

  def handle_info({:timeout, timer, {:watchdog, _due, _wait} = wait}, %{watchdog: timer} = state) do
    if again = Late.again(wait),
      do: {:noreply, %{state | watchdog: again}},
      else: finish(Orders.missed(state), state)
  end

  def handle_info({:timeout, timer, :again}, %{timer: timer} = state),
    do: {:noreply, Restart.begin(state)}

  def handle_info({:timeout, timer, :reload}, state), do: {:noreply, Reload.late(state, timer)}

  def handle_info({:timeout, timer, :log_rate}, %{rate_timer: timer} = state),
    do: {:noreply, Flow.tell_dropped(state)}

  def handle_info(:log, state),
    do: {:noreply, %{state | logging?: false} |> Flow.log() |> Flow.log_later()}

  def handle_info({:EXIT, _pid, :normal}, state), do: {:noreply, state}

  def handle_info({:EXIT, pid, reason}, %{wait_task: {_for, %Task{pid: pid, ref: ref}}} = state) do
    Process.demonitor(ref, [:flush])
    finish(reason, %{state | wait_task: nil})
  end

  # What is linked to a Daemon ends with it, and the other way round.
  def handle_info({:EXIT, pid, reason}, state) do
    if Ready.task?(state.ready, pid), do: finish(reason, state), else: {:stop, reason, state}
  end

  def handle_info(_message, state), do: {:noreply, state}

  @impl GenServer
  def terminate(_reason, state) do
    with {_for, task} <- state.wait_task, do: Task.shutdown(task, :brutal_kill)
    _over = put_away(state)
    # A crash report shows the process dictionary.
    Log.forget_arguments()
  end

  defp put_away(state) do
    Ready.stop(state.ready)
    if state.phase in [:starting, :running], do: Ending.stop(state), else: state
  end

  # The end of a program, of whatever is left of it, or of a start: that of the Daemon as well, or not.
  defp finish(reason, state) do
    if Restart.again?(state, reason),
      do: {:noreply, state |> put_away() |> Restart.rest(reason)},
      else: {:stop, reason, state}
  end

  defp event({:started, pid}, state) do
    state = %{state | phase: :running, os_pid: pid, since_ms: State.now_ms()}
    {:noreply, %{state | ready: Ready.started(state.ready)}}
  end

  # What is taken while somebody waits for the start is logged by `Start.await/2`, or after it.
  defp event({stream, lines, bytes}, %{starting?: true} = state)
       when stream in [:stdout, :stderr],
       do: {:noreply, Flow.take(state, stream, lines, bytes)}

  # Takes what comes next without the detour by a message, as long as nobody else waits to be answered.
  defp event({stream, lines, bytes}, state) when stream in [:stdout, :stderr] do
    {acknowledged, state} = state |> Flow.take(stream, lines, bytes) |> Flow.log_only()

    with true <- Flow.idle?(state),
         {:message_queue_len, 0} <- Process.info(self(), :message_queue_len) do
      case Command.pull(state.command, acknowledged) do
        nil -> {:noreply, state}
        event -> event(event, state)
      end
    else
      _others_wait -> {:noreply, {acknowledged, state} |> Flow.acknowledge() |> Flow.log_later()}
    end
  end

  defp event(:writable, state) do
    %{command: command} = state
    input = Input.write(state.input, command.handle)
    {:noreply, %{state | input: input, stdin: Stdin.write(state.stdin, command)}}
  end

  # A GenServer takes what is thrown for its result.
  defp event({:input, {:raised, :throw, value, stacktrace}}, state),
    do: event({:input, {:raised, :error, {:nocatch, value}, stacktrace}}, state)

  defp event({:input, event}, state),
    do: {:noreply, %{state | input: Input.take(state.input, event, State.handle(state))}}

  defp event(terminal, state) when is_terminal(terminal) do
    Command.report(state.command, terminal)
    # What it has said of itself may be heard of later than its end, and was said before.
    {said, state} = Orders.take_last(state)
    # One that was ready before its end has been started, though somebody still waits for that.
    started? = state.phase == :running and state.ready == :ready
    least_life_ms = least_life_left(state)
    state = Ending.over(%{state | starting?: state.starting? and not started?})
    state = told(terminal, state)
    reason = if said == :failed, do: Orders.missed(state), else: Reason.of(terminal, state)

    # Nobody has the Daemon yet whose start has failed. One that stays needs no such care.
    if state.starting? or least_life_ms == 0 or Restart.again?(state, reason),
      do: finish(reason, state),
      else: {:noreply, %{state | timer: State.start_timer(least_life_ms, {:over, reason})}}
  end

  # The reason that the Daemon stops with says what else has happened.
  defp told({:ended, outcome}, state) do
    lived_ms = State.now_ms() - (state.since_ms || State.now_ms())
    line = Report.ended(state.options.command, outcome, lived_ms)
    {stream, tail} = Output.tail(state.output)
    Log.ended(outcome, line, Report.tail(stream, tail))
    %{state | ended: line}
  end

  defp told(_failed_or_lost, state), do: state

  defp least_life_left(%{since_ms: nil}), do: 0
  defp least_life_left(%{starting?: true}), do: @least_life_ms

  defp least_life_left(%{since_ms: since_ms}),
    do: max(since_ms + @least_life_ms - State.now_ms(), 0)

  defp busy?(pid) when node(pid) == node(),
    do: Process.info(pid, :status) in [{:status, :running}, {:status, :runnable}]

  defp busy?(_none_or_elsewhere), do: false
end
