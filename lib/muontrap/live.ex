# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Live do
  @moduledoc false
  # Commands as those see them who do not own them: MuonTrap.list/0 and what is done to an entry of it.

  alias MuonTrap.Daemon.Waiting
  alias MuonTrap.{Mailbox, Nif}

  @spec list() :: [map()]
  def list do
    commands = Enum.map(Nif.list(), &Map.merge(&1, %{waiting: false, next_start_ms: nil}))
    waiting = Enum.map(Waiting.list(), &Map.put(&1, :waiting, true))

    for command <- commands ++ waiting do
      containment = if command.cgroup == [], do: :subreaper, else: :cgroup
      Map.merge(command, %{name: registered_name(command.owner), containment: containment})
    end
  end

  defp registered_name(pid) do
    case Process.info(pid, :registered_name) do
      {:registered_name, name} when is_atom(name) -> name
      _none_or_dead -> nil
    end
  end

  @spec signal(MuonTrap.command(), pos_integer()) :: :ok | {:error, :file.posix()}
  def signal(%{id: nil}, _number), do: {:error, :esrch}
  def signal(command, number), do: command |> id() |> Nif.signal_by_id(number)

  @doc "Waits until nothing of it is left."
  @spec stop(MuonTrap.command()) :: :ok | {:error, :esrch}
  # A Daemon that waits for its restart has no command.
  def stop(%{id: nil}), do: {:error, :esrch}
  def stop(command), do: command |> id() |> stop_by_id()

  defp id(%{id: id}), do: id(id)
  defp id(id) when is_integer(id) and id > 0, do: id

  defp id(other) do
    raise ArgumentError,
          "expected an entry of MuonTrap.list/0 or its :id, got: #{inspect(other)}"
  end

  defp stop_by_id(id) do
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
