# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Mailbox do
  @moduledoc false
  # What the native part and other nodes have sent to the calling process.

  @doc "Takes all events of a command out."
  @spec flush(reference()) :: :ok
  def flush(ref) do
    receive do
      {:muontrap, ^ref, _event} -> flush(ref)
    after
      0 -> :ok
    end
  end

  @doc "Waits until a command is gone for which `MuonTrap.Nif.notify_gone/1` was true."
  @spec await_gone(pos_integer()) :: :ok
  def await_gone(id) do
    receive do
      {:muontrap_gone, ^id} -> :ok
    end
  end
end
