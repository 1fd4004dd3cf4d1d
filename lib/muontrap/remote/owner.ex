# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Remote.Owner do
  @moduledoc false
  # The owner of a command whose caller is on another node, see `MuonTrap.Remote`.
  #
  # It hands events on, and orders and input to the command. It ends with the line, however that ends, and the
  # command with it, as with any owner.
  #
  # Output: as much as `:stdio_window` is on its way to the caller or here, in two halves, so that one is read while
  # the other travels. What the caller has not acknowledged is not acknowledged here, as soon as there is no room
  # for another half.

  alias MuonTrap.{Command, Handle}

  # What the two nodes say to each other. Another number where they would not understand each other.
  @protocol 2

  defstruct [
    :line,
    :monitor,
    :to,
    :ref,
    :command,
    # The most that is taken at once, and how many bytes may be on their way when it is.
    :half_bytes,
    :room_bytes,
    on_way_bytes: 0,
    # What the command is to be told of as handled, once there is room; nil: it has been.
    held_bytes: nil,
    # A queue.
    input: nil,
    input_state: :open
  ]

  @doc "The protocol of this version."
  @spec protocol() :: pos_integer()
  def protocol, do: @protocol

  @doc "The version of muontrap on this node, and its protocol."
  @spec version() :: String.t()
  def version, do: "#{Application.spec(:muontrap, :vsn) || "?"} (protocol #{@protocol})"

  @doc "Called by the line from its node. Starts an owner, which waits for what it is to run."
  @spec open(term(), pid(), reference(), reference()) :: {:ok, pid()} | {:error, String.t()}
  def open(@protocol, line, to, ref) do
    {:ok, spawn(fn -> await(line, to, ref) end)}
  end

  def open(_other, _line, _to, _ref), do: {:error, version()}

  defp await(line, to, ref) do
    # What it logs is this node's affair. Otherwise the log would go to that of the caller.
    Process.group_leader(self(), Process.whereis(:init))
    monitor = Process.monitor(line)
    owner = %__MODULE__{line: line, monitor: monitor, to: to, ref: ref, input: :queue.new()}

    receive do
      {:start, request} -> start(owner, request)
      {:DOWN, ^monitor, :process, _line, _reason} -> :ok
    end
  end

  defp start(owner, {options, stdio, more}) do
    half_bytes = max(div(options.stdio_window, 2), 1)
    room_bytes = options.stdio_window - half_bytes

    case Command.launch(%{options | stdio_window: half_bytes}, stdio, more) do
      {:ok, command} ->
        loop(%{owner | command: command, half_bytes: half_bytes, room_bytes: room_bytes})

      {:error, error} ->
        tell(owner, {:failed, error})
    end
  end

  defp loop(%{command: %{ref: ref, handle: handle}, monitor: monitor} = owner) do
    receive do
      {:muontrap, ^ref, event} ->
        event(owner, event)

      {:ack, bytes} ->
        go_on(%{owner | on_way_bytes: max(owner.on_way_bytes - bytes, 0)})

      {:write, bytes} ->
        loop(write(%{owner | input: :queue.in(bytes, owner.input)}))

      :close_stdin ->
        loop(write(%{owner | input_state: :closing}))

      {:stop, grace_ms} ->
        Handle.stop(handle, grace_ms)
        loop(owner)

      {:ask, from, question} ->
        send_on(from, {from, Handle.ask(handle, question)})
        loop(owner)

      {:DOWN, ^monitor, :process, _line, _reason} ->
        :ok
    end
  end

  defp event(owner, {stream, bytes} = event) when stream in [:stdout, :stderr],
    do: hand_on(owner, event, byte_size(bytes))

  defp event(owner, {stream, _lines, bytes} = event) when stream in [:stdout, :stderr],
    do: hand_on(owner, event, bytes)

  defp event(owner, :writable), do: loop(write(owner))

  defp event(owner, {:started, _pid} = event) do
    tell(owner, event)
    loop(owner)
  end

  defp event(owner, terminal), do: tell(owner, Command.explained(owner.command, terminal))

  defp hand_on(owner, event, bytes) do
    tell(owner, event)
    go_on(%{owner | on_way_bytes: owner.on_way_bytes + bytes, held_bytes: bytes})
  end

  # With room for another half it is taken, if there is one.
  defp go_on(%{held_bytes: held} = owner) when held == nil, do: loop(owner)

  defp go_on(%{on_way_bytes: on_way, room_bytes: room} = owner) when on_way > room,
    do: loop(owner)

  defp go_on(owner) do
    case Command.pull(owner.command, owner.held_bytes) do
      nil -> loop(%{owner | held_bytes: nil})
      event -> event(%{owner | held_bytes: nil}, event)
    end
  end

  defp write(%{input_state: :closed} = owner), do: owner

  defp write(%{input: input, command: %{handle: handle}} = owner) do
    case {:queue.out(input), owner.input_state} do
      {{:empty, _input}, :open} ->
        owner

      {{:empty, _input}, :closing} ->
        Handle.close_stdin(handle)
        %{owner | input_state: :closed}

      {{{:value, bytes}, rest}, _state} ->
        write(owner, bytes, rest, Handle.write(handle, bytes))
    end
  end

  defp write(owner, bytes, rest, {:ok, left}) do
    tell_line(owner, {:room, byte_size(bytes) - byte_size(left)})
    write(%{owner | input: if(left == "", do: rest, else: :queue.in_r(left, rest))})
  end

  defp write(owner, _bytes, _rest, {:error, :eagain}), do: owner

  defp write(owner, _bytes, _rest, {:error, _nobody_reads}) do
    tell_line(owner, :deaf)
    %{owner | input_state: :closed, input: :queue.new()}
  end

  defp tell(owner, event), do: send_on(owner.to, {:muontrap, owner.ref, event})
  defp tell_line(owner, news), do: send_on(owner.line, {:input, news})

  # A connection that is gone is not made again: the line is heard to be out of reach, and that is the end.
  defp send_on(to, message) do
    _sent? = :erlang.send(to, message, [:noconnect])
    :ok
  end
end
