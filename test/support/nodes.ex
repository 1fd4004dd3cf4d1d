# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Nodes do
  @moduledoc """
  Connected VMs on this machine, with an epmd of their own. All of it ends with the test; the VM of the tests is none of
  them.

  They are told what to do over standard input and output, so that this is possible when they are not connected.
  """

  import ExUnit.Callbacks, only: [on_exit: 1, start_supervised!: 2]

  alias MuonTrap.{Cgroups, Daemon, Leftovers, Trees}

  @host "127.0.0.1"

  @enforce_keys [:peer, :node, :os_pid]
  defstruct @enforce_keys

  @type t :: %__MODULE__{peer: pid(), node: node(), os_pid: pos_integer()}

  @doc "Whether nodes can be connected here; says so if not."
  @spec possible?() :: boolean()
  def possible? do
    cond do
      not Code.ensure_loaded?(:peer) -> Cgroups.announce("there is no :peer before OTP 25")
      epmd() == nil -> Cgroups.announce("there is no epmd to connect nodes with")
      true -> true
    end
  end

  defp epmd do
    System.find_executable("epmd") ||
      [:code.root_dir(), "erts-*", "bin", "epmd"]
      |> Path.join()
      |> Path.wildcard()
      |> List.first()
  end

  @doc "An epmd for the nodes of a test. Returns its port."
  @spec network() :: :inet.port_number()
  def network do
    port = free_port()

    daemon =
      {Daemon,
       [epmd(), ["-port", "#{port}", "-address", @host], [ready: {:tcp, port}, stderr: :null]]}

    start_supervised!(daemon, id: {:epmd, port})
    port
  end

  defp free_port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :ok = :gen_tcp.close(socket)
    port
  end

  @doc """
  Starts nodes of a network that have this library, started. They notice within some seconds that one of them is
  silent. `WHERE` is the name of each in its environment.
  """
  @spec start(:inet.port_number(), [atom()]) :: [t()]
  def start(network, names), do: Enum.map(names, &start_one(network, &1))

  defp start_one(network, name) do
    node = bare(network, name, :code.get_path())
    {:ok, _started} = call(node, :application, :ensure_all_started, [:muontrap])
    # That other nodes are gone is what is tested.
    :ok = call(node, Logger, :configure, [[level: :none]])
    node
  end

  @doc "Starts a node that has the code in these folders."
  @spec bare(:inet.port_number(), atom(), [charlist()]) :: t()
  def bare(network, name, paths) do
    args = [
      "-start_epmd",
      "false",
      "-setcookie",
      "muontrap",
      "-connect_all",
      "false",
      "-kernel",
      "net_ticktime",
      "4"
    ]

    {:ok, peer, node} =
      :peer.start_link(%{
        name: :peer.random_name(name),
        host: to_charlist(@host),
        longnames: true,
        connection: :standard_io,
        args: Enum.map(args, &to_charlist/1) ++ Enum.flat_map(paths, &[~c"-pa", &1]),
        env: [{~c"ERL_EPMD_PORT", ~c"#{network}"}, {~c"WHERE", ~c"#{name}"}]
      })

    os_pid = peer |> :peer.call(:os, :getpid, []) |> List.to_integer()
    on_exit(fn -> stop(os_pid) end)
    %__MODULE__{peer: peer, node: node, os_pid: os_pid}
  end

  # It ends with its standard input, unless the test has stopped it.
  defp stop(os_pid) do
    with {:ok, environment} <- File.read("/proc/#{os_pid}/environ"),
         true <- environment =~ Leftovers.mark_of_this_vm(),
         do: Trees.kill(os_pid, "KILL")
  end

  @doc "Calls a function there, and waits for as long as it takes."
  @spec call(t(), module(), atom(), [term()]) :: term()
  def call(node, module, function, args),
    do: :peer.call(node.peer, module, function, args, :infinity)

  @doc "Runs code there. What it returns or raises comes back."
  @spec eval(t(), String.t(), keyword()) :: term()
  def eval(node, code, binding \\ []) do
    {value, _binding} = call(node, Code, :eval_string, [code, binding])
    value
  end

  @doc """
  Runs code there in a process of its own, which is returned. What it raises, or `:nothing`, is what `outcome/2`
  waits for.
  """
  @spec spawn_eval(t(), String.t(), keyword()) :: pid()
  def spawn_eval(node, code, binding), do: call(node, __MODULE__, :spawn_here, [code, binding])

  @doc false
  def spawn_here(code, binding) do
    spawn(fn ->
      outcome =
        try do
          Code.eval_string(code, binding)
          :nothing
        rescue
          error -> error
        end

      # As a process that has what it waits for, and nothing else.
      receive(
        do: ({:outcome, to} -> send(to, {self(), outcome, Process.info(self(), :messages)}))
      )
    end)
  end

  @doc "What became of it, and what is in its mailbox."
  @spec outcome(t(), pid()) :: {term(), [term()]}
  def outcome(node, pid), do: call(node, __MODULE__, :outcome_here, [pid])

  @doc false
  def outcome_here(pid) do
    monitor = Process.monitor(pid)
    send(pid, {:outcome, self()})

    receive do
      {^pid, outcome, {:messages, messages}} -> {outcome, messages}
      {:DOWN, ^monitor, :process, ^pid, reason} -> {{:down, reason}, []}
    end
  end
end
