# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.World.WebTest do
  @moduledoc "nginx, node by npm, gunicorn."

  use ExUnit.Case, async: true

  alias MuonTrap.{Daemon, Trees, World}

  @moduletag :world
  @moduletag timeout: 600_000

  # Workers as www-data, errors to a standard error that it has to open.
  defp nginx(more \\ []) do
    directory = World.directory()
    port = World.port()

    File.write!(Path.join(directory, "nginx.conf"), """
    #{if more[:uid], do: "", else: "user www-data;"}
    daemon off;
    worker_processes 2;
    pid #{directory}/nginx.pid;
    error_log /dev/stderr notice;
    events {}
    http {
      access_log #{directory}/access.log;
      #{for kind <- ~w(client_body proxy fastcgi uwsgi scgi), do: "#{kind}_temp_path #{directory}/#{kind};"}
      server {
        listen 127.0.0.1:#{port};
        location / { return 200 "hello"; }
      }
    }
    """)

    %{
      command: "nginx",
      args: ["-p", directory, "-c", Path.join(directory, "nginx.conf")],
      opts: more ++ [stop_signal: :sigquit, log_stderr: :debug],
      use: fn -> World.get(port) == "hello" end,
      in_order: fn -> refute File.exists?(Path.join(directory, "nginx.pid")) end,
      directory: directory
    }
  end

  for ending <- World.endings() do
    test "nginx: #{ending}" do
      if World.installed?("nginx"), do: World.ends(nginx(), unquote(ending))
    end

    test "nginx as www-data from the start: #{ending}" do
      if World.installed?("nginx"), do: World.ends(nginx(uid: "www-data"), unquote(ending))
    end

    test "npm start: #{ending}" do
      if World.installed?("npm"), do: World.ends(npm(), unquote(ending))
    end

    test "gunicorn: #{ending}" do
      if World.installed?("gunicorn"), do: World.ends(gunicorn(), unquote(ending))
    end
  end

  test "nginx opens its logs again at USR1 and reloads at HUP" do
    if World.installed?("nginx") do
      %{directory: directory} = nginx = nginx()
      daemon = World.start(nginx)
      log = Path.join(directory, "access.log")
      File.rename!(log, log <> ".1")
      :ok = Daemon.signal(daemon, :sigusr1)
      assert Trees.eventually(fn -> File.exists?(log) end)

      master = Daemon.os_pid(daemon)
      before = Trees.children(master)
      :ok = Daemon.signal(daemon, :sighup)

      assert Trees.eventually(fn ->
               workers = Trees.children(master)
               workers != [] and workers -- before == workers
             end)

      assert nginx.use.()
      GenServer.stop(daemon, :normal, 60_000)
    end
  end

  defp npm do
    directory = World.directory()
    port = World.port()

    File.write!(
      Path.join(directory, "package.json"),
      ~s({"scripts": {"start": "node server.js"}})
    )

    File.write!(Path.join(directory, "server.js"), """
    require("http").createServer((_, answer) => answer.end("hello")).listen(#{port}, "127.0.0.1");
    """)

    env = [
      {"npm_config_cache", directory},
      {"npm_config_update_notifier", "false"},
      {"HOME", directory}
    ]

    %{
      command: "npm",
      args: ["start"],
      opts: [cd: directory, env: env],
      use: fn -> World.get(port) == "hello" end
    }
  end

  defp gunicorn do
    directory = World.directory()
    port = World.port()

    File.write!(Path.join(directory, "app.py"), """
    def app(environ, start):
        start("200 OK", [])
        return [b"hello"]
    """)

    pid_file = Path.join(directory, "pid")

    args = [
      "--chdir",
      directory,
      "-b",
      "127.0.0.1:#{port}",
      "-w",
      "2",
      "--pid",
      pid_file,
      "app:app"
    ]

    %{
      command: "gunicorn",
      args: args,
      use: fn -> World.get(port) == "hello" end,
      in_order: fn -> refute File.exists?(pid_file) end,
      directory: directory
    }
  end

  # The new master is a child of the old one, and has a pid file of its own.
  test "gunicorn that was upgraded by USR2 ends with all its masters" do
    if World.installed?("gunicorn") do
      %{directory: directory} = gunicorn = gunicorn()
      daemon = World.start(gunicorn)
      :ok = Daemon.signal(daemon, :sigusr2)
      assert Trees.eventually(fn -> File.exists?(Path.join(directory, "pid.2")) end)
      tree = daemon |> Daemon.os_pid() |> World.tree()
      assert length(tree) > 3
      GenServer.stop(daemon, :normal, 60_000)
      assert World.left(tree, "no token") == []
    end
  end
end
