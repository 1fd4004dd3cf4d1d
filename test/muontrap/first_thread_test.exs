# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.FirstThreadTest do
  @moduledoc """
  A process whose first thread has ended while others run shows the state of a zombie. It was taken for dead: not
  killed, what it had started not found, and nobody was told.

  Its environment reads as empty, so it is known by the id that it prints.
  """

  use ExUnit.Case

  alias MuonTrap.{Cgroups, Command, Options, Trees}

  # As the program itself and in its background, alone and with a child below the thread that is left.
  @shapes [
    program: ~s(exec "$0"),
    with_child: ~s(exec "$0" child),
    background: ~s("$0" & wait),
    background_with_child: ~s(setsid "$0" child & wait)
  ]

  @vm ~S"""
  [program | scripts] = System.argv()

  for script <- scripts do
    spawn(fn -> MuonTrap.cmd("sh", ["-c", script, program], into: IO.stream(:stdio, :line)) end)
  end

  Process.sleep(:infinity)
  """

  defp shape(name), do: {"sh", ["-c", @shapes[name], Trees.program("first_thread_ends")]}

  # Returns the command and the ids of its processes.
  defp start(name, opts) do
    {command, args} = shape(name)
    options = Options.validate!(:cmd, command, args, [delay_to_sigkill: 50] ++ opts)
    {:ok, running} = Command.start(options, {:null, :pipe, :inherit}, announce: true)
    await_ready(running, "")
  end

  defp await_ready(running, output) do
    case Command.next(running, System.monotonic_time(:millisecond) + 60_000) do
      {{:started, _pid}, running} -> await_ready(running, output)
      {{:stdout, bytes}, running} -> ready(running, output <> bytes)
    end
  end

  defp ready(running, output) do
    case Regex.run(~r/^ready ([\d ]+)\n/m, output) do
      [_all, ids] -> {running, ids |> String.split() |> Enum.map(&String.to_integer/1)}
      nil -> await_ready(running, output)
    end
  end

  defp there(pids), do: Enum.filter(pids, &File.exists?("/proc/#{&1}"))

  for {name, _script} <- @shapes, mechanism <- Cgroups.mechanisms() do
    @tag :cgroup
    @tag mechanism: mechanism
    test "ends with its owner: #{name}, #{mechanism}", %{mechanism: mechanism} do
      if Cgroups.provides?(mechanism) do
        {running, pids} = start(unquote(name), Cgroups.contained_by(mechanism))
        assert there(pids) == pids
        assert {:ended, %{survivors: [], leftovers: []}} = Command.abort(running)
        assert there(pids) == []
      end
    end
  end

  test "is killed when a program leaves it behind" do
    {command, args} = shape(:background_with_child)
    args = List.replace_at(args, 1, ~s("$0" child & sleep 0.3; exit 3))
    assert %{exit_status: 3, survivors: [], output: output} = MuonTrap.run(command, args)
    assert [_ready | pids] = String.split(output)
    assert length(pids) == 2
    assert there(pids) == []
  end

  test "is gone when its VM was killed" do
    ebin = Application.app_dir(:muontrap, "ebin")
    scripts = Keyword.values(@shapes)
    args = ["-pa", ebin, "-e", @vm, Trees.program("first_thread_ends") | scripts]
    elixir = System.find_executable("elixir")
    port = Port.open({:spawn_executable, elixir}, [:binary, :exit_status, args: args])
    {:os_pid, vm} = Port.info(port, :os_pid)
    Trees.signal_on_exit(vm)
    pids = await_all_ready(port, "", length(scripts))
    assert there(pids) == pids

    Trees.kill(vm, "KILL")
    assert Trees.eventually(fn -> there(pids) == [] end)
  end

  defp await_all_ready(port, output, count) do
    lines = Regex.scan(~r/^ready ([\d ]+)\n/m, output, capture: :all_but_first)

    if length(lines) == count do
      lines |> List.flatten() |> Enum.flat_map(&String.split/1) |> Enum.map(&String.to_integer/1)
    else
      receive do
        {^port, {:data, bytes}} -> await_all_ready(port, output <> bytes, count)
      after
        60_000 -> flunk("the trees do not stand: #{output}")
      end
    end
  end

  test "is killed when its shim is" do
    {running, pids} = start(:background_with_child, [])
    [%{os_pid: os_pid}] = for %{owner: owner} = one <- MuonTrap.list(), owner == self(), do: one
    Trees.kill(Trees.parent(os_pid), "KILL")
    assert {{:lost, _failure, []}, _running} = last(running)
    assert there(pids) == []
  end

  # A group is all that still tells where it is, and `cgroup.kill` leaves such a process alone.
  for mechanism <- Cgroups.mechanisms() -- [:none] do
    @tag :cgroup
    @tag mechanism: mechanism
    test "is killed when spawner and shim are, #{mechanism}", %{mechanism: mechanism} do
      if Cgroups.provides?(mechanism) do
        {running, pids} = start(:background_with_child, Cgroups.contained_by(mechanism))

        [%{os_pid: os_pid}] =
          for %{owner: owner} = one <- MuonTrap.list(), owner == self(), do: one

        for pid <- [MuonTrap.Nif.spawner_pid(), Trees.parent(os_pid)], do: Trees.kill(pid, "KILL")
        assert {{:lost, _failure, []}, _running} = last(running)
        # To reap them is up to whoever inherits them.
        assert Trees.eventually(fn -> there(pids) == [] end)
      end
    end
  end

  defp last(running) do
    case Command.next(running, System.monotonic_time(:millisecond) + 60_000) do
      {{:stdout, _bytes}, running} -> last(running)
      other -> other
    end
  end
end
