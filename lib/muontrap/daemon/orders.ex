# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Orders do
  @moduledoc false
  # What a Daemon does about what its program tells of itself, and about its silence.

  alias MuonTrap.Daemon.{Notify, Ready, Reload, State}
  alias MuonTrap.{Error, Late}

  @doc """
  Takes a datagram; `:failed` if the program says so. The socket is read until the program has ended: programs go on to
  report their state, and some wait until that was read.
  """
  @spec take(State.t(), port(), binary()) :: {:ok | :failed, State.t()}
  def take(state, socket, datagram) do
    result = take(state, datagram)
    # Now, so that what a program waits for with a barrier has been handled.
    _ = :inet.setopts(socket, active: :once)
    result
  end

  defp take(state, datagram) do
    {notify, orders} = Notify.take(state.notify || %Notify{}, datagram)
    state = Enum.reduce(orders, %{state | notify: notify}, &obey/2)
    {if(:failed in orders and notify.stopping == nil, do: :failed, else: :ok), state}
  end

  @doc """
  Takes all that the program has said before its end, and closes the socket: nothing that is left in it may be taken for
  an order once the program is over.
  """
  @spec take_last(State.t()) :: {:ok | :failed, State.t()}
  def take_last(%{socket: socket} = state) do
    {said, state} =
      Enum.reduce(Ready.rest(socket), {:ok, state}, fn datagram, {said, state} ->
        {now, state} = take(state, datagram)
        {if(said == :failed, do: :failed, else: now), state}
      end)

    Ready.close(socket)
    {said, %{state | socket: nil}}
  end

  defp obey(:ready, state),
    do: state |> State.ready(Ready.notified(state.ready)) |> Reload.done()

  defp obey(:reloading, state), do: Reload.begun(state)

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
    _left = :erlang.cancel_timer(timer)
    %{state | timer: Late.start(max(left_ms, more_ms), :start_timeout)}
  end

  defp obey(_order, state), do: state

  # Not before the program is ready, nor once it stops.
  defp restart_watchdog(%{ready: :ready, notify: %{stopping: nil}} = state) do
    _left = state.watchdog && :erlang.cancel_timer(state.watchdog)
    %{state | watchdog: Late.start(state.options.watchdog, :watchdog)}
  end

  defp restart_watchdog(state), do: state

  @doc "What a Daemon stops with whose program has missed its watchdog."
  @spec missed(State.t()) :: Error.t()
  def missed(state), do: State.error(state, :watchdog, :timeout)

  @doc "The deadline of a stop after a datagram that may ask for more time."
  @spec extended(integer(), binary()) :: integer()
  def extended(deadline, datagram) do
    {_known, orders} = Notify.take(%Notify{}, datagram)
    Enum.max([deadline | for({:extend_ms, more_ms} <- orders, do: State.now_ms() + more_ms)])
  end
end
