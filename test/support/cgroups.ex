# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroups do
  @moduledoc """
  Cgroups for tests: where this user may make groups, what there is on this machine, and what is left.

  `base/0` is a base that does not exist, or, for a user who is not root, the group that was delegated
  (`CGROUP_DELEGATED`, see `test/vm/run`). What a test cannot find here it announces through `offers?/1`.
  """

  alias MuonTrap.{Cgroup, Command, Options}
  alias MuonTrap.Cgroup.Layout

  @doc "The base for groups, relative to the hierarchy. `nil` if this user may not make any."
  @spec base() :: String.t() | nil
  def base do
    case System.get_env("CGROUP_DELEGATED") do
      nil -> if root?(), do: "muontrap-test-#{pid_namespace()}-#{System.pid()}"
      "/" <> _ = path -> Path.relative_to(path, layout().v2.mount)
      path -> path
    end
  end

  # Two VMs that have the same pid in different namespaces share the hierarchies.
  defp pid_namespace do
    case File.read_link("/proc/self/ns/pid") do
      {:ok, "pid:" <> inode} -> String.trim(inode, "[") |> String.trim("]")
      {:error, _no_proc} -> "0"
    end
  end

  @doc "Whether this VM runs as root."
  @spec root?() :: boolean()
  def root?, do: File.stat!("/proc/self").uid == 0

  @doc "The hierarchies."
  @spec layout() :: Layout.t()
  def layout do
    {:ok, layout} = MuonTrap.Nif.cgroup_layout()
    layout
  end

  @typedoc "What contains a tree, beside the subreapers."
  @type mechanism :: :none | :cgroup_v1 | :cgroup_v2

  @doc "The mechanisms of the death paths."
  @spec mechanisms() :: [mechanism()]
  def mechanisms, do: [:none, :cgroup_v1, :cgroup_v2]

  @doc "The controllers to ask for, so that the groups are of this version where there are both."
  @spec controllers(mechanism()) :: [String.t()]
  def controllers(:cgroup_v1), do: ["memory"]
  def controllers(_mechanism), do: []

  @doc "Whether this machine provides a mechanism; says so if not."
  @spec provides?(mechanism()) :: boolean()
  def provides?(:none), do: true

  def provides?(:cgroup_v1),
    do: (layout().v1 != [] or announce("no cgroup v1")) and offers?(controllers(:cgroup_v1))

  def provides?(:cgroup_v2),
    do: (layout().v2 != nil or announce("no cgroup v2")) and offers?()

  @doc "The options for a command to be contained by a mechanism."
  @spec contained_by(mechanism()) :: keyword()
  def contained_by(:none), do: []

  def contained_by(mechanism),
    do: [cgroup_base: base(), cgroup_controllers: controllers(mechanism)]

  @doc "Whether groups with these controllers can be made here; says so if not."
  @spec offers?([String.t()]) :: boolean()
  def offers?(controllers \\ []) do
    missing = Enum.filter(controllers, &(Layout.locate(layout(), &1) == :error))

    cond do
      base() == nil -> announce("this user has no delegated cgroup")
      Layout.hierarchies(layout()) == [] -> announce("no cgroup hierarchy is mounted")
      missing != [] -> announce("no controller #{Enum.join(missing, ", ")}")
      true -> usable?(controllers)
    end
  end

  # Delegated, enabled and writable, or not: trying is the only way to know.
  defp usable?(controllers) do
    case MuonTrap.cmd("true", [], cgroup_base: base(), cgroup_controllers: controllers) do
      {"", 0} -> true
    end
  rescue
    error in MuonTrap.Error -> announce(Exception.message(error))
  end

  @doc "Says on the terminal what is not tested, and is false."
  @spec announce(String.t()) :: false
  def announce(why) do
    IO.puts(:stderr, "\nnot tested here: #{why}")
    false
  end

  @doc "All groups in and below the base, and of it alone, in all hierarchies."
  @spec groups() :: [String.t()]
  def groups do
    for {_version, hierarchy} <- Layout.hierarchies(layout()),
        base() != nil,
        top = Path.join(hierarchy.mount, base()),
        directory <- below(top),
        do: directory
  end

  defp below(directory) do
    case File.ls(directory) do
      {:ok, names} ->
        nested = for name <- names, path = Path.join(directory, name), File.dir?(path), do: path
        [directory | Enum.flat_map(nested, &below/1)]

      {:error, _gone} ->
        []
    end
  end

  @doc """
  Starts a program and waits until it runs, or with `ready: true` until it says so. Returns the command and
  the plan of its groups, which have to be given by `:cgroup_path`.
  """
  @spec start(String.t(), [String.t()], keyword()) :: {Command.t(), Cgroup.Plan.t()}
  def start(program, args, opts) do
    {ready?, opts} = Keyword.pop(opts, :ready, false)
    options = Options.validate!(:cmd, program, args, opts)
    {:ok, command} = Command.start(options, {:null, :pipe, :null}, announce: true)
    {:ok, plan} = Cgroup.plan(options)
    # They come in any order.
    wanted = if ready?, do: [:started, {:stdout, "ready\n"}], else: [:started]
    {await(command, wanted), plan}
  end

  defp await(command, []), do: command

  defp await(command, wanted) do
    case Command.next(command, System.monotonic_time(:millisecond) + 30_000) do
      {{:started, _pid}, command} ->
        await(command, wanted -- [:started])

      {{stream, _bytes} = event, command} when stream in [:stdout, :stderr] ->
        await(command, wanted -- [event])

      {event, _command} ->
        raise "waited for #{inspect(wanted)} and got #{inspect(event)}"
    end
  end

  @doc "Polls until `fun` returns something true, for a minute at most, and returns it."
  @spec eventually((() -> term())) :: term()
  def eventually(fun), do: eventually(fun, System.monotonic_time(:millisecond) + 60_000)

  defp eventually(fun, deadline) do
    cond do
      result = fun.() ->
        result

      System.monotonic_time(:millisecond) > deadline ->
        raise "did not happen"

      true ->
        Process.sleep(5)
        eventually(fun, deadline)
    end
  end
end
