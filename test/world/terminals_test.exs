# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.World.TerminalsTest do
  @moduledoc "Programs that people use on a terminal, used on one."

  use ExUnit.Case, async: true

  import MuonTrap.Terminal, only: [open: 2, open: 3, expect: 2, type: 2, close: 1, finish: 1]

  alias MuonTrap.{Cgroups, Daemon, Nif, Trees, World}

  @moduletag :world
  @moduletag timeout: 600_000

  defp file(content) do
    file = Path.join(World.directory(), "file")
    File.write!(file, content)
    file
  end

  test "vi writes a file" do
    if World.installed?("vi") do
      file = file("")
      terminal = open("vi", [file])
      # It asks some terminals for their colours, and takes what comes for the answer.
      {_shown, terminal} = expect(terminal, "~")
      terminal = type(terminal, "ihello")
      {_shown, terminal} = expect(terminal, "hello")
      assert {{:exited, 0}, _rest} = terminal |> type("\e:wq\r") |> finish()
      assert File.read!(file) == "hello\n"
    end
  end

  test "vi is gone when nobody is there any more" do
    if World.installed?("vi") do
      file = file("")
      vi = fn -> Enum.filter(Trees.carrying(file), &File.exists?("/proc/#{&1}")) end
      opts = [pty: true, env: [{"MUONTRAP_TOKEN", file}]]
      program = %{command: "vi", args: [file], opts: opts, use: fn -> vi.() != [] end}
      for ending <- World.endings(), do: World.ends(program, ending)
    end
  end

  test "top shows what there is room for, and leaves when told" do
    if World.installed?("top") do
      terminal = open("top", ["-d", "0.3"], pty: [rows: 12, cols: 60])
      {_shown, terminal} = expect(terminal, ~r/load average.*PID/s)
      assert Nif.resize(terminal.command.handle, 30, 120) == :ok
      {_shown, terminal} = expect(terminal, ~r/load average.*COMMAND/s)
      assert {{:exited, 0}, _rest} = terminal |> type("q") |> finish()
    end
  end

  test "less shows page after page, and finds" do
    if World.installed?("less") do
      file = file(Enum.map_join(1..1_000, &"line #{&1}\n"))
      terminal = open("less", [file], pty: [rows: 10, cols: 80], env: [{"LESS", nil}])
      {first, terminal} = expect(terminal, "line 9")
      refute first =~ "line 10"
      {_shown, terminal} = terminal |> type(" ") |> expect("line 18")
      {_shown, terminal} = terminal |> type("/line 500\r") |> expect("line 508")
      assert {{:exited, 0}, _rest} = terminal |> type("q") |> finish()
    end
  end

  test "sudo asks for a password, which it does not show" do
    user? = Cgroups.root?() or Cgroups.announce("root is needed to be a user with a password")

    if user? and World.installed?("sudo") do
      terminal = open("sudo", ["-k", "true"], uid: "nobody")
      {_shown, terminal} = expect(terminal, "password for nobody: ")
      {shown, terminal} = terminal |> type("wrong one\n") |> expect(~r/try again.*password for/s)
      refute shown =~ "wrong"
      assert {{:exited, 1}, _rest} = terminal |> type(<<3>>) |> finish()
    end
  end

  test "ssh asks for a password, which it does not show" do
    if World.installed?("sshd") do
      args = client(server(World.directory(), World.port()))
      terminal = open("ssh", args ++ ["nobody@127.0.0.1", "true"])
      {_shown, terminal} = expect(terminal, "nobody@127.0.0.1's password: ")
      {shown, terminal} = terminal |> type("wrong one\n") |> expect(~r/try again.*password: /s)
      refute shown =~ "wrong"
      assert {{:exited, 255}, _rest} = terminal |> type("again\n") |> finish()
    end
  end

  defp server(directory, port) do
    host = Path.join(directory, "host")
    File.chmod!(directory, 0o700)
    File.mkdir_p("/run/sshd")
    assert World.tool("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", host]) != nil
    config = Path.join(directory, "config")

    File.write!(config, """
    ListenAddress 127.0.0.1
    Port #{port}
    HostKey #{host}
    PidFile none
    UsePAM no
    """)

    args = ["-D", "-e", "-f", config]
    opts = [ready: {:tcp, port}, stderr: :null]
    start_supervised!({Daemon, [World.find("sshd"), args, opts]})
    port
  end

  defp client(port) do
    options = [
      "UserKnownHostsFile=/dev/null",
      "StrictHostKeyChecking=no",
      "LogLevel=ERROR",
      "PreferredAuthentications=password",
      "NumberOfPasswordPrompts=2"
    ]

    ["-F", "none", "-p", "#{port}"] ++ Enum.flat_map(options, &["-o", &1])
  end

  test "script has a terminal of its own on ours" do
    if World.installed?("script") do
      args = ["-q", "-c", "stty size; read line; echo got $line; tty", "/dev/null"]
      terminal = open("script", args, pty: [rows: 33, cols: 44])
      {_shown, terminal} = expect(terminal, "33 44\r\n")
      {_shown, terminal} = terminal |> type("this\r") |> expect("got this\r\n")
      assert {{:exited, 0}, "/dev/pts/" <> _number} = finish(terminal)
    end
  end

  test "python is asked line by line, and leaves at the end of the input" do
    if World.installed?("python3") do
      terminal = open("python3", ["-q"])
      {_shown, terminal} = expect(terminal, ">>> ")
      {_shown, terminal} = terminal |> type("6 * 7\n") |> expect(~r/^42\r\n.*>>> $/ms)
      assert {{:exited, 0}, _rest} = terminal |> close() |> finish()
    end
  end

  test "tmux draws what runs in it" do
    if World.installed?("tmux") do
      socket = Path.join(World.directory(), "socket")
      env = [{"TMUX", nil}]
      terminal = open("tmux", ["-S", socket, "-f", "/dev/null", "new-session", "sh"], env: env)
      {_shown, terminal} = expect(terminal, ~r/[#$] /)
      {_shown, terminal} = terminal |> type("echo $((6 * 7))\r") |> expect("42")
      assert {{:exited, 0}, _rest} = terminal |> type("exit\r") |> finish()
    end
  end
end
