# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.World.ReloadTest do
  @moduledoc "Servers that read their configuration again, stop by ways of their own, and come back."

  use ExUnit.Case, async: true

  alias MuonTrap.{Daemon, Trees, World}

  @moduletag :world
  @moduletag timeout: 600_000
  @patience_ms 120_000

  defp stopped_in_order(daemon, tree) do
    GenServer.stop(daemon, :normal, @patience_ms)
    assert World.left(tree, "no token") == []
  end

  defp tree(daemon), do: daemon |> Daemon.os_pid() |> World.tree()

  defp nginx(directory, port, opts) do
    File.write!(Path.join(directory, "nginx.conf"), nginx_conf(directory, port, "one"))
    args = ["-p", directory, "-c", Path.join(directory, "nginx.conf")]

    %{
      command: "nginx",
      args: args,
      opts: opts ++ [log_stderr: :debug],
      use: fn -> World.get(port) == "one" end
    }
  end

  defp nginx_conf(directory, port, answer) do
    """
    daemon off;
    worker_processes 2;
    pid #{directory}/nginx.pid;
    error_log /dev/stderr notice;
    events {}
    http {
      access_log off;
      #{for kind <- ~w(client_body proxy fastcgi uwsgi scgi), do: "#{kind}_temp_path #{directory}/#{kind};"}
      server {
        listen 127.0.0.1:#{port};
        location / { return 200 "#{answer}"; }
      }
    }
    """
  end

  test "nginx reads its configuration again, and quits by a command" do
    if World.installed?("nginx") do
      directory = World.directory()
      port = World.port()
      args = ["-p", directory, "-c", Path.join(directory, "nginx.conf"), "-s", "quit"]
      # Nothing else ends it in time, so that this does.
      stop = [{World.find("nginx"), args}, @patience_ms]
      daemon = World.start(nginx(directory, port, stop: stop))
      tree = tree(daemon)

      File.write!(Path.join(directory, "nginx.conf"), nginx_conf(directory, port, "two"))
      assert Daemon.reload(daemon) == :ok
      assert Trees.eventually(fn -> World.get(port) == "two" end)

      {us, _} = :timer.tc(fn -> stopped_in_order(daemon, tree) end)
      assert us < 60_000_000
      refute File.exists?(Path.join(directory, "nginx.pid"))
    end
  end

  test "nginx that is killed is started again on its port, and the supervisor hears nothing of it" do
    if World.installed?("nginx") do
      port = World.port()
      opts = [restart_backoff: [first: 10, max: 100], ready: {:tcp, port}, stop_signal: :sigquit]
      program = nginx(World.directory(), port, opts)
      args = [World.find("nginx"), program.args, program.opts]
      opts = [strategy: :one_for_one, max_restarts: 0]
      {:ok, supervisor} = Supervisor.start_link([{Daemon, args}], opts)
      [{_id, daemon, _type, _modules}] = Supervisor.which_children(supervisor)

      for n <- 1..3 do
        assert Trees.eventually(fn -> World.get(port) == "one" end)
        tree = tree(daemon)
        :ok = Daemon.signal(daemon, :sigkill)
        assert Trees.eventually(fn -> Daemon.statistics(daemon).restarts == n end)
        # Its workers outlive their master otherwise, and keep the port.
        assert World.left(tree, "no token") == []
      end

      assert Trees.eventually(fn -> World.get(port) == "one" end)
      assert Process.alive?(supervisor)
      Supervisor.stop(supervisor)
    end
  end

  test "redis is shut down by its client, and saves" do
    if World.installed?("redis-server") do
      directory = World.directory()
      port = World.port()
      cli = ["-p", "#{port}"]

      redis = %{
        command: "redis-server",
        args: ["--port", "#{port}", "--bind", "127.0.0.1", "--dir", directory, "--save", "3600 1"],
        opts: [stop: [{World.find("redis-cli"), cli ++ ["shutdown", "save"]}, @patience_ms]],
        use: fn -> World.tool("redis-cli", cli ++ ["set", "word", "hello"]) == "OK\n" end
      }

      daemon = World.start(redis)
      stopped_in_order(daemon, tree(daemon))
      assert File.read!(Path.join(directory, "dump.rdb")) =~ "hello"
    end
  end

  test "postgresql reads a setting again, and is stopped smart, then fast, with a client that stays" do
    if World.installed?("postgres") do
      directory = World.directory()
      data = Path.join(directory, "data")
      as_server = [uid: "postgres", cd: "/", stderr_to_stdout: true]
      args = ["-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "--locale", "C"]
      assert {_output, 0} = MuonTrap.cmd(World.find("initdb"), args, as_server)
      port = World.port()
      psql = ["-h", "127.0.0.1", "-p", "#{port}", "-U", "postgres", "-At", "-c"]
      settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off"]

      postgresql = %{
        command: "postgres",
        args: ["-D", data, "-p", "#{port}"] ++ Enum.flat_map(settings, &["-c", &1]),
        opts: [uid: "postgres", cd: "/", stop: [:sigterm, 500, :sigint, @patience_ms]],
        use: fn -> World.tool("psql", psql ++ ["select 1"]) == "1\n" end
      }

      daemon = World.start(postgresql)
      tree = tree(daemon)
      File.write!(Path.join(data, "postgresql.conf"), "work_mem = '7MB'\n", [:append])
      assert Daemon.reload(daemon) == :ok
      shows? = fn -> World.tool("psql", psql ++ ["show work_mem"]) == "7MB\n" end
      assert Trees.eventually(shows?)

      # A client for whose end a smart shutdown waits for ever.
      client =
        Task.async(fn ->
          MuonTrap.cmd("psql", psql ++ ["select pg_sleep(1000)"], stderr_to_stdout: true)
        end)

      sleeps = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'"
      assert Trees.eventually(fn -> World.tool("psql", psql ++ [sleeps]) == "1\n" end)
      stopped_in_order(daemon, tree)
      assert {_output, status} = Task.await(client, @patience_ms)
      assert status != 0
      refute File.exists?(Path.join(data, "postmaster.pid"))
      {output, 0} = MuonTrap.cmd(World.find("pg_controldata"), [data], as_server)
      assert output =~ ~r/Database cluster state: +shut down$/m
    end
  end

  test "gunicorn has new workers with new code after a reload, and stops in two steps" do
    if World.installed?("gunicorn") do
      directory = World.directory()
      port = World.port()
      app = Path.join(directory, "app.py")

      code = fn answer ->
        "def app(environ, start):\n    start('200 OK', [])\n    return [b'#{answer}']\n"
      end

      File.write!(app, code.("one"))
      args = ["--chdir", directory, "-b", "127.0.0.1:#{port}", "-w", "2", "app:app"]

      gunicorn = %{
        command: "gunicorn",
        args: args,
        opts: [
          env: [{"PYTHONDONTWRITEBYTECODE", "1"}],
          stop: [:sigterm, @patience_ms, :sigint, 1_000],
          log_stderr: :debug
        ],
        use: fn -> World.get(port) == "one" end
      }

      daemon = World.start(gunicorn)
      File.write!(app, code.("two"))
      assert Daemon.reload(daemon) == :ok
      assert Trees.eventually(fn -> World.get(port) == "two" end)
      stopped_in_order(daemon, tree(daemon))
    end
  end
end
