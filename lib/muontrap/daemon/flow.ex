# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Flow do
  @moduledoc false
  # Takes output from the native part, has it logged, and acknowledges it: each piece once its lines were handed to
  # the logger, here, or by the `MuonTrap.Command.pull/2` that asks for the next one.

  alias MuonTrap.Daemon.{Log, Output, Ready, State, Streams}
  alias MuonTrap.Nif

  @tell_after_ms 1_000

  @doc "Takes lines. Who waits for them hears of them before a logger does, which may be slow."
  @spec take(State.t(), Streams.stream(), [binary()], non_neg_integer()) :: State.t()
  def take(state, stream, lines, bytes) do
    output = Output.take(state.output, stream, lines, bytes)
    State.ready(%{state | output: output}, Ready.lines(state.ready, lines))
  end

  @doc "Whether all that was taken is logged."
  @spec idle?(State.t()) :: boolean()
  def idle?(state), do: Output.idle?(state.output)

  @doc "Logs for a slice of time or all of it, and acknowledges that."
  @spec log(State.t(), :slice | :all) :: State.t()
  def log(state, how_long \\ :slice), do: state |> log_only(how_long) |> acknowledge()

  @doc "Logs for a slice of time. Returns how many bytes are to be acknowledged."
  @spec log_only(State.t(), :slice | :all) :: {non_neg_integer(), State.t()}
  def log_only(state, how_long \\ :slice) do
    {bytes, output} = Output.log(state.output, how_long)
    {bytes, tell_later(%{state | output: output})}
  end

  # Once in a second, however much is dropped.
  defp tell_later(%{rate_timer: nil, output: output} = state) do
    if Log.dropping?(output.log),
      do: %{state | rate_timer: State.start_timer(@tell_after_ms, :log_rate)},
      else: state
  end

  defp tell_later(state), do: state

  @doc "Logs how many lines `:log_rate` has dropped, if any."
  @spec tell_dropped(State.t()) :: State.t()
  def tell_dropped(%{output: output} = state) do
    _left = state.rate_timer && :erlang.cancel_timer(state.rate_timer)
    %{state | rate_timer: nil, output: %{output | log: Log.tell_dropped(output.log)}}
  end

  @doc "Acknowledges what `log_only/2` has logged."
  @spec acknowledge({non_neg_integer(), State.t()}) :: State.t()
  def acknowledge({0, state}), do: state

  def acknowledge({bytes, state}) do
    Nif.ack(state.command.handle, bytes)
    state
  end

  @doc "What is left is logged once others had their turn: asks for that by the message `:log`."
  @spec log_later(State.t()) :: State.t()
  def log_later(%{logging?: logging?} = state) do
    if logging? or idle?(state) do
      state
    else
      send(self(), :log)
      %{state | logging?: true}
    end
  end
end
