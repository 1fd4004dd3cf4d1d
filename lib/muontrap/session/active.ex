# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Active do
  @moduledoc false
  # What the owner of a session may be sent, unasked: the arithmetic of `MuonTrap.Session.set_active/2`.

  @enforce_keys [:window]
  defstruct [:window, mode: false, unhandled: :queue.new(), bytes: 0]

  # mode: how many events are left, whether the last of them is told, or `:spent` when they are used up
  # unhandled: the sizes of events that the owner has not acknowledged, and their sum; with `true` alone
  @type t :: %__MODULE__{
          window: pos_integer(),
          mode: false | true | :spent | {pos_integer(), tell? :: boolean()},
          unhandled: :queue.queue(non_neg_integer()),
          bytes: non_neg_integer()
        }

  @doc "No event is wanted. `window`: how many bytes the owner may have unhandled."
  @spec new(pos_integer()) :: t()
  def new(window), do: %__MODULE__{window: window}

  @doc "What the owner wants from here on."
  @spec set(t(), MuonTrap.Session.active()) :: t()
  def set(active, mode), do: %__MODULE__{window: active.window, mode: mode(mode)}

  defp mode(:once), do: {1, false}
  defp mode(count) when is_integer(count), do: {count, true}
  defp mode(boolean), do: boolean

  @doc "Whether the owner is one that is told by events, now or later."
  @spec on?(t()) :: boolean()
  def on?(%{mode: mode}), do: mode != false

  @doc "Whether an event is wanted now that holds no output."
  @spec wanted?(t()) :: boolean()
  def wanted?(%{mode: mode}), do: mode not in [false, :spent]

  @doc "How many bytes an event may have now; 0 if none is wanted."
  @spec room(t()) :: non_neg_integer()
  def room(%{mode: mode}) when mode in [false, :spent], do: 0
  def room(%{mode: true, window: window, bytes: bytes}), do: max(window - bytes, 0)
  def room(%{window: window}), do: window

  @doc "An event of this size is sent. Also returned is whether the owner is told that it was the last."
  @spec sent(t(), non_neg_integer()) :: {:go_on | :told, t()}
  def sent(%{mode: true} = active, bytes) do
    unhandled = :queue.in(bytes, active.unhandled)
    {:go_on, %{active | unhandled: unhandled, bytes: active.bytes + bytes}}
  end

  def sent(%{mode: {1, tell?}} = active, _bytes),
    do: {if(tell?, do: :told, else: :go_on), %{active | mode: :spent}}

  def sent(%{mode: {count, tell?}} = active, _bytes),
    do: {:go_on, %{active | mode: {count - 1, tell?}}}

  @doc "The owner has handled the first so many events of those that it has not."
  @spec handled(t(), non_neg_integer()) :: t()
  def handled(active, 0), do: active

  def handled(active, count) do
    case :queue.out(active.unhandled) do
      {{:value, bytes}, unhandled} ->
        handled(%{active | unhandled: unhandled, bytes: active.bytes - bytes}, count - 1)

      {:empty, _unhandled} ->
        active
    end
  end

  @doc "Somebody else is the owner from here on."
  @spec hand_over(t()) :: t()
  def hand_over(active), do: %{active | unhandled: :queue.new(), bytes: 0}
end
