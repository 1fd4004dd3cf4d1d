# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Commands do
  @moduledoc false
  # Several commands of one owner, who gets the next event of any of them.

  import MuonTrap.Command, only: [is_output: 1, is_terminal: 1]

  alias MuonTrap.{Command, Handle}

  @enforce_keys [:running, :ready, :interrupt, :yields?]
  defstruct [:running, :ready, :interrupt, :yields?]

  @typedoc """
  running: those that are not over; ready: those of them that may have an event without a message; yields?: whether
  processes of this VM wait for this one or have something for it, see `new/2`.
  """
  @type t :: %__MODULE__{
          running: %{reference() => Command.t()},
          ready: [reference()],
          interrupt: term(),
          yields?: boolean()
        }

  @type event :: {reference(), Command.event()} | :timeout | :idle_timeout | :interrupted

  @doc """
  Commands that were started, without an announcement, by the calling process.

  `yields?`: whether it is one of several that move the same bytes on. A read that finds nothing looks again some times
  before it gives up, which pays where nobody else has something to do; here the others have, on the same scheduler
  mostly.
  """
  @spec new([Command.t()], boolean()) :: t()
  def new(commands, yields? \\ false) do
    interrupt = Enum.find_value(commands, & &1.interrupt)
    running = Map.new(commands, &{&1.ref, &1})
    ready = Map.keys(running)
    %__MODULE__{running: running, ready: ready, interrupt: interrupt, yields?: yields?}
  end

  @doc """
  Handles the event before and waits for the next, as `Command.next/3` does. After a terminal event of a command nothing
  of it is in the mailbox.
  """
  @spec next(t(), integer() | :infinity, integer() | :infinity) :: {event(), t()}
  def next(commands, deadline, idle_at) do
    cond do
      passed?(deadline) and not any?(commands, &Handle.news?/1) -> {:timeout, commands}
      silent?(commands, idle_at) -> idle(commands)
      true -> take(commands, deadline, idle_at)
    end
  end

  defp silent?(commands, idle_at),
    do: passed?(idle_at) and not any?(commands, &(not Handle.silent?(&1)))

  defp any?(commands, fun),
    do: Enum.any?(commands.running, fn {_ref, %{handle: handle}} -> fun.(handle) end)

  # What was written before may have become a message by now.
  defp idle(%{running: running} = commands) do
    receive do
      {:muontrap, ref, event}
      when is_map_key(running, ref) and (is_output(event) or is_terminal(event)) ->
        take_message(commands, ref, event)
    after
      0 -> {:idle_timeout, commands}
    end
  end

  defp take(%{ready: [ref | later]} = commands, deadline, idle_at) do
    command = Map.fetch!(commands.running, ref)

    case pull(command, commands.yields?) do
      nil ->
        running = %{commands.running | ref => %{command | unacknowledged: 0}}
        take(%{commands | running: running, ready: later}, deadline, idle_at)

      event ->
        # Behind the others, so that each has its turn.
        {{ref, event}, took(%{commands | ready: later ++ [ref]}, ref, event)}
    end
  end

  defp take(%{running: running, interrupt: interrupt} = commands, deadline, idle_at) do
    receive do
      {:muontrap, ref, event} when is_map_key(running, ref) ->
        take_message(commands, ref, event)

      ^interrupt when interrupt != nil ->
        # Whoever pulls this process's enumerable has to hear of it as well.
        send(self(), interrupt)
        {:interrupted, commands}
    after
      # At least that, where something is on its way that counts although the time has passed.
      deadline |> min(idle_at) |> left() |> max(1) -> next(commands, deadline, idle_at)
    end
  end

  defp pull(%{handle: handle, unacknowledged: bytes} = command, yields?) do
    if yields? and Handle.silent?(handle) do
      Handle.ack(handle, bytes)
      nil
    else
      Command.pull(command, bytes)
    end
  end

  defp take_message(commands, ref, event) do
    ready = if is_output(event), do: commands.ready ++ [ref], else: commands.ready
    {{ref, event}, took(%{commands | ready: Enum.uniq(ready)}, ref, event)}
  end

  defp took(commands, ref, event) when is_terminal(event) do
    running = Map.delete(commands.running, ref)
    %{commands | running: running, ready: List.delete(commands.ready, ref)}
  end

  defp took(commands, ref, event),
    do: %{commands | running: Map.update!(commands.running, ref, &Command.took(&1, event))}

  defp passed?(:infinity), do: false
  defp passed?(moment), do: left(moment) == 0

  defp left(:infinity), do: :infinity
  defp left(moment), do: max(moment - System.monotonic_time(:millisecond), 0)

  @doc "Asks all of them to stop."
  @spec stop(t() | [Command.t()]) :: :ok
  def stop(%__MODULE__{running: running}), do: running |> Map.values() |> stop()
  def stop(commands), do: Enum.each(commands, &Command.stop/1)

  @doc "Stops all of them and waits until nothing of any is left; what they still write is dropped."
  @spec abort(t() | [Command.t()]) :: :ok
  def abort(%__MODULE__{running: running}), do: running |> Map.values() |> abort()

  def abort(commands) do
    # All at once, so that it takes one grace.
    stop(commands)

    for command <- commands do
      Command.abort(command)
      Handle.release(command.handle)
    end

    :ok
  end
end
