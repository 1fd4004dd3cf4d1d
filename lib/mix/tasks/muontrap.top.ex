# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Mix.Tasks.Muontrap.Top do
  @shortdoc "Shows the commands of a running node as a live table"

  @moduledoc """
  Shows the commands of a running node as a live table.

      mix muontrap.top NODE [--cookie COOKIE] [--sort COLUMN] [--tree] [--interval SECONDS] [--once]

  `MuonTrap.Top` explains the columns, and the lines that you can type. NODE is the name of the node (`my_app@host`).
  The node needs muontrap, and distributed Erlang must be able to reach it. If the host has a dot in it, the name is a
  long name. In IEx or a remote shell of that node, `MuonTrap.Top.run()` does the same without Mix.

    * `--cookie` - the cookie of the node; the default is the one in `~/.erlang.cookie`
    * `--sort` - `cpu` (the default), `memory`, `output`, `uptime` or `name`
    * `--tree` - shows the processes of each command, too
    * `--interval` - seconds between two updates (2)
    * `--once` - shows the table once and returns

  Raises `Mix.Error` if the node cannot be reached, or has no `MuonTrap.Top`.
  """

  use Mix.Task

  @switches [cookie: :string, sort: :string, tree: :boolean, interval: :float, once: :boolean]
  @sorts %{
    "cpu" => :cpu,
    "memory" => :memory,
    "output" => :output,
    "uptime" => :uptime,
    "name" => :name
  }

  @impl Mix.Task
  def run(args) do
    case OptionParser.parse!(args, strict: @switches) do
      {options, [name]} -> show(String.to_atom(name), options)
      _other -> Mix.raise("name one node: mix muontrap.top my_app@host")
    end
  end

  defp show(node, options) do
    view = view(options)
    connect(node, options[:cookie])

    # Its output and input are this process's: rpc gives it this group leader.
    case :rpc.call(node, MuonTrap.Top, :run, [view]) do
      :ok -> :ok
      {:badrpc, {:EXIT, {:undef, _stack}}} -> Mix.raise("#{node} has no MuonTrap.Top")
      {:badrpc, :nodedown} -> Mix.raise("#{node} is gone")
      {:badrpc, reason} -> Mix.raise("#{node}: #{inspect(reason)}")
    end
  end

  defp view(options) do
    sort = Map.get(@sorts, options[:sort] || "cpu") || Mix.raise("--sort: one of #{sorts()}")
    interval_ms = ceil((options[:interval] || 2.0) * 1000)
    flags = for {key, true} <- options, key in [:tree, :once], do: {key, true}
    flags ++ [sort: sort, interval_ms: max(interval_ms, 200)]
  end

  defp sorts, do: @sorts |> Map.keys() |> Enum.join(", ")

  defp connect(node, cookie) do
    unless Node.alive?() do
      type = if to_string(node) =~ ~r/@.*\./, do: :longnames, else: :shortnames

      case Node.start(:"muontrap_top_#{System.pid()}", type) do
        {:ok, _pid} -> :ok
        {:error, _reason} -> Mix.raise("distributed Erlang does not start; is epmd there?")
      end
    end

    if cookie, do: Node.set_cookie(node, String.to_atom(cookie))

    unless Node.connect(node) == true,
      do: Mix.raise("#{node} cannot be reached: check its name and --cookie")
  end
end
