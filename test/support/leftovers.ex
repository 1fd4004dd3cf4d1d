# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Leftovers do
  @moduledoc """
  What tests leave behind: commands, shims, processes and cgroups of this VM. `MuonTrap.Case` waits for their end
  around each test, and ends what stays, so that no other test has to.

  A process is known by its environment: what a test starts inherits a variable with the name of this VM and of
  that test.
  """

  alias MuonTrap.{Cgroups, Nif, Trees}
  alias MuonTrap.Cgroup.Layout

  @variable "MUONTRAP_TEST_NAME"
  # For what is on its way out. A machine may be slow.
  @patience_ms 30_000

  @doc "Notes which test begins, and ends what it finds, saying so. That is no fault of this test."
  @spec begin(String.t()) :: :ok
  def begin(test) do
    case ended() do
      [] -> :ok
      found -> say("Before #{test} there was", found)
    end

    mark(test)
  end

  @doc "Raises if the test has left something, after that was ended."
  @spec finish(String.t()) :: :ok
  def finish(test) do
    found = ended()
    mark("after #{test}")

    if found != [] do
      # For a test that has failed already, this is the only place.
      say("#{test} left", found)
      raise ExUnit.AssertionError, message: "left behind, and ended now: " <> listed(found)
    end

    :ok
  end

  @doc "Waits until nothing is left, and ends what stays. Returns what that was."
  @spec ended() :: [String.t()]
  def ended do
    if Trees.eventually(&nothing?/0, patience_ms()) do
      []
    else
      found = describe()
      end_all()
      found
    end
  end

  @doc "What all processes of the tests of this VM have in their environment."
  @spec mark_of_this_vm() :: String.t()
  def mark_of_this_vm, do: "vm-#{System.pid()}-#{abs(:erlang.system_info(:start_time))}-"

  # The name is shown to people. The VM may have an encoding that cannot express it.
  defp mark(test) do
    name = for <<byte <- test>>, byte in 32..126, into: "", do: <<byte>>
    System.put_env(@variable, "#{mark_of_this_vm()} #{name}")
  end

  defp nothing? do
    MuonTrap.list() == [] and shims() == [] and groups() == [] and processes() == []
  end

  defp patience_ms, do: Application.get_env(:muontrap_leftovers, :patience_ms, @patience_ms)

  defp shims do
    spawner = Nif.spawner_pid()
    if spawner, do: Trees.at_work(spawner), else: []
  end

  # Asked around each test: only processes that were not there the last time are looked at.
  defp processes do
    mark = mark_of_this_vm()
    known = Application.get_env(:muontrap_leftovers, :known, MapSet.new())
    all = for name <- File.ls!("/proc"), {pid, ""} <- [Integer.parse(name)], do: pid
    new = for pid <- all, pid not in known, not resolver?(pid), do: pid
    found = Enum.filter(new, &String.contains?(Trees.environment(&1), mark))
    Application.put_env(:muontrap_leftovers, :known, MapSet.new(all -- found))
    found
  end

  # The VM starts it when it first looks up a name, and keeps it, see inet(3).
  defp resolver?(pid) do
    case File.read("/proc/#{pid}/comm") do
      {:ok, name} -> String.trim(name) == "inet_gethost"
      {:error, _gone} -> false
    end
  end

  # Groups that were there before the first test are somebody else's.
  defp groups do
    case Application.fetch_env(:muontrap_leftovers, :groups) do
      {:ok, {tops, before}} ->
        if Enum.any?(tops, &File.dir?/1), do: Cgroups.groups() -- before, else: []

      :error ->
        tops =
          for {_version, hierarchy} <- Layout.hierarchies(Cgroups.layout()),
              base = Cgroups.base(),
              do: Path.join(hierarchy.mount, base)

        Application.put_env(:muontrap_leftovers, :groups, {tops, Cgroups.groups()})
        []
    end
  end

  defp end_all do
    for %{owner: owner} <- MuonTrap.list(), do: Process.exit(owner, :kill)
    Trees.kill(processes() ++ members(), "KILL")
    _in_order = Trees.eventually(&nothing?/0, patience_ms())

    # What a spawner cannot get rid of must not be there for the tests to come; they have another spawner.
    if shims() != [], do: Trees.kill([Nif.spawner_pid() | shims()], "KILL")
    _ended = Trees.eventually(fn -> shims() == [] and MuonTrap.list() == [] end, patience_ms())
    for group <- Enum.sort(groups(), :desc), do: File.rmdir(group)
    :ok
  end

  defp members do
    for group <- groups(),
        {:ok, members} <- [File.read(Path.join(group, "cgroup.procs"))],
        member <- String.split(members),
        do: String.to_integer(member)
  end

  defp describe do
    commands =
      for command <- MuonTrap.list() do
        state = for key <- [:stopping, :orphaned, :done], command[key], do: ", #{key}"

        "the command #{inspect(command.command)} of #{inspect(command.owner)}, pid " <>
          "#{inspect(command.os_pid)}, for #{command.uptime_ms} ms#{state}"
      end

    commands ++
      for(pid <- shims(), do: "the shim #{pid}") ++
      for(pid <- processes(), do: process(pid)) ++
      for(group <- groups(), do: "the group #{group}")
  end

  defp process(pid) do
    command =
      case File.read("/proc/#{pid}/cmdline") do
        {:ok, text} -> text |> String.replace("\0", " ") |> String.slice(0, 200)
        {:error, _gone} -> "gone since"
      end

    test =
      case Regex.run(~r/#{@variable}=\S+ ([^\0]*)/, Trees.environment(pid)) do
        [_all, test] -> test
        nil -> "an unknown test"
      end

    "the process #{pid} of #{test}: #{command}"
  end

  defp say(what, found), do: IO.puts(:stderr, "\n#{what}: #{listed(found)}")

  defp listed(found), do: Enum.map_join(found, &"\n  * #{&1}")
end
