# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Upstream.CgroupTest do
  @moduledoc """
  The cgroup of a Daemon as MuonTrap 1.8 (controllers and sets) and 2.0 (one map) document it, whichever version this
  machine has.
  """

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Daemon}

  @moduletag :cgroup

  defp start(opts) do
    {:ok, pid} = Daemon.start_link("sleep", ["1000"], opts)
    on_exit(fn -> if Process.alive?(pid), do: GenServer.stop(pid) end)
    pid
  end

  defp path(name), do: Path.join(Cgroups.base(), name)

  test "1.x: a fresh group below the base, with a file read and written by its controller" do
    if Cgroups.offers?(["memory"]) do
      # Those that this user was given.
      before = Cgroups.groups()
      pid = start(cgroup_base: Cgroups.base(), cgroup_controllers: ["memory"])
      assert {:ok, text} = Daemon.cgget(pid, "memory", "memory.limit_in_bytes")
      assert {limit, "\n"} = Integer.parse(text)
      # Cgroup v2 has a word for no limit, and v1 this number to write it.
      assert limit == -1 or limit > 1000
      assert Daemon.cgset(pid, "memory", "memory.limit_in_bytes", "268435456") == :ok
      assert Daemon.cgget(pid, "memory", "memory.limit_in_bytes") == {:ok, "268435456\n"}
      assert {:error, :enoent} = Daemon.cgget(pid, "memory", "memory.no_such_file")
      assert Cgroups.groups() != before
      GenServer.stop(pid)
      assert Cgroups.groups() == before
    end
  end

  test "2.x: settings by key, read back as a map that starts another one" do
    if Cgroups.offers?(["memory", "cpu", "pids"]) do
      config = %{
        memory_max: 268_435_456,
        cpu_weight: 50,
        cpu_max: {50_000, 100_000},
        pids_max: 200
      }

      pid = start(cgroup_base: Cgroups.base(), cgroup: config)
      assert config == pid |> Daemon.cgroup_config() |> Map.take(Map.keys(config))
      assert {:ok, "268435456\n"} = Daemon.cgget(pid, "memory.max")
      assert :ok = Daemon.cgset(pid, "memory.max", "536870912")
      assert %{memory_max: 536_870_912} = read = Daemon.cgroup_config(pid)

      assert String.starts_with?(Daemon.cgroup_path(pid), Cgroups.base() <> "/")
      stats = Daemon.statistics(pid)
      assert stats.cgroup.memory_current >= 0
      assert is_integer(stats.cgroup.memory_events.oom_kill)
      assert is_integer(stats.cgroup.cpu_stat.usage_usec)
      assert stats.cgroup.pids_current == 1

      other = start(cgroup_base: Cgroups.base(), cgroup: read)

      assert Map.take(Daemon.cgroup_config(other), Map.keys(config)) ==
               Map.take(read, Map.keys(config))

      for daemon <- [pid, other], do: GenServer.stop(daemon)
    end
  end

  test "a path that is named is used, with a slash before or behind it or not" do
    if Cgroups.offers?() do
      for written <- [path("named"), "/" <> path("named"), path("named") <> "/"] do
        pid = start(cgroup_path: written)
        assert Daemon.cgroup_path(pid) == path("named")
        GenServer.stop(pid)
        assert Enum.filter(Cgroups.groups(), &String.ends_with?(&1, "named")) == []
      end
    end
  end

  test "a path that begins with the mount point is refused, with the right one" do
    if Cgroups.offers?() do
      for {_version, %{mount: mount}} <- MuonTrap.Cgroup.Layout.hierarchies(Cgroups.layout()) do
        assert_raise ArgumentError, ~r/write "mine\/a" instead/, fn ->
          Daemon.start_link("true", [], cgroup_path: Path.join(mount, "mine/a"))
        end
      end
    end
  end

  test "without a group there is nothing to read, to write or to show" do
    pid = start([])
    assert Daemon.cgget(pid, "memory.max") == {:error, :no_cgroup}
    assert Daemon.cgset(pid, "memory.max", "1") == {:error, :no_cgroup}
    assert Daemon.cgget(pid, "memory", "memory.limit_in_bytes") == {:error, :no_cgroup}
    assert Daemon.cgset(pid, "memory", "memory.limit_in_bytes", "1") == {:error, :no_cgroup}
    assert Daemon.cgroup_config(pid) == %{}
    assert Daemon.cgroup_path(pid) == nil
    GenServer.stop(pid)
  end
end
