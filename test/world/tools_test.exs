# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.World.ToolsTest do
  @moduledoc "ffmpeg and git: what they leave behind is whole."

  use ExUnit.Case, async: true

  alias MuonTrap.{Daemon, Trees, World}

  @moduletag :world
  @moduletag timeout: 600_000

  for ending <- World.endings() do
    test "ffmpeg: the file plays when it is #{ending}" do
      if World.installed?("ffmpeg"), do: World.ends(ffmpeg(), unquote(ending))
    end
  end

  # An mp4 has its index at its end: without it nothing plays.
  defp ffmpeg do
    file = Path.join(World.directory(), "film.mp4")
    source = ["-re", "-f", "lavfi", "-i", "testsrc=size=128x96:rate=10"]

    %{
      command: "ffmpeg",
      args: ["-y", "-nostats", "-loglevel", "error"] ++ source ++ ["-flush_packets", "1", file],
      opts: [stdin: :pipe],
      use: fn -> match?({:ok, %{size: size}} when size > 0, File.stat(file)) end,
      in_order: fn -> assert plays?(file) end,
      file: file
    }
  end

  defp plays?(file) do
    args = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", file]
    World.tool("ffprobe", args) =~ ~r/^\d+\.\d+\n$/
  end

  test "ffmpeg ends with 0 when it is told q" do
    if World.installed?("ffmpeg") do
      Process.flag(:trap_exit, true)
      ffmpeg = ffmpeg()
      daemon = World.start(ffmpeg)
      :ok = Daemon.write(daemon, "q")
      assert_receive {:EXIT, ^daemon, :normal}, 120_000
      assert plays?(ffmpeg.file)
    end
  end

  describe "git" do
    defp git(args, directory, opts \\ []) do
      who = ["-c", "user.name=A", "-c", "user.email=a@b.invalid", "-c", "init.defaultBranch=main"]
      env = [{"HOME", directory}, {"GIT_CONFIG_NOSYSTEM", "1"}, {"GIT_TERMINAL_PROMPT", nil}]
      MuonTrap.cmd("git", who ++ args, [cd: directory, env: env, stderr_to_stdout: true] ++ opts)
    end

    defp repository do
      directory = World.directory()
      assert {_output, 0} = git(["init", "-q", "."], directory)
      directory
    end

    defp locks(directory), do: Path.wildcard(Path.join(directory, "**/*.lock"), match_dot: true)

    test "commits, fetches and collects, and leaves no lock" do
      if World.installed?("git") do
        from = repository()

        for n <- 1..5 do
          File.write!(Path.join(from, "file"), "#{n}")
          assert {_output, 0} = git(["add", "file"], from)
          assert {_output, 0} = git(["commit", "-q", "-m", "#{n}"], from)
        end

        to = repository()
        assert {_output, 0} = git(["fetch", "-q", from, "main"], to)
        assert {"5\n", 0} = git(["rev-list", "--count", "FETCH_HEAD"], to)
        assert {_output, 0} = git(["gc", "-q"], from)
        assert locks(from) ++ locks(to) == []
      end
    end

    # It goes on in the background and holds locks. It was killed in the middle.
    test "has its detached collection waited for with linger" do
      if World.installed?("git") do
        directory = repository()

        for n <- 1..300 do
          File.write!(Path.join(directory, "file#{n}"), "#{n}")
        end

        assert {_output, 0} = git(["add", "."], directory)

        auto = [
          "-c",
          "gc.auto=1",
          "-c",
          "gc.autoDetach=true",
          "-c",
          "maintenance.autoDetach=true"
        ]

        assert {_output, 0} =
                 git(auto ++ ["commit", "-q", "-m", "all"], directory, linger: :infinity)

        assert locks(directory) == []
        assert Path.wildcard(Path.join(directory, ".git/gc.pid")) == []
        assert Path.wildcard(Path.join(directory, ".git/objects/pack/*.pack")) != []
      end
    end

    test "does not wait for a password that nobody can give" do
      if World.installed?("git") do
        {:ok, listener} =
          :gen_tcp.listen(0, [:binary, active: false, packet: :http_bin, ip: {127, 0, 0, 1}])

        {:ok, port} = :inet.port(listener)
        spawn_link(fn -> refuse(listener) end)

        {output, status} =
          git(["ls-remote", "http://127.0.0.1:#{port}/private"], World.directory(),
            timeout: 120_000
          )

        assert status == 128
        assert output =~ "could not read Username"
      end
    end

    defp refuse(listener) do
      {:ok, socket} = :gen_tcp.accept(listener)
      {:ok, {:http_request, :GET, _path, _version}} = :gen_tcp.recv(socket, 0)
      answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n"
      :gen_tcp.send(socket, answer <> "Content-Length: 0\r\nConnection: close\r\n\r\n")
      :gen_tcp.shutdown(socket, :write)
      refuse(listener)
    end
  end

  # From the manual of every shell: 29 of 30 runs lost it all.
  test "the output of a filter behind a shell is whole" do
    log = Path.join(World.directory(), "log")
    script = ~s[exec > >(tee -a "#{log}") 2>&1; echo starting; exit 3]

    for _run <- 1..50, do: assert({"starting\n", 3} = MuonTrap.cmd("bash", ["-c", script]))
    assert Trees.eventually(fn -> File.read!(log) == String.duplicate("starting\n", 50) end)
  end
end
