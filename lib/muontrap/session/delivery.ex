# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Delivery do
  @moduledoc false
  # Who gets what there is of the output of a session, and whether somebody wants more: those that read, then the
  # owner as events, or nobody. A state is that of `MuonTrap.Session.Server`.

  alias MuonTrap.Session.{Active, Limits, Waiting, Writers}

  @doc "Hands out what there is to those who want it."
  @spec hand_out(map()) :: map()
  def hand_out(state), do: state |> serve() |> send_events() |> drop()

  # Output that was looked at in vain is not looked at again before there is more.
  defp serve(%{fresh?: false} = state), do: state
  defp serve(%{readers: []} = state), do: %{state | fresh?: false}

  defp serve(%{buffer: %kind{} = buffer, readers: [reader | others]} = state) do
    case kind.take(buffer, reader.request, state.outcome != nil) do
      :more ->
        if kind.size(buffer) < kind.limit(reader.request, state.options.max_buffer) do
          %{state | fresh?: false}
        else
          Waiting.reply(reader, {:error, :full})
          serve(%{state | readers: others})
        end

      {answer, buffer} ->
        Waiting.reply(reader, answer(answer, state.outcome))
        serve(%{state | buffer: buffer, readers: others})
    end
  end

  # Nobody knows whether that was all of it.
  defp answer(:eof, {:error, error}), do: {:error, error}
  defp answer(answer, _outcome), do: answer

  # Those that read come first.
  defp send_events(%{readers: [], owner: {_pid, _monitor}, buffer: %kind{}} = state) do
    case kind.event(state.buffer, Active.room(state.active)) do
      nil ->
        state

      {event, size, buffer} ->
        tell(state, event)
        {what, active} = Active.sent(state.active, size)
        if what == :told, do: tell(state, :passive)
        send_events(%{state | buffer: buffer, active: active})
    end
  end

  defp send_events(state), do: state

  @doc "Sends the owner an event."
  @spec tell(map(), term()) :: term()
  def tell(%{owner: {pid, _monitor}, session: session}, event),
    do: send(pid, {:muontrap, session, event})

  defp drop(%{buffer: %kind{} = buffer} = state),
    do: if(dropping?(state), do: %{state | buffer: kind.clear(buffer)}, else: state)

  defp dropping?(state), do: state.stopping? or Enum.any?(state.awaiting, &alone?(state, &1))

  # Nobody but the one that waits for the end would take what is still to come.
  defp alone?(state, waiting) do
    pid = Waiting.pid(waiting)

    if Active.on?(state.active),
      do: match?({^pid, _monitor}, state.owner),
      else: state.readers == [] and match?({^pid, _monitor}, state.reader || {pid, nil})
  end

  @doc "Whether more is to be taken from the program."
  @spec wants_more?(map()) :: boolean()
  def wants_more?(%{buffer: %kind{} = buffer} = state) do
    state.readers != [] or Active.room(state.active) > 0 or dropping?(state) or
      Limits.full?(state.limits) or
      (Writers.waiting?(state.writers) and kind.size(buffer) < state.options.max_buffer)
  end
end
