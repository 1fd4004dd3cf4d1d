# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.VMDeath do
  @moduledoc """
  Has a VM start a tree of each shape, and streams and pipelines of such, ends it in one way, and sees what is left.

  `test/support/vm_with_trees.exs` is what runs in that VM.
  """

  import ExUnit.Assertions

  alias MuonTrap.{Cgroups, Forms, Trees}

  # What is done to whom: said to the VM, sent as a signal, or stopped before the VM is killed.
  @deaths [
    halt: {:say, "halt"},
    init_stop: {:say, "stop"},
    abort: {:say, "abort"},
    purge_of_the_nif_module_then_halt: {:say, "purge and halt"},
    purge_of_the_nif_module_then_owners_killed: {:say, "purge and kill"},
    sigterm: {:signal, "TERM", [:vm]},
    sigkill: {:signal, "KILL", [:vm]},
    sigabrt: {:signal, "ABRT", [:vm]},
    sigkill_to_vm_and_spawner: {:signal, "KILL", [:spawner, :vm]},
    sigkill_to_vm_and_shims: {:signal, "KILL", [:vm, :shims]},
    sigkill_to_vm_spawner_and_shims: {:signal, "KILL", [:spawner, :vm, :shims]},
    sigstop_to_shims_then_sigkill_to_vm: {:stop, :shims},
    sigstop_to_spawner_then_sigkill_to_vm: {:stop, :spawner}
  ]

  # Trees that sessions own: not each shape, since to the helpers they are like any other.
  @of_sessions [
    direct_of_a_session: :direct,
    new_session_of_a_session: :new_session,
    double_fork_of_a_session: :double_fork,
    sigterm_ignorer_of_a_session: :sigterm_ignorer
  ]

  # The bound for all that a VM does; slow machines are no failure.
  @patience_ms 240_000

  @doc "Trees that are owned by a session, each with its shape."
  @spec of_sessions() :: keyword(atom())
  def of_sessions, do: @of_sessions

  @doc "The ways in which a VM ends. With all helpers gone too, only a cgroup tells the next VM what is left."
  @spec deaths(:child | :first, Cgroups.mechanism()) :: [atom()]
  def deaths(:child, :none), do: Keyword.keys(@deaths) -- [:sigkill_to_vm_spawner_and_shims]
  def deaths(:child, _cgroup), do: Keyword.keys(@deaths)
  # The kernel keeps signals that it has no handler for from the first process of a namespace.
  def deaths(:first, _mechanism), do: Keyword.keys(@deaths) -- [:sigabrt]

  @doc """
  Ends a VM that is a `:child` of this one, or the `:first` process of a PID namespace. Returns what was left
  after the bound, `nil` where the mechanism or the namespace cannot be had, which is announced:

    * `:carrying` - the processes of each shape, those that were never there under `:missing`
    * `:helpers` - spawner and shims
    * `:listeners` - whatever has the VM's output open, which a program has of it
    * `:groups` - the cgroups
    * `:control` - whether the same program, of the same user but not in the trees, lives on
  """
  @spec observe(atom(), Cgroups.mechanism(), :child | :first) :: map() | nil
  def observe(death, mechanism, place) do
    if (place == :child or Trees.possible?(:pid_namespace)) and Cgroups.provides?(mechanism) do
      base = mechanism != :none && "#{Cgroups.base()}/#{death}-#{place}-#{mechanism}"
      control = Trees.control()
      left = observe(@deaths[death], mechanism, place, base)
      Map.put(left, :control, Trees.end_control(control))
    end
  end

  defp observe(death, mechanism, place, base) do
    token = Trees.token()
    all = Trees.shapes() ++ Trees.shapes_on_terminal()
    shapes = Enum.filter(all, &Trees.possible?/1)
    shapes = shapes ++ Keyword.keys(@of_sessions) ++ Forms.forms()

    # One place has the shims that are forked for their commands, the other those that had others before.
    shims = if place == :child, do: "ready", else: "fresh"
    args = [shims, token, base || "none", mechanism |> Cgroups.controllers() |> Enum.join(",")]
    port = start_vm(place, args ++ Enum.map(shapes, &to_string/1))
    processes = port |> await_stands("") |> as_seen_here(place, port)
    trees = carrying(token, shapes)
    output = File.read_link!("/proc/#{processes.vm}/fd/2")

    die(death, port, processes)
    assert Trees.eventually(fn -> not File.exists?("/proc/#{processes.vm}") end, @patience_ms)
    helpers = [processes.spawner | processes.shims]
    # What lost all its helpers waits for the next VM.
    if base && not survived?(death, place), do: sweep(base, mechanism, helpers)

    left = fn -> left(token, trees, helpers, base) end
    _settled? = Trees.eventually(fn -> Trees.carrying(token) == [] end)
    _settled? = Trees.eventually(fn -> empty?(left.()) end)
    _settled? = Trees.eventually(fn -> listeners(output) == [] end)
    left = Map.put(left.(), :listeners, listeners(output))

    # Not before: its programs have its standard error.
    if empty?(left) and left.listeners == [] do
      assert_receive {^port, {:exit_status, status}}
      if match?({:say, word} when word != "abort", death), do: assert(status == 0)
    end

    left
  end

  # The processes that have the other end of a pipe of this VM, with what they run.
  defp listeners(output) do
    for name <- File.ls!("/proc"),
        {pid, ""} <- [Integer.parse(name)],
        pid != String.to_integer(System.pid()),
        Enum.any?(descriptors(pid), &(&1 == output)),
        {:ok, command_line} <- [File.read("/proc/#{pid}/cmdline")],
        do: {pid, command_line}
  end

  defp descriptors(pid) do
    case File.ls("/proc/#{pid}/fd") do
      {:ok, numbers} ->
        for number <- numbers,
            {:ok, target} <- [File.read_link("/proc/#{pid}/fd/#{number}")],
            do: target

      {:error, _gone_or_not_ours} ->
        []
    end
  end

  # Whether helpers are there to finish the job.
  defp survived?(_death, :first), do: false
  defp survived?({:signal, "KILL", whom}, :child), do: not (:spawner in whom and :shims in whom)
  defp survived?(_death, :child), do: true

  defp sweep(base, mechanism, helpers) do
    # Their locks are theirs to the end.
    assert Trees.eventually(fn -> alive(helpers) == [] end), inspect(alive(helpers))
    opts = [cgroup_base: base, cgroup_controllers: Cgroups.controllers(mechanism)]
    assert {"", 0} = MuonTrap.cmd("true", [], opts)
  end

  defp left(token, trees, helpers, base) do
    %{
      missing: for({shape, []} <- trees, do: shape),
      carrying: carrying(token, Map.keys(trees)),
      helpers: alive(helpers),
      groups: if(base, do: Enum.filter(Cgroups.groups(), &String.contains?(&1, base)), else: [])
    }
  end

  # To reap those that have ended is up to whoever inherits from the VM.
  defp alive(helpers),
    do: Enum.filter(helpers, &(File.exists?("/proc/#{&1}") and not Trees.zombie?(&1)))

  defp empty?(left) do
    Enum.all?(left.carrying, &match?({_shape, []}, &1)) and left.helpers == [] and
      left.groups == []
  end

  # The processes of each shape.
  defp carrying(token, shapes) do
    environments = Trees.environments(token)

    Map.new(shapes, fn shape ->
      token = shape_token(token, shape)
      {shape, for({pid, text} <- environments, String.contains?(text, token), do: pid)}
    end)
  end

  @doc "The token of one tree."
  @spec shape_token(String.t(), atom() | String.t()) :: String.t()
  def shape_token(token, shape), do: "#{token}-#{shape}-end"

  defp start_vm(place, args) do
    script = Path.expand("vm_with_trees.exs", __DIR__)
    ebin = Application.app_dir(:muontrap, "ebin")
    vm = [System.find_executable("elixir"), "-pa", ebin, script | args]
    [command | args] = if place == :first, do: Trees.in_pid_namespace(vm), else: vm

    # A VM that is aborted must not write a dump of itself.
    Port.open({:spawn_executable, System.find_executable(command)}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      args: args,
      env: [{~c"ERL_CRASH_DUMP_BYTES", ~c"0"}]
    ])
  end

  defp await_stands(port, output) do
    case Regex.run(~r/^stands (.*)\n/m, output) do
      [_line, numbers] ->
        [vm, spawner | shims] = numbers |> String.split() |> Enum.map(&String.to_integer/1)
        %{vm: vm, spawner: spawner, shims: shims}

      nil ->
        receive do
          {^port, {:data, data}} -> await_stands(port, output <> data)
          {^port, {:exit_status, status}} -> flunk("the VM ended with #{status}: #{output}")
        after
          @patience_ms -> flunk("the VM says only: #{output}")
        end
    end
  end

  defp as_seen_here(processes, :child, _port), do: processes

  # It says the numbers that they have in its namespace.
  defp as_seen_here(processes, :first, port) do
    {:os_pid, unshare} = Port.info(port, :os_pid)
    [vm] = Trees.children(unshare)
    {:ok, namespace} = File.read_link("/proc/#{vm}/ns/pid")

    here =
      for name <- File.ls!("/proc"),
          {pid, ""} <- [Integer.parse(name)],
          File.read_link("/proc/#{pid}/ns/pid") == {:ok, namespace},
          {:ok, status} <- [File.read("/proc/#{pid}/status")],
          [_all, there] <- [Regex.run(~r/^NSpid:.*\t(\d+)$/m, status)],
          into: %{},
          do: {String.to_integer(there), pid}

    %{
      vm: Map.fetch!(here, processes.vm),
      spawner: Map.fetch!(here, processes.spawner),
      shims: Enum.map(processes.shims, &Map.fetch!(here, &1))
    }
  end

  defp die({:say, word}, port, _processes), do: Port.command(port, word <> "\n")

  defp die({:signal, signal, whom}, _port, processes),
    do: whom |> Enum.flat_map(&List.wrap(processes[&1])) |> Trees.kill(signal)

  defp die({:stop, whom}, _port, processes) do
    Trees.kill(processes[whom], "STOP")
    Trees.kill(processes.vm, "KILL")
  end
end
