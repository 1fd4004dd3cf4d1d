# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Waiting do
  @moduledoc false
  # A call to a session that is answered later. Its time is counted here, so that an answer is either given or not:
  # one that gave up has taken nothing. Nor does one that died, which its monitor tells.

  @enforce_keys [:from, :request, :monitor, :timer]
  defstruct [:from, :request, :monitor, :timer]

  @type t :: %__MODULE__{
          from: GenServer.from(),
          request: term(),
          monitor: reference(),
          timer: reference() | nil
        }

  @doc "Begins to wait, for so many milliseconds."
  @spec new(GenServer.from(), term(), timeout()) :: t()
  def new({pid, _tag} = from, request, timeout_ms) do
    timer = if timeout_ms != :infinity, do: :erlang.start_timer(timeout_ms, self(), :waiting)
    %__MODULE__{from: from, request: request, monitor: Process.monitor(pid), timer: timer}
  end

  @doc "The process that waits."
  @spec pid(t()) :: pid()
  def pid(%{from: {pid, _tag}}), do: pid

  @doc "Answers it."
  @spec reply(t(), term()) :: :ok
  def reply(waiting, answer) do
    Process.demonitor(waiting.monitor, [:flush])
    if waiting.timer, do: :erlang.cancel_timer(waiting.timer, async: true, info: false)
    GenServer.reply(waiting.from, answer)
  end

  @doc "Takes the one out of a list that a message of its timer or monitor is about."
  @spec pop([t() | atom()], reference()) :: {t(), [t() | atom()]} | nil
  def pop(list, ref) do
    case Enum.split_while(list, &(not about?(&1, ref))) do
      {_all, []} -> nil
      {before, [found | rest]} -> {found, before ++ rest}
    end
  end

  defp about?(%{monitor: monitor, timer: timer}, ref), do: ref in [monitor, timer]
  defp about?(_nobody, _ref), do: false
end
