# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Remote.Line do
  @moduledoc false
  # What ties a caller to the owner of its command on another node: a process of the caller's node, see
  # `MuonTrap.Remote`.
  #
  # The owner on the other node lives no longer than it. It ends with the caller and with the owner, and tells the
  # caller when the owner is gone, or out of reach, before it has said its last word.

  alias MuonTrap.Error
  alias MuonTrap.Remote.Owner

  # More than it takes the VM to give up a connection that cannot be made, see `net_setuptime` of kernel(6).
  @answer_ms 15_000
  # The reason for the end of a connection comes right with the end.
  @reason_ms 5_000

  @doc """
  Opens a line to a node, for the calling process. To `to` comes `{:muontrap, ref, {:opened, owner}}` or
  `{:muontrap, ref, {:refused, error}}`. `given` hears what becomes of the input, and says whether the caller waits
  for that.
  """
  @spec start(node(), reference(), reference(), (term() -> boolean())) :: :ok
  def start(node, to, ref, given) do
    caller = self()
    line = %{node: node, caller: caller, to: to, ref: ref, given: given}
    _line = spawn(fn -> open(line) end)
    :ok
  end

  defp open(%{node: node} = line) do
    line = Map.put(line, :caller_monitor, Process.monitor(line.caller))

    with :ok <- alive(node),
         :ok <- :net_kernel.monitor_nodes(true, [:nodedown_reason, node_type: :all]),
         {:ok, owner} <- call(line) do
      line = Map.merge(line, %{owner: owner, owner_monitor: Process.monitor(owner)})
      tell(line, {:opened, owner})
      watch(line)
    else
      {:error, error} -> tell(line, {:refused, error})
    end
  end

  defp alive(node) do
    if Node.alive?() do
      :ok
    else
      hint =
        "start this VM with a name: elixir --sname or --name, Node.start/2, a release with RELEASE_NODE"

      {:error, error(node, :notalive, hint)}
    end
  end

  # Nothing that is secret goes with it: what fails there is in the log there, with its arguments.
  defp call(%{node: node} = line) do
    case :erpc.call(node, Owner, :open, [Owner.protocol(), self(), line.to, line.ref], @answer_ms) do
      {:ok, owner} -> {:ok, owner}
      {:error, version} -> {:error, error(node, :incompatible, versions(version))}
    end
  catch
    :error, {:erpc, reason} -> {:error, error(node, reason, hint(reason, node))}
    :error, {:exception, :undef, _stack} -> {:error, error(node, :no_muontrap)}
    _kind, _reason -> {:error, error(node, :noconnection)}
  end

  defp versions(there),
    do: "this node has muontrap #{Owner.version()}, that one #{there}: run the same on both"

  defp hint(:noconnection, node) do
    "check that it runs, that its name is spelled #{inspect(Atom.to_string(node))} there as well, and that both have " <>
      "the same cookie"
  end

  defp hint(_reason, _node), do: nil

  defp watch(%{caller_monitor: caller_monitor, owner_monitor: owner_monitor, node: node} = line) do
    receive do
      {:input, news} ->
        if line.given.(news), do: tell(line, :writable)
        watch(line)

      {:DOWN, ^caller_monitor, :process, _caller, _reason} ->
        :ok

      # After the terminal event.
      {:DOWN, ^owner_monitor, :process, _owner, :normal} ->
        :ok

      {:DOWN, ^owner_monitor, :process, _owner, reason} ->
        tell(line, {:lost, error(line.node, reason(reason, node)), []})

      {:nodeup, _node, _info} ->
        watch(line)

      # That of this node is for `reason/2`, whichever comes first.
      {:nodedown, other, _info} when other != node ->
        watch(line)
    end
  end

  defp reason(:noconnection, node) do
    receive do
      {:nodedown, ^node, info} ->
        why = info[:nodedown_reason]
        if is_atom(why), do: why, else: :noconnection
    after
      @reason_ms -> :noconnection
    end
  end

  defp reason(reason, _node) when is_atom(reason), do: reason
  # A fault of muontrap's own, which is in the log of that node.
  defp reason(_reason, _node), do: :died

  defp error(node, reason, hint \\ nil),
    do: %Error{step: :node, subject: Atom.to_string(node), reason: reason, hint: hint}

  defp tell(line, event), do: send(line.to, {:muontrap, line.ref, event})
end
