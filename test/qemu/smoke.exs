# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# What matters most, on a VM of another architecture or C library: see test/qemu/smoke. Needs no program of the tests,
# which are not built for it.

ExUnit.start(timeout: 600_000, assert_receive_timeout: 120_000)

defmodule MuonTrap.QemuSmoke do
  use ExUnit.Case, async: false

  alias MuonTrap.Daemon

  @patience_ms 120_000
  # In sessions of their own, forked twice, deaf to SIGTERM.
  @tree "trap '' TERM; setsid sleep 1000 & (setsid sleep 1000 &) & sleep 1000 & echo ready; sleep 1000"

  defp token, do: "token-#{System.pid()}-#{System.unique_integer([:positive])}-end"

  defp options(token), do: [env: [{"MUONTRAP_TOKEN", token}], delay_to_sigkill: 100]

  defp carrying(token) do
    for name <- File.ls!("/proc"),
        {pid, ""} <- [Integer.parse(name)],
        {:ok, environment} <- [File.read("/proc/#{pid}/environ")],
        environment =~ token,
        do: pid
  end

  defp eventually(condition, deadline \\ System.monotonic_time(:millisecond) + @patience_ms) do
    cond do
      condition.() -> true
      System.monotonic_time(:millisecond) > deadline -> false
      true -> receive(after: (50 -> eventually(condition, deadline)))
    end
  end

  # Three sleeps and the shell, at least.
  defp stands?(token), do: eventually(fn -> length(carrying(token)) >= 4 end)
  defp gone?(token), do: eventually(fn -> carrying(token) == [] end)
  defp kill(pid), do: {_output, 0} = System.cmd("sh", ["-c", "kill -KILL #{pid}"])

  test "the VM is one of the architecture and the C library" do
    wanted = "MUONTRAP_TEST_VM" |> System.fetch_env!() |> Regex.compile!()
    assert to_string(:erlang.system_info(:system_architecture)) =~ wanted
  end

  test "cmd/3 returns all of the output and the status" do
    assert MuonTrap.cmd("echo", ["hello"]) == {"hello\n", 0}
    script = "seq 1 100000; echo err >&2; exit 3"
    assert {output, 3} = MuonTrap.cmd("sh", ["-c", script], stderr_to_stdout: true)
    assert output == Enum.map_join(1..100_000, &"#{&1}\n") <> "err\n"
  end

  test "what is typed in comes out again, also of a terminal" do
    input = :binary.copy("0123456789abcde\n", 10_000)
    assert MuonTrap.cmd("cat", [], input: input) == {input, 0}

    assert {"terminal\r\n", 0} =
             MuonTrap.cmd("sh", ["-c", "test -t 1 && echo terminal"], pty: true)
  end

  # Under qemu-user clone(2) with the memory of the parent is nothing but a fork.
  test "what cannot be started is told with its reason" do
    assert catch_error(MuonTrap.cmd("no-such-program", [])) == :enoent
    assert catch_error(MuonTrap.cmd("/no/such/program", [])) == :enoent
    assert catch_error(MuonTrap.cmd("/etc/passwd", [])) == :eacces
    assert catch_error(MuonTrap.cmd("true", [], cd: "/no/such/folder")) == :enoent
  end

  test "the timeout ends the tree" do
    token = token()

    assert {"ready\n", :timeout} =
             MuonTrap.cmd("sh", ["-c", @tree], [timeout: 3_000] ++ options(token))

    assert carrying(token) == []
  end

  test "the owner's death ends the tree" do
    token = token()
    owner = spawn(fn -> MuonTrap.cmd("sh", ["-c", @tree], options(token)) end)
    assert stands?(token)
    Process.exit(owner, :kill)
    assert gone?(token)
  end

  test "a Daemon that has terminated has left nothing" do
    token = token()
    daemon = start_supervised!({Daemon, ["sh", ["-c", @tree], options(token)]}, id: :daemon)
    assert stands?(token)
    assert Daemon.os_pid(daemon) in carrying(token)
    :ok = stop_supervised(:daemon)
    assert carrying(token) == []
  end

  test "SIGKILL to a helper leaves nothing, and the next command runs" do
    token = token()
    test = self()

    spawn(fn ->
      send(test, {:answer, catch_error(MuonTrap.cmd("sh", ["-c", @tree], options(token)))})
    end)

    assert stands?(token)
    [shim] = shims(token)
    kill(shim)
    assert_receive {:answer, _error}
    assert gone?(token)
    # A command that is handed to it before its death is known fails.
    spawner = MuonTrap.Nif.spawner_pid()
    kill(spawner)
    assert eventually(fn -> MuonTrap.Nif.spawner_pid() != spawner end)
    assert MuonTrap.cmd("echo", ["again"]) == {"again\n", 0}
  end

  # Of the processes of a tree, the parents that are shims.
  defp shims(token) do
    parents =
      for pid <- carrying(token),
          {:ok, status} <- [File.read("/proc/#{pid}/status")],
          [_all, parent] = Regex.run(~r/^PPid:\t(\d+)$/m, status),
          File.read("/proc/#{parent}/comm") == {:ok, "muontrap-shim\n"},
          do: parent

    Enum.uniq(parents)
  end

  test "SIGKILL to the VM leaves nothing" do
    token = token()
    code = "MuonTrap.cmd(\"sh\", [\"-c\", #{inspect(@tree)}], delay_to_sigkill: 100)"
    args = ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", code]

    vm =
      Port.open({:spawn_executable, System.find_executable("elixir")}, [
        :binary,
        :exit_status,
        args: args,
        env: [{~c"MUONTRAP_TOKEN", to_charlist(token)}]
      ])

    {:os_pid, pid} = Port.info(vm, :os_pid)
    # The VM, its helpers, and the tree. elixir becomes erl becomes the VM by exec.
    assert eventually(fn -> length(carrying(token)) >= 7 end)
    kill(pid)
    assert_receive {^vm, {:exit_status, 137}}
    assert gone?(token)
  end

  test "the program muontrap passes the status on, and ends all when its input closes" do
    muontrap = MuonTrap.muontrap_path()
    assert {"", 3} = System.cmd(muontrap, ["--", "sh", "-c", "exit 3"])
    assert {_text, 127} = System.cmd(muontrap, ["--", "no-such-program"], stderr_to_stdout: true)
    token = token()
    args = ["-k", "100", "--", "sh", "-c", @tree]
    env = [{~c"MUONTRAP_TOKEN", to_charlist(token)}]
    port = Port.open({:spawn_executable, muontrap}, [:binary, args: args, env: env])
    assert stands?(token)
    Port.close(port)
    assert gone?(token)
  end
end
