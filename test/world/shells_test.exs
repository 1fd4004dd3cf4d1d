# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.World.ShellsTest do
  @moduledoc "Programs that run others, as other users, in other sessions, under other names."

  use ExUnit.Case, async: true

  alias MuonTrap.{Trees, World}

  @moduletag :world
  @moduletag timeout: 600_000

  @fork """
  import multiprocessing, sys, time
  if __name__ == "__main__":
      context = multiprocessing.get_context(sys.argv[1])
      for process in [context.Process(target=time.sleep, args=(1000,)) for _ in range(3)]:
          process.start()
      open(sys.argv[2], "w").close()
      time.sleep(1000)
  """

  # Those that are there once their child sleeps. Each has to be named in one line.
  @programs [
    sudo: ["sudo", ["-n", "sleep", :seconds]],
    su: ["su", ["-s", "/bin/sh", "nobody", "-c", "sleep $0 & wait", "--", :seconds]],
    strace: ["strace", ["-f", "-o", "/dev/null", "sh", "-c", "sleep $0 & wait", :seconds]],
    bwrap: [
      "bwrap",
      ["--dev-bind", "/", "/", "--unshare-pid", "sh", "-c", "sleep $0 & wait", :seconds]
    ],
    script: ["script", ["-q", "-c", :sleep, "/dev/null"]],
    setsid: ["setsid", ["-w", "sleep", :seconds]],
    nohup: ["nohup", ["sh", "-c", "nohup sleep $0 & wait", :seconds]]
  ]

  for {name, [command, args]} <- @programs, ending <- World.endings() do
    test "#{name}: #{ending}" do
      if World.installed?(unquote(command)) do
        # A number that nobody else sleeps for.
        seconds = "1#{System.pid()}#{System.unique_integer([:positive])}"

        args =
          Enum.map(unquote(args), fn
            :seconds -> seconds
            :sleep -> "sleep #{seconds}"
            arg -> arg
          end)

        program = %{command: unquote(command), args: args, opts: [delay_to_sigkill: 2_000]}
        program = Map.put(program, :use, fn -> sleeping(seconds) != [] end)
        World.ends(program, unquote(ending))
        assert sleeping(seconds) == []
      end
    end
  end

  # By their arguments: sudo and su begin an environment of their own.
  defp sleeping(seconds) do
    for name <- File.ls!("/proc"),
        {pid, ""} <- [Integer.parse(name)],
        File.read("/proc/#{pid}/cmdline") == {:ok, "sleep\0#{seconds}\0"},
        do: pid
  end

  for method <- ~w(fork spawn forkserver), ending <- World.endings() do
    test "python's multiprocessing by #{method}: #{ending}" do
      if World.installed?("python3") do
        directory = World.directory()
        script = Path.join(directory, "script.py")
        File.write!(script, @fork)
        started = Path.join(directory, "started")
        args = [script, unquote(method), started]
        program = %{command: "python3", args: args, use: fn -> File.exists?(started) end}
        opts = [env: [{"TMPDIR", directory}], delay_to_sigkill: 2_000]
        World.ends(Map.put(program, :opts, opts), unquote(ending))
      end
    end
  end

  for ending <- World.endings() do
    test "socat with a connection open: #{ending}" do
      if World.installed?("socat") do
        port = World.port()
        listen = "TCP-LISTEN:#{port},bind=127.0.0.1,fork,reuseaddr"
        program = %{command: "socat", args: [listen, "EXEC:cat"], use: fn -> echoes?(port) end}
        World.ends(program, unquote(ending))
      end
    end
  end

  defp echoes?(port) do
    with {:ok, socket} <- :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false]),
         :ok <- :gen_tcp.send(socket, "hello") do
      :gen_tcp.recv(socket, 5, 10_000) == {:ok, "hello"}
    else
      {:error, _not_yet} -> false
    end
  end

  # Its server is a daemon, which outlives whoever has started it.
  test "tmux leaves no server" do
    if World.installed?("tmux") do
      token = Trees.token()
      socket = Path.join(World.directory(), "socket")
      env = [{"MUONTRAP_TOKEN", token}, {"TMUX", nil}, {"TERM", "xterm"}]
      script = "tmux -S #{socket} new-session -d 'sleep 1000' && tmux -S #{socket} list-sessions"
      assert {output, 0} = MuonTrap.cmd("sh", ["-c", script], env: env, stderr_to_stdout: true)
      assert output =~ "1 windows"
      assert Trees.carrying(token) == []
    end
  end
end
