# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Secrets do
  @moduledoc false
  # What a crash report of a session shows: output and input are the program's affair and may be secret.

  @doc "The status of the process without them, see `c:GenServer.format_status/1`."
  @spec hide(map()) :: map()
  def hide(status) do
    status
    |> Map.replace_lazy(:state, &hide_state/1)
    |> Map.replace_lazy(:message, &hide_message/1)
    |> Map.replace(:log, [])
  end

  defp hide_state(%{command: command} = state) do
    hidden = %{buffer: :hidden, readers: :hidden, writers: :hidden}
    Map.merge(state, Map.put(hidden, :command, %{command | args: :hidden}))
  end

  # Before it runs.
  defp hide_state(_state), do: :hidden

  defp hide_message({:muontrap, ref, event}) when is_tuple(event),
    do: {:muontrap, ref, {elem(event, 0), :hidden}}

  defp hide_message({:"$gen_call", from, request}) when is_tuple(request),
    do: {:"$gen_call", from, {elem(request, 0), :hidden}}

  defp hide_message(message), do: message
end
