# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.World.TunnelsTest do
  @moduledoc "OpenSSH: a tunnel through a server of this test, by key; and a password that it asks for."

  use ExUnit.Case, async: true

  alias MuonTrap.{Daemon, World}

  @moduletag :world
  @moduletag timeout: 600_000

  setup do
    if World.installed?("sshd") do
      directory = World.directory()
      # A server trusts no key in a directory that others may write to.
      File.chmod!(directory, 0o700)

      for name <- ["host", "user"] do
        file = Path.join(directory, name)
        assert World.tool("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file]) != nil
      end

      port = World.port()
      server = server(directory, port)
      start_supervised!({Daemon, [World.find("sshd"), server, [ready: {:tcp, port}]]})
      %{directory: directory, port: port}
    else
      :ok
    end
  end

  defp server(directory, port) do
    File.mkdir_p("/run/sshd")
    config = Path.join(directory, "config")

    File.write!(config, """
    ListenAddress 127.0.0.1
    Port #{port}
    HostKey #{directory}/host
    AuthorizedKeysFile #{directory}/user.pub
    PidFile none
    UsePAM no
    StrictModes no
    PermitRootLogin yes
    """)

    ["-D", "-e", "-f", config]
  end

  defp client(context, more) do
    options =
      ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "LogLevel=ERROR"] ++ more

    {user, 0} = System.cmd("id", ["-un"])
    to = "#{String.trim(user)}@127.0.0.1"
    ["-F", "none", "-p", "#{context.port}"] ++ Enum.flat_map(options, &["-o", &1]) ++ [to]
  end

  # Something behind the tunnel that answers.
  defp behind do
    {:ok, listener} = :gen_tcp.listen(0, [:binary, active: false, ip: {127, 0, 0, 1}])
    {:ok, port} = :inet.port(listener)
    spawn_link(fn -> answer(listener) end)
    port
  end

  defp answer(listener) do
    {:ok, socket} = :gen_tcp.accept(listener)
    _closed_already = :gen_tcp.send(socket, "hello")
    :gen_tcp.close(socket)
    answer(listener)
  end

  defp hello?(port) do
    with {:ok, socket} <- :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false]) do
      result = :gen_tcp.recv(socket, 5, 10_000)
      :gen_tcp.close(socket)
      result == {:ok, "hello"}
    else
      {:error, _not_yet} -> false
    end
  end

  for ending <- World.endings() do
    test "a tunnel by key: #{ending}", context do
      if context[:port] do
        here = World.port()

        forward = [
          "-N",
          "-L",
          "127.0.0.1:#{here}:127.0.0.1:#{behind()}",
          "-i",
          "#{context.directory}/user"
        ]

        args = forward ++ client(context, ["ExitOnForwardFailure=yes", "BatchMode=yes"])
        program = %{command: "ssh", args: args, use: fn -> hello?(here) end}
        World.ends(program, unquote(ending))
        refute World.accepts?(here)
      end
    end
  end

  test "nobody waits for a password that nobody can give", context do
    if context[:port] do
      args = client(context, ["PubkeyAuthentication=no", "NumberOfPasswordPrompts=1"]) ++ ["true"]
      opts = [stderr_to_stdout: true, timeout: 120_000]
      assert {output, 255} = MuonTrap.cmd("ssh", args, opts)
      assert output =~ "Permission denied"
    end
  end
end
