# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.SurvivorsTest do
  @moduledoc """
  What cannot be killed when shims die together is named to the command that it belongs to, and to no other.
  """

  use ExUnit.Case

  import ExUnit.CaptureLog

  alias MuonTrap.{Cgroups, Command, Freezer, Nif, Options, Trees}

  @moduletag :cgroup
  @moduletag timeout: 180_000

  # A child of the program, and one that has made a session of its own.
  @same_session "sleep 1000 & echo ready; wait"
  @own_session "(setsid sleep 1000 &); echo ready; exec sleep 1000"

  setup do
    assert {"", 0} = MuonTrap.cmd("true", [])
    assert Trees.eventually(fn -> Trees.at_work(Nif.spawner_pid()) == [] end)
    on_exit(fn -> assert Trees.eventually(fn -> MuonTrap.list() == [] end) end)
    :ok
  end

  # A command with what it started beside its program.
  defp start(script, opts \\ []) do
    token = Trees.token()
    opts = [env: [{"MUONTRAP_TOKEN", token}], delay_to_sigkill: 10] ++ opts
    options = Options.validate!(:cmd, "sh", ["-c", script], opts)
    {:ok, command} = Command.start(options, {:null, :pipe, :null}, announce: true)
    command = await(command, [:ready, :started])
    program = Nif.info(command.handle).os_pid
    # Not the shell in between.
    assert Trees.eventually(fn -> length(children(token, program)) == 1 end), there(token)
    [child] = children(token, program)
    %{command: command, child: child, shim: Trees.parent(program), token: token}
  end

  defp there(token) do
    all = for pid <- Trees.carrying(token), do: {pid, File.read("/proc/#{pid}/comm")}
    "there is #{inspect(all)}"
  end

  defp children(token, program) do
    for pid <- Trees.carrying(token) -- [program],
        File.read("/proc/#{pid}/comm") == {:ok, "sleep\n"},
        do: pid
  end

  # In any order.
  defp await(command, []), do: command

  defp await(command, wanted) do
    case Command.next(command, :infinity) do
      {{:stdout, "ready\n"}, command} -> await(command, wanted -- [:ready])
      {{:started, _pid}, command} -> await(command, wanted -- [:started])
    end
  end

  # The survivors that the commands name, once their shims are killed at the same moment.
  defp kill_shims(trees) do
    Trees.kill(Enum.map(trees, & &1.shim), "KILL")

    for tree <- trees do
      assert {:lost, {:shim, "", :died}, survivors} = last(tree.command)
      # What was sent to the logger before has been logged when it answers.
      :sys.get_state(:logger)
      survivors
    end
  end

  defp last(command) do
    case Command.next(command, System.monotonic_time(:millisecond) + 60_000) do
      {{:stdout, _bytes}, command} -> last(command)
      {event, _command} -> event
    end
  end

  test "of several that die at once each names its own" do
    trees = [one, two, _three] = for _ <- 1..3, do: start(@same_session)

    if Freezer.freeze(:v1, one.child) && Freezer.freeze(:v1, two.child) do
      {survivors, log} = with_log(fn -> kill_shims(trees) end)
      assert survivors == [[one.child], [two.child], []]
      assert log =~ "processes that cannot be killed, of several commands: ["
    else
      Enum.each(trees, &Command.abort(&1.command))
    end
  end

  test "one alone names what has a session of its own, too, and the next does not name it again" do
    one = start(@own_session)
    two = start(@same_session)

    if Freezer.freeze(:v1, one.child) do
      assert kill_shims([one]) == [[one.child]]
      assert kill_shims([two]) == [[]]
    else
      Enum.each([one, two], &Command.abort(&1.command))
    end
  end

  test "what can be anybody's is named to nobody, and logged" do
    trees = [one, two] = for _ <- 1..2, do: start(@own_session)

    if Freezer.freeze(:v1, one.child) do
      {survivors, log} = with_log(fn -> kill_shims(trees) end)
      assert survivors == [[], []]
      assert log =~ "processes that cannot be killed, of several commands: [#{one.child}]"
    else
      Enum.each([one, two], &Command.abort(&1.command))
    end
  end

  test "a cgroup tells whose it is" do
    if Cgroups.provides?(:cgroup_v2) do
      opts = [cgroup_base: "#{Cgroups.base()}/survivors"]
      trees = [one, two] = for _ <- 1..2, do: start(@own_session, opts)

      if group = Freezer.freeze(:v1, two.child) do
        assert kill_shims(trees) == [[], [two.child]]
        Freezer.thaw(group)
        # The group of one that lived on is left with all above it.
        assert Trees.eventually(fn -> Trees.carrying(two.token) == [] end)
        for group <- Enum.reverse(Cgroups.groups()), do: File.rmdir(group)
      else
        Enum.each([one, two], &Command.abort(&1.command))
      end
    end
  end
end
