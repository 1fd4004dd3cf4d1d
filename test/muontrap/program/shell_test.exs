# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Program.ShellTest do
  @moduledoc """
  The program `muontrap` without a VM around it: in shell scripts, at a terminal, as the first process of a container.
  """

  use ExUnit.Case, async: false
  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Ports, Trees}

  describe "standard input is the line to the owner" do
    test "its end ends the program" do
      script =
        "sleep 0.2 | $M --capture-output -- sh -c 'echo started; sleep 1000'; echo ${PIPESTATUS[1]}"

      assert {"started\n143\n", 0} = Ports.shell(script)
    end

    test "what the program says on its way out is passed on, however much" do
      trap = ~S(trap "head -c 300000 /dev/zero; exit 0" TERM; while :; do sleep 0.01; done)
      script = "sleep 0.2 | $M --capture-output -k 60000 -- sh -c '#{trap}' | wc -c"
      assert {"300000\n", 0} = Ports.shell(script)
    end

    test "/dev/null is at its end from the start, and that is said" do
      assert {text, 0} = Ports.shell("$M -- sleep 1000 </dev/null; echo $?")
      assert [said, "143", ""] = String.split(text, "\n")
      assert said =~ "standard input is /dev/null" and said =~ "--pass-stdio"
    end

    test "a closed one is the same" do
      assert {text, 0} = Ports.shell("$M -- sleep 1000 <&-; echo $?")
      assert text =~ "143\n"
    end
  end

  describe "with --pass-stdio" do
    test "the program has the streams" do
      script = "echo hello | $M --pass-stdio -- tr a-z A-Z"
      assert {"HELLO\n", 0} = Ports.shell(script)
      script = "$M --pass-stdio -- sh -c 'echo out; echo err >&2; exit 3' </dev/null; echo $?"
      assert {"out\nerr\n3\n", 0} = Ports.shell(script)
    end

    test "the end of input is for the program alone" do
      script = "echo 1 | $M --pass-stdio -- sh -c 'cat; sleep 0.5; echo 2' | cat"
      assert {"1\n2\n", 0} = Ports.shell(script)
    end

    test "SIGKILL to whoever started it ends a server that does not notice, and all that that started" do
      token = Trees.token()
      # An editor, with a server that reads nothing, and a daemon of that.
      server = "setsid sleep 1000 & echo ready; exec sleep 1000"
      editor = ~s($M --pass-stdio -- sh -c '#{server}'; true)

      env = [
        {~c"M", to_charlist(MuonTrap.muontrap_path())},
        {~c"MUONTRAP_TOKEN", to_charlist(token)}
      ]

      shell = System.find_executable("bash")
      opts = [:binary, :exit_status, args: ["-c", editor], env: env]
      port = Port.open({:spawn_executable, shell}, opts)
      Ports.await(port, "ready")
      assert length(Trees.carrying(token)) >= 4
      Trees.kill(Ports.pid(port), "KILL")
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    end

    test "nobody at either end of the streams ends it, though its parent lives" do
      token = Trees.token()
      env = [{"MUONTRAP_TOKEN", token}]
      # Its parent waits for it; the pipes are another's, who is gone.
      inner = "$M --pass-stdio -- sh -c 'exec 2>/dev/null; sleep 1000'; echo over >&2"

      script =
        "mkfifo $D/in $D/out; (#{inner}) <$D/in >$D/out & (exec 3>$D/in 4<$D/out; sleep 0.3); wait"

      folder = Path.join(System.tmp_dir!(), token)
      File.mkdir_p!(folder)
      on_exit(fn -> File.rm_rf!(folder) end)
      assert {"over\n", 0} = Ports.shell(script, env: [{"D", folder} | env])
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    end
  end

  describe "at a terminal" do
    # script(1) makes one.
    defp at_a_terminal(command) do
      if System.find_executable("script") || Cgroups.announce("there is no script(1)") do
        Ports.shell("sleep 5 | script -qec #{inspect(command)} /dev/null | tr -d '\\r'")
      end
    end

    test "keys are not read, and output of any size needs no acknowledgement" do
      command = "\\$M --capture-output -- head -c 100000 /dev/zero | wc -c"

      with {output, 0} <- at_a_terminal(command), do: assert(output =~ "100000")
    end

    test "its end ends the program" do
      token = Trees.token()

      if System.find_executable("script") || Cgroups.announce("there is no script(1)") do
        opts = [env: [{"MUONTRAP_TOKEN", token}]]
        # Killed, script(1) closes the terminal.
        script = """
        sleep 1000 | script -qec "$M -- sleep 1000" /dev/null & S=$!
        until pgrep -f 'sleep 1000' -s 0 >/dev/null; do sleep 0.05; done; sleep 1; kill -KILL $S; exit 0
        """

        assert {_output, 0} = Ports.shell(script, opts)
        assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
      end
    end
  end

  describe "as the first process of a PID namespace" do
    defp in_a_namespace(args) do
      if Trees.possible?(:pid_namespace) do
        [command | rest] = Trees.in_pid_namespace([MuonTrap.muontrap_path() | args])

        Port.open(
          {:spawn_executable, System.find_executable(command)},
          [:binary, :exit_status, :stderr_to_stdout, args: rest]
        )
      end
    end

    test "it is 1, reaps what it gets, and has the status of its program" do
      script = "(sleep 0.01 &); sleep 0.3; ps -e -o pid=,comm=; exit 4"
      port = in_a_namespace(["--pass-stdio", "--", "sh", "-c", script])

      if port do
        assert {output, 4} = Ports.collect(port, fn _port, _data -> :ok end)
        assert output =~ ~r/^ *1 muontrap$/m
        refute output =~ "sleep"
      end
    end

    test "SIGTERM stops its program, with the grace" do
      trap = "trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.01; done"
      port = in_a_namespace(["--pass-stdio", "-k", "60000", "--", "sh", "-c", trap])

      if port do
        Ports.await(port, "ready")
        [first] = Trees.children(Ports.pid(port))
        Trees.kill(first, "TERM")
        assert {"asked\n", 3} = Ports.collect(port, fn _port, _data -> :ok end)
      end
    end
  end

  describe "programs of others" do
    test "a pipeline of a shell is passed on whole" do
      script = "seq 1 100000 | sort -rn | gzip -c | gunzip -c | sha256sum"
      {expected, 0} = System.cmd("sh", ["-c", script])

      assert {^expected, 0} =
               Ports.collect(Ports.open(["--capture-output", "--", "sh", "-c", script]))
    end

    test "a web server of Python serves, and is gone with the port" do
      if System.find_executable("python3") || Cgroups.announce("there is no python3") do
        token = Trees.token()
        args = ["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
        flags = ["--capture-output", "--capture-stderr", "--"]
        opts = [env: [{~c"MUONTRAP_TOKEN", to_charlist(token)}]]
        port = Ports.open(flags ++ ["python3" | args], opts)
        number = listening(port, "")
        {:ok, socket} = :gen_tcp.connect({127, 0, 0, 1}, number, [:binary, active: false])
        :ok = :gen_tcp.send(socket, "GET / HTTP/1.0\r\n\r\n")
        assert {:ok, "HTTP/1.0 200" <> _rest} = :gen_tcp.recv(socket, 0, 60_000)
        :gen_tcp.close(socket)
        Port.close(port)
        assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
      end
    end

    defp listening(port, said) do
      case Regex.run(~r/port (\d+)/, said) do
        [_all, number] ->
          String.to_integer(number)

        nil ->
          assert_receive {^port, {:data, data}}
          listening(port, said <> data)
      end
    end

    test "git commits and tells of it" do
      if System.find_executable("git") || Cgroups.announce("there is no git") do
        folder = Path.join(System.tmp_dir!(), Trees.token())
        File.mkdir_p!(folder)
        on_exit(fn -> File.rm_rf!(folder) end)
        name = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "gc.auto=0"]

        git = fn args ->
          flags = ["--capture-output", "--capture-stderr", "--", "git"]
          Ports.collect(Ports.open(flags ++ name ++ args, cd: folder))
        end

        assert {_output, 0} = git.(["init", "-q"])
        assert {_output, 0} = git.(["commit", "-q", "--allow-empty", "-m", "first"])
        assert {"first\n", 0} = git.(["log", "--format=%s"])
        assert {"fatal:" <> _rest, 128} = git.(["log", "nothing"])
      end
    end
  end
end
