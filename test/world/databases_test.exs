# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.World.DatabasesTest do
  @moduledoc "redis, postgresql with a query open, mariadb that tells when it is ready."

  use ExUnit.Case, async: true

  alias MuonTrap.{Trees, World}

  @moduletag :world
  @moduletag timeout: 600_000

  for ending <- World.endings() do
    test "redis: #{ending}" do
      if World.installed?("redis-server"), do: World.ends(redis(), unquote(ending))
    end

    test "postgresql: #{ending}" do
      if World.installed?("postgres"), do: World.ends(postgresql(), unquote(ending))
    end

    test "mariadb: #{ending}" do
      if World.installed?("mariadbd"), do: World.ends(mariadb(), unquote(ending))
    end
  end

  defp redis do
    directory = World.directory()
    port = World.port()
    args = ["--port", "#{port}", "--bind", "127.0.0.1", "--dir", directory, "--save", "3600 1"]
    cli = ["-p", "#{port}"]

    %{
      command: "redis-server",
      args: args,
      use: fn -> World.tool("redis-cli", cli ++ ["set", "word", "hello"]) == "OK\n" end,
      # Written at its end alone.
      in_order: fn -> assert File.read!(Path.join(directory, "dump.rdb")) =~ "hello" end
    }
  end

  # It refuses to run as root.
  defp postgresql do
    directory = World.directory()
    data = Path.join(directory, "data")
    as_server = [uid: "postgres", cd: "/", stderr_to_stdout: true]
    initdb = World.find("initdb")
    args = ["-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--locale", "C"]
    assert {_output, 0} = MuonTrap.cmd(initdb, args, as_server)
    port = World.port()
    psql = ["-h", "127.0.0.1", "-p", "#{port}", "-U", "postgres", "-At", "-c"]
    settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]
    args = ["-D", data, "-p", "#{port}"] ++ Enum.flat_map(settings, &["-c", &1])

    %{
      command: "postgres",
      args: args,
      # Fast shutdown: those that are connected are not waited for.
      opts: [uid: "postgres", cd: "/", stop_signal: :sigint],
      use: fn ->
        World.tool("psql", psql ++ ["create table if not exists t (n int)"]) != nil and
          query(psql)
      end,
      in_order: fn ->
        refute File.exists?(Path.join(data, "postmaster.pid"))
        {output, 0} = MuonTrap.cmd(World.find("pg_controldata"), [data], as_server)
        assert output =~ ~r/Database cluster state: +shut down$/m
      end
    }
  end

  # One that is open when the server ends. It is no part of its tree, and ends because the server does.
  defp query(psql) do
    test = self()

    spawn_link(fn ->
      send(
        test,
        {:query, System.cmd("psql", psql ++ ["select pg_sleep(1000)"], stderr_to_stdout: true)}
      )
    end)

    active = "select count(*) from pg_stat_activity where query = 'select pg_sleep(1000)'"
    Trees.eventually(fn -> World.tool("psql", psql ++ [active]) == "1\n" end)
  end

  defp mariadb do
    directory = World.directory()
    data = Path.join(directory, "data")
    socket = Path.join(directory, "socket")
    pid_file = Path.join(directory, "pid")

    install = [
      "--no-defaults",
      "--datadir=#{data}",
      "--user=mysql",
      "--auth-root-authentication-method=normal"
    ]

    assert World.tool("mariadb-install-db", install) != nil
    log = Path.join(data, "log.err")

    args = [
      "--no-defaults",
      "--datadir=#{data}",
      "--socket=#{socket}",
      "--pid-file=#{pid_file}",
      "--log-error=#{log}",
      "--skip-networking",
      "--user=mysql"
    ]

    %{
      command: "mariadbd",
      args: args,
      opts: [ready: :notify, start_timeout: 120_000],
      use: fn ->
        World.tool("mariadb", ["--no-defaults", "-u", "root", "-S", socket, "-e", "select 1"]) !=
          nil
      end,
      in_order: fn ->
        refute File.exists?(pid_file)
        assert File.read!(log) =~ "Shutdown complete"
      end
    }
  end
end
