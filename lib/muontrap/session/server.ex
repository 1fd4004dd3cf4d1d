# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Server do
  @moduledoc false
  # The process of a session: owner of its command, for the process that the session belongs to.
  #
  # The native part ends the tree when this process ends; this one ends it when its owner does, whom it watches before
  # anything is started. So there is no moment at which either death leaves something. Once the program runs it never
  # waits for that or for a caller: it would not hear of its owner.
  #
  # Output is taken only if somebody wants it, by `settle/1`. What is here and not yet handed out was not
  # acknowledged, unless more of it was asked for.

  use GenServer

  alias MuonTrap.{Call, Command, Handle}

  alias MuonTrap.Session.{
    Active,
    Bytes,
    Delivery,
    Limits,
    Lines,
    Secrets,
    Start,
    Waiting,
    Writers
  }

  import MuonTrap.Command, only: [is_output: 1, is_terminal: 1]

  # owner, reader: the process that the session belongs to, the last one that has read, each with a monitor
  # unacknowledged: bytes of the last piece of output
  # announced?: whether a message will tell of more output; fresh?: whether a reader may be answered now that could
  # not be before
  # readers: in the order in which they came
  # awaiting: those that want to know how it ended
  # asked: those that wait for an answer of another node, by its reference
  # stopping?: whether what is not handed out yet is of no more use
  # outcome: the result or the error that is handed out at the end
  @enforce_keys [
    :session,
    :options,
    :owner,
    :command,
    :os_pid,
    :writers,
    :buffer,
    :active,
    :limits
  ]
  defstruct @enforce_keys ++
              [
                unacknowledged: 0,
                announced?: true,
                fresh?: false,
                reader: nil,
                readers: [],
                awaiting: [],
                asked: %{},
                stopping?: false,
                outcome: nil
              ]

  @impl GenServer
  def init({options, owner}) do
    monitor = Process.monitor(owner)
    limits = Limits.new(options)

    case Start.start(options) do
      {:ok, command, os_pid} ->
        limits = Limits.run(limits, command)
        state = running(options, {owner, monitor}, command, os_pid, limits)
        {:ok, %{state | limits: Limits.wanted(limits, Delivery.wants_more?(state))}}

      {:error, error} ->
        # A reason of this form gives no crash report.
        {:stop, {:shutdown, error}}
    end
  end

  defp running(options, owner, command, os_pid, limits) do
    main = if options.capture_stderr_only, do: :stderr, else: :stdout
    buffer = if options.lines, do: Lines, else: Bytes

    %__MODULE__{
      session: %MuonTrap.Session{pid: self()},
      # Nothing that must not show in a crash report.
      options: Map.take(options, [:max_buffer]),
      owner: owner,
      command: command,
      os_pid: os_pid,
      writers: Writers.new(options.stdin),
      buffer: buffer.new(options.capture_stderr, main),
      active: options.stdio_window |> Active.new() |> Active.set(options.active),
      limits: limits
    }
  end

  # Since OTP 25; an older one shows what is hidden here.
  if {:format_status, 1} in GenServer.behaviour_info(:callbacks), do: @impl(GenServer)
  def format_status(status), do: Secrets.hide(status)

  @impl GenServer
  def handle_call(:os_pid, _from, state), do: {:reply, {:ok, state.os_pid}, state}

  def handle_call({what, _value} = question, from, state) when what in [:signal, :resize] do
    case Handle.ask(state.command.handle, question) do
      {:asked, ref} -> {:noreply, %{state | asked: Map.put(state.asked, ref, from)}}
      answer -> {:reply, answer, state}
    end
  end

  def handle_call({:write, bytes, timeout_ms}, from, state) do
    if Writers.open?(state.writers) do
      writer = Waiting.new(from, bytes, timeout_ms)
      settle(%{state | writers: Writers.put(state.writers, writer, state.command)})
    else
      {:reply, {:error, :closed}, state}
    end
  end

  # After what others write.
  def handle_call(:close_stdin, from, state) do
    GenServer.reply(from, :ok)
    settle(%{state | writers: Writers.close(state.writers, state.command)})
  end

  def handle_call({:read, _request, _timeout_ms}, _from, %{stopping?: true} = state),
    do: {:reply, {:error, :closed}, state}

  def handle_call({:read, request, timeout_ms}, from, state) do
    if Active.wanted?(state.active) do
      {:reply, {:error, :active}, state}
    else
      reader = Waiting.new(from, request, timeout_ms)
      state = read_by(state, Waiting.pid(reader))
      settle(%{state | readers: state.readers ++ [reader], fresh?: true})
    end
  end

  def handle_call({:set_active, mode}, from, state) do
    GenServer.reply(from, :ok)
    settle(%{state | active: Active.set(state.active, mode)})
  end

  def handle_call({:controlling_process, new}, {owner, _tag} = from, %{owner: {owner, _}} = state) do
    {_owner, monitor} = state.owner
    new_monitor = Process.monitor(new)
    Process.demonitor(monitor, [:flush])
    GenServer.reply(from, :ok)
    settle(%{state | owner: {new, new_monitor}, active: Active.hand_over(state.active)})
  end

  def handle_call({:controlling_process, _new}, _from, state),
    do: {:reply, {:error, :not_owner}, state}

  def handle_call({:await, timeout_ms}, from, state),
    do: settle(%{state | awaiting: state.awaiting ++ [Waiting.new(from, :await, timeout_ms)]})

  def handle_call({:stop, grace_ms}, from, state) do
    state = %{state | awaiting: state.awaiting ++ [Waiting.new(from, :stop, :infinity)]}
    settle(stop(state, grace_ms || state.command.grace_ms))
  end

  @impl GenServer
  def handle_info({:muontrap, ref, event}, %{command: %{ref: ref}} = state),
    do: event(event, %{state | announced?: state.announced? and event == :writable})

  def handle_info({:handled, count}, state),
    do: settle(%{state | active: Active.handled(state.active, count)})

  # Whoever owned it before may be gone by the time that it is somebody else's.
  def handle_info({:DOWN, monitor, :process, _pid, _reason}, %{owner: {_, monitor}} = state),
    do: settle(stop(%{state | owner: nil}, state.command.grace_ms))

  def handle_info({:DOWN, monitor, :process, _pid, _reason}, %{reader: {_, monitor}} = state),
    do: settle(%{state | reader: nil})

  # With the owner of a command on another node.
  def handle_info({:DOWN, ref, :process, _pid, _reason}, %{asked: asked} = state)
      when is_map_key(asked, ref),
      do: {:noreply, answer(state, ref, {:error, :esrch})}

  def handle_info({:DOWN, monitor, :process, _pid, _reason}, state),
    do: settle(give_up(state, monitor, :died))

  def handle_info({:timeout, timer, :over}, %{limits: %{timer: timer}} = state) do
    # What is known of the end by then, the owner has not asked for yet.
    if state.outcome == nil and not Handle.news?(state.command.handle),
      do: reached(state, :timeout),
      else: {:noreply, state}
  end

  def handle_info({:timeout, timer, :idle}, %{limits: %{idle_timer: timer}} = state) do
    {idle?, limits} = Limits.idle?(state.limits)
    state = %{state | limits: limits}

    cond do
      not idle? -> {:noreply, state}
      Handle.silent?(state.command.handle) -> idle(state)
      true -> {:noreply, %{state | limits: Limits.look_again(limits)}}
    end
  end

  def handle_info({:timeout, timer, :waiting}, state),
    do: settle(give_up(state, timer, :timeout))

  def handle_info({ref, answer}, %{asked: asked} = state) when is_map_key(asked, ref),
    do: {:noreply, answer(state, ref, answer)}

  def handle_info(_message, state), do: {:noreply, state}

  # What was written before counts, though it may be a message by now.
  defp idle(%{command: %{ref: ref}} = state) do
    receive do
      {:muontrap, ^ref, event} when is_output(event) or is_terminal(event) ->
        event(event, %{state | announced?: false})
    after
      0 -> reached(state, :idle_timeout)
    end
  end

  defp reached(state, bound), do: settle(%{state | limits: Limits.reached(state.limits, bound)})

  defp answer(state, ref, answer) do
    {from, asked} = Map.pop!(state.asked, ref)
    GenServer.reply(from, answer)
    %{state | asked: asked}
  end

  # A call that is not waited for any more, for its time is over or its process has died.
  defp give_up(state, ref, why) do
    cond do
      found = Waiting.pop(state.readers, ref) ->
        %{state | readers: given_up(found, why), fresh?: true}

      found = Waiting.pop(state.awaiting, ref) ->
        %{state | awaiting: given_up(found, why)}

      true ->
        %{state | writers: Writers.give_up(state.writers, ref, why, state.command)}
    end
  end

  defp given_up({waiting, others}, why) do
    if why == :timeout, do: Waiting.reply(waiting, {:error, :timeout})
    others
  end

  defp read_by(%{reader: {pid, _monitor}} = state, pid), do: state

  defp read_by(state, pid) do
    with {_pid, monitor} <- state.reader, do: Process.demonitor(monitor, [:flush])
    %{state | reader: {pid, Process.monitor(pid)}}
  end

  defp stop(state, grace_ms) do
    if state.outcome == nil, do: Handle.stop(state.command.handle, grace_ms)
    for reader <- state.readers, do: Waiting.reply(reader, {:error, :closed})
    %{state | readers: [], writers: Writers.refuse(state.writers), stopping?: true}
  end

  defp event({stream, bytes}, state) when stream in [:stdout, :stderr],
    do: output(state, stream, bytes, byte_size(bytes))

  defp event({stream, lines, size}, state) when stream in [:stdout, :stderr],
    do: output(state, stream, lines, size)

  defp event(:writable, state),
    do: settle(%{state | writers: Writers.write(state.writers, state.command)})

  defp event(terminal, state) when is_terminal(terminal) do
    Handle.close(state.command.handle)
    Command.report(state.command, terminal)

    outcome =
      with {:ok, outcome} <- Call.conclude(state.command, terminal),
           do: {:ok, Call.result(state.command, outcome, state.limits.bounds, nil, nil)}

    settle(%{state | outcome: outcome, writers: Writers.refuse(state.writers), fresh?: true})
  end

  defp output(state, stream, content, size) do
    {kept, limits} = Limits.keep(state.limits, content, size)
    state = %{state | limits: limits, unacknowledged: state.unacknowledged + size}
    settle(put(state, stream, kept))
  end

  # All of it was beyond a bound.
  defp put(state, _stream, nothing) when nothing in ["", []], do: state

  defp put(%{buffer: %kind{} = buffer} = state, stream, content),
    do: %{state | buffer: kind.put(buffer, stream, content), fresh?: true}

  # Hands out what there is to those who want it, and asks for more if somebody wants that.
  defp settle(state) do
    state = Delivery.hand_out(state)
    wanted? = state.outcome == nil and Delivery.wants_more?(state)
    # A program that is being stopped has its grace, and no other time.
    state = %{state | limits: Limits.wanted(state.limits, wanted? and not state.stopping?)}

    cond do
      state.outcome -> finish(state)
      wanted? -> more(state)
      true -> {:noreply, state}
    end
  end

  defp more(%{announced?: true} = state), do: {:noreply, state}

  # Without the detour by a message, as long as nobody else waits to be heard.
  defp more(%{command: command, unacknowledged: bytes} = state) do
    state = %{state | unacknowledged: 0}

    with {:message_queue_len, 0} <- Process.info(self(), :message_queue_len),
         event when event != nil <- Command.pull(command, bytes) do
      event(event, state)
    else
      {:message_queue_len, _others} ->
        Handle.ack(command.handle, bytes)
        {:noreply, %{state | announced?: true}}

      nil ->
        {:noreply, %{state | announced?: true}}
    end
  end

  defp finish(%{buffer: %kind{} = buffer} = state) do
    asked? = state.awaiting != [] or state.stopping? or Active.wanted?(state.active)
    if asked? and kind.size(buffer) == 0, do: hand_out(state), else: {:noreply, state}
  end

  # To each process once, in one way.
  defp hand_out(%{awaiting: awaiting, outcome: outcome} = state) do
    for waiting <- awaiting, do: Waiting.reply(waiting, outcome)
    told = Enum.map(awaiting, &Waiting.pid/1)

    with {owner, _monitor} <- state.owner,
         true <- Active.on?(state.active) and owner not in told,
         do: Delivery.tell(state, last_event(outcome))

    {:stop, :normal, state}
  end

  defp last_event({:ok, result}), do: {:exit, result}
  defp last_event({:error, _error} = error), do: error
end
