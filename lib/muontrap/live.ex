# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Live do
  @moduledoc false
  # Commands as those see them who do not own them.

  alias MuonTrap.{Mailbox, Nif}

  @doc "Stops a command by its number, and waits until its tree is gone."
  @spec stop(pos_integer()) :: :ok | {:error, :esrch}
  def stop(id) do
    # A process of its own, for the message that the tree is gone.
    {waiter, monitor} =
      spawn_monitor(fn ->
        gone? = not Nif.notify_gone(id)
        if gone? or not Nif.stop_by_id(id), do: exit(:esrch), else: Mailbox.await_gone(id)
      end)

    receive do
      {:DOWN, ^monitor, :process, ^waiter, :normal} -> :ok
      {:DOWN, ^monitor, :process, ^waiter, :esrch} -> {:error, :esrch}
      {:DOWN, ^monitor, :process, ^waiter, reason} -> exit({reason, {MuonTrap, :stop, [id]}})
    end
  end
end
