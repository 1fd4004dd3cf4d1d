# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Reload do
  @moduledoc false
  # Who waits for a program to have read its configuration again: until it has said `RELOADING=1` and then `READY=1`,
  # see sd_notify(3), both after it was asked to.

  alias MuonTrap.Daemon.State

  @typedoc "Who waits, until when, and whether the program has begun."
  @type t :: {GenServer.from(), reference(), begun? :: boolean()}

  @doc "Answers later: `:ok`, or an error after that time, or when the program ends."
  @spec wait(State.t(), GenServer.from(), pos_integer()) :: State.t()
  def wait(state, from, timeout_ms) do
    timer = State.start_timer(timeout_ms, :reload)
    %{state | reloads: [{from, timer, false} | state.reloads]}
  end

  @doc "The program has begun."
  @spec begun(State.t()) :: State.t()
  def begun(state),
    do: %{state | reloads: for({from, timer, _begun?} <- state.reloads, do: {from, timer, true})}

  @doc "The program is ready. Those who asked after it had begun wait for the next time."
  @spec done(State.t()) :: State.t()
  def done(state), do: answer(state, :ok, fn {_from, _timer, begun?} -> begun? end)

  @doc "The time of one of them is over."
  @spec late(State.t(), reference()) :: State.t()
  def late(state, late),
    do: answer(state, {:error, :timeout}, fn {_from, timer, _begun?} -> timer == late end)

  @doc "The program has ended."
  @spec over(State.t()) :: State.t()
  def over(state), do: answer(state, {:error, :esrch}, fn _all -> true end)

  defp answer(state, answer, whom) do
    {answered, rest} = Enum.split_with(state.reloads, whom)

    for {from, timer, _begun?} <- answered do
      :erlang.cancel_timer(timer)
      GenServer.reply(from, answer)
    end

    %{state | reloads: rest}
  end
end
