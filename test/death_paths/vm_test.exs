# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DeathPaths.VMTest do
  @moduledoc """
  Every way in which a VM ends, with a tree of each shape in it: nothing of the trees and no helper is left.
  """

  use ExUnit.Case

  alias MuonTrap.{Cgroups, Trees}

  @moduletag :death_paths
  @moduletag timeout: 300_000

  @deaths [
    halt: {:say, "halt"},
    init_stop: {:say, "stop"},
    purge_of_the_nif_module_then_halt: {:say, "purge and halt"},
    purge_of_the_nif_module_then_owners_killed: {:say, "purge and kill"},
    sigterm: {:kill, "TERM", [:vm]},
    sigkill: {:kill, "KILL", [:vm]},
    sigabrt: {:kill, "ABRT", [:vm]},
    sigkill_to_vm_and_spawner: {:kill, "KILL", [:spawner, :vm]},
    sigkill_to_vm_and_shims: {:kill, "KILL", [:vm, :shims]},
    sigstop_to_shims_then_sigkill_to_vm: {:stop_and_kill, :shims},
    sigstop_to_spawner_then_sigkill_to_vm: {:stop_and_kill, :spawner}
  ]

  for {name, death} <- @deaths, mechanism <- [:none, :cgroup] do
    if mechanism == :cgroup, do: @tag(:cgroup)
    @tag death: death, mechanism: mechanism
    test "no tree survives #{name} with #{mechanism}", cell do
      if cell.mechanism == :none or Cgroups.offers?([]) do
        prove(cell.death, cell.mechanism, [])
      end
    end
  end

  @tag :cgroup
  test "what VM, spawner and shims leave that are killed together goes when a later VM comes" do
    if Cgroups.offers?([]) do
      token = Trees.token()
      base = "#{Cgroups.base()}/vm"
      port = start_vm([], [token, base | shapes()])
      pids = await_stands(port)
      Trees.kill([pids.spawner, pids.vm | pids.shims], "KILL")
      assert Trees.eventually(fn -> not File.exists?("/proc/#{pids.vm}") end)
      # The programs die with their shims, but who is left to kill what they started?
      assert Trees.carrying(token) != []

      assert {"", 0} = MuonTrap.cmd("true", [], cgroup_base: base)
      # They held the standard error of their VM.
      assert_receive {^port, {:exit_status, _status}}, 120_000
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
      assert Trees.eventually(fn -> Enum.filter(Cgroups.groups(), &(&1 =~ "/vm")) == [] end)
    end
  end

  test "no tree survives the VM as process 1 of a namespace" do
    if Trees.possible?(:pid_namespace) do
      # The pids it says are those in its namespace, so it ends itself.
      prove({:say, "halt"}, :none, ["unshare", "--pid", "--fork", "--mount-proc"])
    end
  end

  defp prove(death, mechanism, wrapper) do
    token = Trees.token()
    base = if mechanism == :cgroup, do: "#{Cgroups.base()}/vm", else: "none"
    port = start_vm(wrapper, [token, base | shapes()])
    pids = await_stands(port)
    assert length(Trees.carrying(token)) >= length(shapes())

    case death do
      {:say, word} ->
        Port.command(port, word <> "\n")

      {:kill, signal, whom} ->
        whom |> Enum.flat_map(&List.wrap(pids[&1])) |> Trees.kill(signal)

      {:stop_and_kill, whom} ->
        Trees.kill(pids[whom], "STOP")
        Trees.kill(pids.vm, "KILL")
    end

    assert_receive {^port, {:exit_status, status}}, 120_000
    if match?({:say, _word}, death), do: assert(status == 0)

    assert Trees.eventually(fn -> Trees.carrying(token) == [] end),
           "left: #{inspect(Trees.carrying(token))}"

    if wrapper == [] do
      helpers = [pids.spawner | pids.shims]
      assert Trees.eventually(fn -> not Enum.any?(helpers, &File.exists?("/proc/#{&1}")) end)
    end
  end

  defp shapes, do: for(shape <- Trees.shapes(), Trees.possible?(shape), do: "#{shape}")

  defp start_vm(wrapper, args) do
    script = Path.expand("../support/vm_with_trees.exs", __DIR__)
    ebin = Application.app_dir(:muontrap, "ebin")
    vm = [System.find_executable("elixir"), "-pa", ebin, script | args]
    [command | args] = wrapper ++ vm

    # A VM that is aborted must not write a dump of itself.
    Port.open({:spawn_executable, System.find_executable(command)}, [
      :binary,
      :exit_status,
      :stderr_to_stdout,
      args: args,
      env: [{~c"ERL_CRASH_DUMP_BYTES", ~c"0"}]
    ])
  end

  defp await_stands(port, output \\ "") do
    case Regex.run(~r/^stands (.*)\n/m, output) do
      [_line, numbers] ->
        [vm, spawner | shims] = numbers |> String.split() |> Enum.map(&String.to_integer/1)
        %{vm: vm, spawner: spawner, shims: shims}

      nil ->
        receive do
          {^port, {:data, data}} -> await_stands(port, output <> data)
          {^port, {:exit_status, status}} -> flunk("the VM ended with #{status}: #{output}")
        after
          120_000 -> flunk("the VM says only: #{output}")
        end
    end
  end
end
