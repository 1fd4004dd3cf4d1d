# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Top.Action do
  @moduledoc false
  # Stops and signals commands of this VM without waiting, and says what came of it.

  alias MuonTrap.Signal

  @spec run({:stop, pos_integer()} | {:signal, pos_integer(), Signal.t()}) :: String.t()
  def run({:stop, id}),
    do: if(MuonTrap.Nif.stop_by_id(id), do: "stopping #{id}", else: "there is no command #{id}")

  def run({:signal, id, signal}) do
    case MuonTrap.signal(id, signal) do
      :ok -> "sent #{signal} to #{id}"
      {:error, reason} -> "cannot signal #{id}: #{:file.format_error(reason)}"
    end
  end
end
