# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.TitlesTest do
  @moduledoc """
  Helpers do not look like the programs that they serve: who counts or kills processes by a name means the program.
  """

  use ExUnit.Case

  alias MuonTrap.{Cgroups, Nif, Trees}

  setup do
    directory = Path.join(System.tmp_dir!(), Trees.token())
    File.mkdir!(directory)
    on_exit(fn -> File.rm_rf!(directory) end)
    on_exit(fn -> assert Trees.eventually(fn -> MuonTrap.list() == [] end) end)

    # A word that is nowhere else, as the program's name and as an argument of it.
    word = "word#{System.pid()}x#{System.unique_integer([:positive])}"
    program = Path.join(directory, word)
    File.cp!(System.find_executable("sleep"), program)
    File.chmod!(program, 0o755)
    %{word: word, program: program}
  end

  # The words of a process as pgrep(1) sees them, and its name.
  defp seen(pid) do
    with {:ok, words} <- File.read("/proc/#{pid}/cmdline"),
         {:ok, name} <- File.read("/proc/#{pid}/comm") do
      {String.trim_trailing(words, "\0"), String.trim_trailing(name, "\n")}
    else
      {:error, _gone} -> {"", ""}
    end
  end

  defp run(context),
    do: Task.async(fn -> MuonTrap.run(context.program, ["1000"], arg0: context.program) end)

  defp os_pid(task) do
    assert Trees.eventually(fn -> os_pids(task.pid) != [] end)
    [pid] = os_pids(task.pid)
    pid
  end

  defp os_pids(owner),
    do: for(%{owner: ^owner, os_pid: pid} when pid != nil <- MuonTrap.list(), do: pid)

  test "name what they are, and the program by its process id alone", context do
    task = run(context)
    program = os_pid(task)
    shim = Trees.parent(program)
    assert seen(shim) == {"muontrap-shim #{program}", "muontrap-shim"}
    assert seen(Nif.spawner_pid()) == {"muontrap-spawn", "muontrap-spawn"}
    Trees.kill(program, "TERM")
    assert %{status: {:signaled, :sigterm}} = Task.await(task, 60_000)
  end

  test "are not counted with the program, nor killed with it", context do
    if System.find_executable("pgrep") || Cgroups.announce("there is no pgrep") do
      tasks = for _ <- 1..3, do: run(context)
      pids = tasks |> Enum.map(&os_pid/1) |> Enum.sort()
      assert {"3\n", 0} = System.cmd("pgrep", ["-fc", context.word])
      # What pkill -f would kill.
      {found, 0} = System.cmd("pgrep", ["-f", context.word])
      found = found |> String.split() |> Enum.map(&String.to_integer/1) |> Enum.sort()
      assert found == pids
      Trees.kill(found, "TERM")
      for task <- tasks, do: assert(%{status: {:signaled, :sigterm}} = Task.await(task, 60_000))
    end
  end

  test "never carry its words, not even between fork and exec", context do
    assert {"", 0} = MuonTrap.cmd("true", [])
    spawner = Nif.spawner_pid()
    test = self()
    runs = Task.async(fn -> for _ <- 1..300, do: MuonTrap.cmd(context.program, ["0"]) end)

    watcher = spawn_link(fn -> watch(test, spawner, context.word, MapSet.new()) end)

    assert Task.await(runs, 60_000) |> Enum.uniq() == [{"", 0}]
    send(watcher, :stop)
    assert_receive {:helpers, helpers}, 60_000
    # Shims, and their children that are about to become the program.
    assert MapSet.size(helpers) > 10
    assert Enum.filter(helpers, fn {_pid, words, _name} -> words =~ context.word end) == []
  end

  defp watch(test, spawner, word, helpers) do
    shims = Trees.children(spawner)
    below = Enum.flat_map(shims, &Trees.children/1)

    found =
      for pid <- shims ++ below,
          {words, "muontrap-" <> _ = name} <- [seen(pid)],
          into: helpers,
          do: {pid, words, name}

    receive do
      :stop -> send(test, {:helpers, found})
    after
      0 -> watch(test, spawner, word, found)
    end
  end
end
