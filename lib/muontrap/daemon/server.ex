# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Server do
  @moduledoc false
  # The process of a `MuonTrap.Daemon`: owner of its command from the start of the program to the end of its tree.
  #
  # Three times it waits by itself: in init/1 for the program to run and become ready, in between as a GenServer,
  # and in terminate/2 for the end. Each piece of output is acknowledged once its lines were handed to the logger,
  # by `log/1`, or by the `Command.pull/2` that asks for the next one.

  use GenServer

  alias MuonTrap.{Command, Error, Input, Nif, Stdin}
  alias MuonTrap.Daemon.{Launch, Log, Notify, Output, Ready, Reason, Statistics}

  import MuonTrap.Command, only: [is_terminal: 1]

  @margin_ms Launch.margin_ms()
  # How long a Daemon is there at the least: whoever has started a program that ends at once gets answers for a
  # moment. For longer, but not for ever, while the starter has something to do and has not come to asking.
  @least_life_ms 10
  @least_life_of_asked_ms 200
  # How much longer than its grace a program may ask to stop for; a supervisor waits that long.
  @extension_ms 9_000

  # options: without what must not show in a crash report.
  # phase: :waiting for wait_for, :starting, :running, :over
  # os_pid: of the program, also when it has ended
  # since_ms: when it ran first
  # starting?: whether start_link/3 waits for init/1
  # logging?: whether a message tells to go on logging
  defstruct [
    :options,
    :output,
    :stdin,
    :input,
    :command,
    :wait_task,
    :timer,
    :watchdog,
    :notify,
    :os_pid,
    :since_ms,
    ready: :ready,
    phase: :waiting,
    starting?: false,
    logging?: false
  ]

  @impl GenServer
  def init(options) do
    Process.flag(:trap_exit, true)
    Log.put_metadata(options)

    state = %__MODULE__{
      options: options,
      output: Output.new(options),
      stdin: Stdin.new(options.stdin)
    }

    if options.wait_for do
      {:ok, state, {:continue, :wait_for}}
    else
      since_ms = now_ms()

      with :ok <- Launch.await_room(options, Launch.parent()),
           {:ok, state} <- launch(%{state | starting?: true}, since_ms),
           {:ok, state} <- await(state) do
        {:ok, log_later(%{state | starting?: false})}
      else
        {:error, error} -> {:stop, {:shutdown, error}}
        {:stop, %Error{} = error, state} -> fail_init({:shutdown, error}, state)
        {:stop, reason, state} -> fail_init(reason, state)
      end
    end
  end

  # terminate/2 is not called then.
  defp fail_init(reason, state) do
    terminate(reason, state)
    {:stop, reason}
  end

  @impl GenServer
  def handle_continue(:wait_for, %{options: options} = state) do
    task =
      Task.async(fn ->
        _ = options.wait_for.()
        since_ms = now_ms()
        {Launch.await_room(options, nil), since_ms}
      end)

    {:noreply, %{state | wait_task: task}}
  end

  # Output and input are the program's affair and may be secret. Since OTP 25; an older one shows them.
  if {:format_status, 1} in GenServer.behaviour_info(:callbacks), do: @impl(GenServer)

  def format_status(status) do
    hidden = %{output: :hidden, input: :hidden, stdin: :hidden}
    hide = fn %__MODULE__{} = state -> Map.merge(state, hidden) end

    status
    |> Map.replace_lazy(:state, hide)
    |> Map.replace_lazy(:message, &hide_message/1)
    |> Map.replace(:log, [])
  end

  defp hide_message({:muontrap, ref, {kind, _content}}), do: {:muontrap, ref, {kind, :hidden}}

  defp hide_message({:muontrap, ref, {kind, _lines, bytes}}),
    do: {:muontrap, ref, {kind, :hidden, bytes}}

  defp hide_message({:"$gen_call", from, {:write, _bytes}}),
    do: {:"$gen_call", from, {:write, :hidden}}

  defp hide_message(message), do: message

  @impl GenServer
  def handle_call(:os_pid, _from, state), do: {:reply, state.os_pid || :error, state}

  def handle_call(:info, _from, state),
    do: {:reply, {info(state), state.command && state.command.cgroup}, state}

  def handle_call({:signal, _number}, _from, %{command: nil} = state),
    do: {:reply, {:error, :esrch}, state}

  def handle_call({:signal, number}, _from, state),
    do: {:reply, Nif.signal(state.command.handle, number), state}

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

  def handle_info({ref, {free, since_ms}}, %{wait_task: %Task{ref: ref}} = state) do
    Process.demonitor(ref, [:flush])
    state = %{state | wait_task: nil}

    with :ok <- free, {:ok, state} <- launch(state, since_ms) do
      {:noreply, state}
    else
      {:error, error} -> {:stop, error, state}
    end
  end

  # Without a result, as after exit(:normal).
  def handle_info({:DOWN, ref, _type, _pid, reason}, %{wait_task: %Task{ref: ref}} = state),
    do: {:stop, reason, state}

  def handle_info({ref, _result}, state) when is_reference(ref),
    do: {:noreply, ready(state, Ready.returned(state.ready, ref))}

  def handle_info({:udp, _socket, _address, _port, _data} = message, state) do
    case notified(message, state) do
      {:ok, state} -> {:noreply, state}
      {:failed, state} -> {:stop, missed(state), state}
    end
  end

  def handle_info({:timeout, timer, :start_timeout}, %{timer: timer} = state),
    do: {:stop, %Error{step: :start_timeout, subject: subject(state), reason: :timeout}, state}

  def handle_info({:timeout, timer, {:over, reason}}, %{timer: timer} = state) do
    if now_ms() < state.since_ms + @least_life_of_asked_ms and busy?(Launch.parent()),
      do: {:noreply, %{state | timer: start_timer(@least_life_ms, {:over, reason})}},
      else: {:stop, reason, state}
  end

  def handle_info({:timeout, timer, :watchdog}, %{watchdog: timer} = state),
    do: {:stop, missed(state), state}

  def handle_info(:log, state), do: {:noreply, log(%{state | logging?: false})}

  def handle_info({:EXIT, _pid, :normal}, state), do: {:noreply, state}
  # What is linked to a Daemon ends with it, and the other way round.
  def handle_info({:EXIT, _pid, reason}, state), do: {:stop, reason, state}
  def handle_info(_message, state), do: {:noreply, state}

  @impl GenServer
  def terminate(_reason, state) do
    if state.wait_task, do: Task.shutdown(state.wait_task, :brutal_kill)
    Ready.stop(state.ready)
    if state.phase in [:starting, :running], do: stop(state)
    :ok
  end

  # The time to become ready counts from when nothing but the program was to be waited for.
  defp launch(%{options: options} = state, since_ms) do
    with {:ok, ready} <- Ready.new(options),
         {:ok, command} <- Launch.start(options, ready) do
      input = options.input |> Input.new(command) |> Input.write(command.handle)
      stdin = Stdin.write(state.stdin, command)
      state = %{state | command: command, phase: :starting, input: input, stdin: stdin}
      state = %{state | notify: if(options.ready == :notify, do: %Notify{})}

      timer =
        if ready != :ready, do: start_timer(left(options.start_timeout, since_ms), :start_timeout)

      options = Map.drop(options, [:env, :input])
      {:ok, %{state | options: options, ready: ready, timer: timer}}
    end
  end

  defp left(:infinity, _since_ms), do: :infinity
  defp left(timeout_ms, since_ms), do: max(timeout_ms - (now_ms() - since_ms), 0)

  defp start_timer(unlimited, _about) when unlimited in [nil, :infinity], do: nil
  defp start_timer(timeout_ms, about), do: :erlang.start_timer(timeout_ms, self(), about)

  defp restart_timer(timer, timeout_ms, about) do
    _left = timer && :erlang.cancel_timer(timer)
    start_timer(timeout_ms, about)
  end

  # Until the program runs, and is ready if that was asked for. Calls stay in the mailbox until init/1 has
  # returned. No output comes before the program runs, so the start waits for nothing but the start; after that
  # output is handled here only as long as somebody waits for the program to become ready, and logged only when
  # nothing else is to be heard.
  defp await(%{phase: :running, ready: :ready} = state), do: {:ok, state}

  defp await(%{command: %{ref: ref}} = state) do
    case news(ref, if(Output.idle?(state.output), do: :infinity, else: 0)) do
      nil -> state |> log_slice() |> acknowledge() |> await()
      message -> with {:noreply, state} <- handle_info(message, state), do: await(state)
    end
  end

  defp news(ref, patience) do
    receive do
      {:muontrap, ^ref, _event} = message ->
        message

      {:EXIT, pid, reason} ->
        {:EXIT, pid, if(pid == Launch.parent(), do: {:shutdown, reason}, else: reason)}

      {:udp, _socket, _address, _port, _data} = message ->
        message

      {:timeout, _timer, about} = message when about in [:start_timeout, :watchdog] ->
        message

      {task_ref, _result} = message when is_reference(task_ref) ->
        message
    after
      patience -> nil
    end
  end

  defp event({:started, pid}, state) do
    state = %{state | phase: :running, os_pid: pid, since_ms: now_ms()}
    {:noreply, %{state | ready: Ready.started(state.ready)}}
  end

  # What is taken while somebody waits for the start is logged by `await/1`, or after it.
  defp event({stream, lines, bytes}, %{starting?: true} = state)
       when stream in [:stdout, :stderr],
       do: {:noreply, take(state, stream, lines, bytes)}

  # Takes what comes next without the detour by a message, as long as nobody else waits to be answered.
  defp event({stream, lines, bytes}, state) when stream in [:stdout, :stderr] do
    {acknowledged, state} = state |> take(stream, lines, bytes) |> log_slice()

    with true <- Output.idle?(state.output),
         {:message_queue_len, 0} <- Process.info(self(), :message_queue_len) do
      case Command.pull(state.command, acknowledged) do
        nil -> {:noreply, state}
        event -> event(event, state)
      end
    else
      _others_wait -> {:noreply, log_later(acknowledge({acknowledged, state}))}
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
    do: {:noreply, %{state | input: Input.take(state.input, event, handle(state))}}

  defp event(terminal, state) when is_terminal(terminal) do
    Command.report(state.command, terminal)
    state = over(state)
    Log.ended(state.output.log, terminal)
    reason = Reason.of(terminal, state.ready == :ready, state.options, state.command)

    case least_life_left(state) do
      0 -> {:stop, reason, state}
      left_ms -> {:noreply, %{state | timer: start_timer(left_ms, {:over, reason})}}
    end
  end

  # Nobody has the Daemon yet whose start is not over, or has failed.
  defp least_life_left(%{starting?: starting?, since_ms: since_ms})
       when starting? or since_ms == nil,
       do: 0

  defp least_life_left(%{since_ms: since_ms}),
    do: max(since_ms + @least_life_ms - now_ms(), 0)

  # Who waits for these lines hears of them before a logger does, which may be slow.
  defp take(state, stream, lines, bytes) do
    output = Output.take(state.output, stream, lines, bytes)
    ready(%{state | output: output}, Ready.lines(state.ready, lines))
  end

  defp log(state), do: state |> log_slice() |> acknowledge() |> log_later()

  defp log_slice(state, how_long \\ :slice) do
    {acknowledged, output} = Output.log(state.output, how_long)
    {acknowledged, %{state | output: output}}
  end

  defp acknowledge({0, state}), do: state

  defp acknowledge({bytes, state}) do
    Nif.ack(state.command.handle, bytes)
    state
  end

  # What is left is logged once others had their turn.
  defp log_later(%{logging?: logging?} = state) do
    if logging? or Output.idle?(state.output) do
      state
    else
      send(self(), :log)
      %{state | logging?: true}
    end
  end

  defp over(state) do
    Input.close(state.input)
    state = state |> log_slice(:all) |> acknowledge()
    for timer <- [state.timer, state.watchdog], timer, do: :erlang.cancel_timer(timer)
    %{state | phase: :over, input: nil, timer: nil, watchdog: nil}
  end

  # The program has told something of itself. The socket is read until the program has ended: programs go on to
  # report their state, and some wait until that was read.
  defp notified({:udp, socket, _address, _port, data}, state) do
    {notify, orders} = Notify.take(state.notify || %Notify{}, data)
    state = Enum.reduce(orders, %{state | notify: notify}, &obey/2)
    # Now, so that what a program waits for with a barrier has been handled.
    _ = :inet.setopts(socket, active: :once)
    {if(:failed in orders, do: :failed, else: :ok), state}
  end

  defp obey(:ready, state), do: ready(state, Ready.notified(state.ready))

  defp obey(:alive, %{watchdog: timer} = state) when timer != nil, do: restart_watchdog(state)

  defp obey({:watchdog_ms, timeout_ms}, %{options: options} = state),
    do: restart_watchdog(%{state | options: %{options | watchdog: timeout_ms}})

  # As systemd has it: what stops is not watched any more.
  defp obey(:stopping, state) do
    _left = state.watchdog && :erlang.cancel_timer(state.watchdog)
    %{state | watchdog: nil}
  end

  defp obey({:extend_ms, more_ms}, %{timer: timer} = state) when timer != nil do
    left_ms = :erlang.read_timer(timer) || 0
    %{state | timer: restart_timer(timer, max(left_ms, more_ms), :start_timeout)}
  end

  defp obey(_order, state), do: state

  # Not before the program is ready, nor once it stops.
  defp restart_watchdog(%{ready: :ready, notify: %{stopping: nil}} = state) do
    timer = restart_timer(state.watchdog, state.options.watchdog, :watchdog)
    %{state | watchdog: timer}
  end

  defp restart_watchdog(state), do: state

  defp missed(state), do: %Error{step: :watchdog, subject: subject(state), reason: :timeout}

  defp ready(%{ready: before} = state, :ready) when before != :ready do
    _left = state.timer && :erlang.cancel_timer(state.timer)
    watchdog = start_timer(state.options.watchdog, :watchdog)
    %{state | timer: nil, ready: :ready, watchdog: watchdog}
  end

  defp ready(state, ready), do: %{state | ready: ready}

  defp busy?(pid) when node(pid) == node(),
    do: Process.info(pid, :status) in [{:status, :running}, {:status, :runnable}]

  defp busy?(_none_or_elsewhere), do: false

  # What the program says while it stops is logged as well.
  defp stop(%{command: command, notify: notify} = state) do
    # A second order to stop can only shorten the grace, so a program that may ask for more gets it at first.
    more_ms = if notify, do: @extension_ms, else: 0
    Nif.stop(command.handle, command.grace_ms + more_ms)
    drain(state, now_ms() + command.grace_ms + if(notify, do: 0, else: @margin_ms))
  catch
    kind, reason ->
      Command.abort(command)
      :erlang.raise(kind, reason, __STACKTRACE__)
  end

  # A program that keeps talking gets no more time by that. What it wrote is logged to its end, as long as that
  # takes: a supervisor that does not want to wait kills the Daemon.
  defp drain(state, deadline) do
    if state.notify && now_ms() >= deadline, do: overdue(state), else: hear_end(state, deadline)
  end

  defp hear_end(%{command: %{ref: ref} = command} = state, deadline) do
    idle? = Output.idle?(state.output)
    patience_ms = if idle?, do: max(deadline - now_ms(), 0), else: 0

    receive do
      {:muontrap, ^ref, {stream, lines, bytes}} when stream in [:stdout, :stderr] ->
        drain(take(state, stream, lines, bytes), deadline)

      {:muontrap, ^ref, terminal} when is_terminal(terminal) ->
        Command.report(command, terminal)
        over(state)

      {:muontrap, ^ref, _started_or_about_input} ->
        drain(state, deadline)

      {:udp, _socket, _address, _port, data} = message ->
        {_alive, state} = notified(message, state)
        drain(state, extended(deadline, data))
    after
      patience_ms ->
        if idle?,
          do: overdue(state),
          else: state |> log_slice() |> acknowledge() |> drain(deadline)
    end
  end

  # The grace of a program that may have asked for more is over.
  defp overdue(%{command: command, notify: notify} = state) when notify != nil do
    Nif.stop(command.handle, 0)
    drain(%{state | notify: nil}, now_ms() + @margin_ms)
  end

  # Only after a crash between an event and its acknowledgement.
  defp overdue(state), do: Command.abort(state.command)

  defp extended(deadline, data) do
    {_known, orders} = Notify.take(%Notify{}, data)
    Enum.max([deadline | for({:extend_ms, more_ms} <- orders, do: now_ms() + more_ms)])
  end

  defp now_ms, do: System.monotonic_time(:millisecond)

  defp info(state), do: Statistics.info(state.command, state.options, state.notify)
  defp subject(state), do: state.options.command
  defp handle(state), do: state.command && state.command.handle
end
