# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Program.EndsTest do
  @moduledoc """
  The program `muontrap` and all that it runs, whatever comes to its end first.
  """

  use ExUnit.Case, async: false
  use MuonTrap.Case

  alias MuonTrap.{Ports, Trees}

  @moduletag timeout: 600_000

  # Who is ended, in which way.
  @deaths [
    port_closed: :close,
    owner_killed: :owner,
    sigterm_to_muontrap: {"TERM", :program},
    sigint_to_muontrap: {"INT", :program},
    sighup_to_muontrap: {"HUP", :program},
    sigkill_to_muontrap: {"KILL", :program},
    sigkill_to_its_helper: {"KILL", :helper},
    helper_stopped_and_port_closed: :stopped_helper,
    muontrap_stopped_and_killed: :stopped_program
  ]

  cells = for {death, how} <- @deaths, shape <- Trees.shapes(), do: {death, how, shape}

  for {death, how, shape} <- MuonTrap.Case.part(cells) do
    @tag shape: shape
    test "#{death} leaves nothing of #{shape}" do
      ends(unquote(shape), unquote(Macro.escape(how)))
    end
  end

  defp ends(shape, how) do
    if Trees.possible?(shape) do
      control = Trees.control()
      token = Trees.token()
      {owner, port} = owned(fn -> start(shape, token) end)
      pid = Ports.pid(port)
      helper = Ports.helper(pid)
      assert Trees.carrying(token) -- [pid, helper] != []
      die(how, owner, port, pid, helper)
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end), describe(token)
      assert Trees.eventually(fn -> not Ports.alive?(pid) and not Ports.alive?(helper) end)
      stop(owner)
      assert Trees.end_control(control)
    end
  end

  defp start(shape, token) do
    {args, opts} = Ports.tree(shape, token)
    port = Ports.open(args, opts)
    Ports.await(port, "ready")
    port
  end

  # A process that holds a port, and what its function returned.
  defp owned(fun) do
    test = self()

    owner =
      spawn(fn ->
        send(test, {:started, fun.()})
        receive(do: ({:close, port} -> Port.close(port)))
        receive(do: (:stop -> :ok))
      end)

    on_exit(fn -> Process.exit(owner, :kill) end)
    assert_receive {:started, port}
    {owner, port}
  end

  defp die(:close, owner, port, _pid, _helper), do: send(owner, {:close, port})
  defp die(:owner, owner, _port, _pid, _helper), do: Process.exit(owner, :kill)
  defp die({signal, :program}, _owner, _port, pid, _helper), do: Trees.kill(pid, signal)
  defp die({signal, :helper}, _owner, _port, _pid, helper), do: Trees.kill(helper, signal)

  defp die(:stopped_helper, owner, port, _pid, helper) do
    Trees.kill(helper, "STOP")
    send(owner, {:close, port})
  end

  defp die(:stopped_program, _owner, _port, pid, _helper) do
    Trees.kill(pid, "STOP")
    Trees.kill(pid, "KILL")
  end

  defp stop(owner), do: Process.exit(owner, :kill)

  defp describe(token) do
    for pid <- Trees.carrying(token), do: {pid, File.read("/proc/#{pid}/cmdline")}
  end

  test "SIGKILL to the VM leaves nothing, double-forked daemons included" do
    for shape <- [:double_fork, :sigterm_ignorer, :tree_of_100, :new_session] do
      token = Trees.token()
      {args, _opts} = Ports.tree(shape, token)

      code = """
      args = String.split(System.fetch_env!("MUONTRAP_ARGS"), "\n")
      port = Port.open({:spawn_executable, MuonTrap.muontrap_path()}, [:binary, args: args])
      receive(do: ({^port, {:data, "ready\\n"}} -> IO.puts("ready")))
      Process.sleep(:infinity)
      """

      elixir = ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", code]
      env = [{"MUONTRAP_TOKEN", token}, {"MUONTRAP_ARGS", Enum.join(args, "\n")}]
      env = for {name, value} <- env, do: {to_charlist(name), to_charlist(value)}

      vm =
        Port.open(
          {:spawn_executable, System.find_executable("elixir")},
          [:binary, :exit_status, args: elixir, env: env]
        )

      Ports.await(vm, "ready")
      Trees.kill(Ports.pid(vm), "KILL")
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end), describe(token)
      assert {_output, 137} = Ports.collect(vm, fn _port, _data -> :ok end)
    end
  end

  test "a program that ends by itself leaves nothing in the background" do
    token = Trees.token()
    script = "setsid sleep 1000 & (sleep 1000 &) & echo done"
    opts = [env: [{~c"MUONTRAP_TOKEN", to_charlist(token)}]]
    port = Ports.open(["--capture-output", "--", "sh", "-c", script], opts)
    assert {"done\n", 0} = Ports.collect(port)
    assert Trees.carrying(token) == []
  end

  test "a stop takes the stop signal first, and SIGKILL after the grace" do
    trap = "trap 'echo asked; exit 3' USR1; echo ready; while :; do sleep 0.01; done"
    args = ["--capture-output", "--stop-signal", "usr1", "-k", "60000", "--", "sh", "-c", trap]
    port = Ports.open(args)
    Ports.await(port, "ready")
    Trees.kill(Ports.pid(port), "TERM")
    assert {"asked\n", 3} = Ports.collect(port)

    args = ["--capture-output", "-k", "100", "--", Trees.program("ignore_sigterm")]
    port = Ports.open(args)
    Ports.await(port, "ready")
    Trees.kill(Ports.pid(port), "TERM")
    assert {_output, 137} = Ports.collect(port)
  end

  test "the time of --timeout ends all of it, and the status says so" do
    token = Trees.token()
    opts = [env: [{~c"MUONTRAP_TOKEN", to_charlist(token)}]]
    args = ["--timeout", "100", "--", "sh", "-c", "sleep 1000 & sleep 1000"]
    assert {"", 124} = Ports.collect(Ports.open(args, opts))
    assert Trees.carrying(token) == []
  end

  test "signals that are the program's reach it" do
    trap = "trap 'echo got it' USR1; trap 'exit 5' USR2; echo ready; while :; do sleep 0.01; done"
    port = Ports.open(["--capture-output", "--", "sh", "-c", trap])
    Ports.await(port, "ready")
    Trees.kill(Ports.pid(port), "USR1")
    Ports.await(port, "got it")
    Trees.kill(Ports.pid(port), "USR2")
    assert {"", 5} = Ports.collect(port)
  end
end
