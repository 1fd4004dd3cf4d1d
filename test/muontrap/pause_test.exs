# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.PauseTest do
  @moduledoc """
  A VM that is stopped for a while, as by `docker pause` or with its machine, and goes on: what happened meanwhile
  is told as it was, and nobody's silence is counted.
  """

  use ExUnit.Case

  alias MuonTrap.{Cgroups, Trees}

  # The bound for all that a VM does; slow machines are no failure.
  @patience_ms 120_000

  @prelude """
  {:ok, _started} = Application.ensure_all_started(:muontrap)
  # Not in the time that counts.
  for module <- Application.spec(:muontrap, :modules), do: {:module, _module} = Code.ensure_loaded(module)
  say = fn word -> IO.puts(word <> " " <> System.pid()) end
  [token, gate] = System.argv()
  env = [{"MUONTRAP_TOKEN", token}, {"GATE", gate}]
  """

  # Says of a program in Python what sd_notify(3) would.
  @say ~S"""
  import os, signal, socket, sys, time
  out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
  out.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
  """

  setup do
    token = Trees.token()
    gate = Path.join(System.tmp_dir!(), "muontrap-#{token}")

    on_exit(fn ->
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
      File.rm(gate)
    end)

    %{token: token, gate: gate}
  end

  # Runs code in a VM, and `fun` once that has said "now" and its program runs. What the VM has to say as its result.
  # Programs can wait for the gate, a file.
  defp await_result(code, %{token: token, gate: gate}, fun) do
    vm = System.find_executable("elixir")
    args = ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", @prelude <> code, token, gate]
    port = Port.open({:spawn_executable, vm}, [:binary, :exit_status, args: args])
    {:os_pid, pid} = Port.info(port, :os_pid)
    Trees.signal_on_exit(pid)
    [_all] = await(port, ~r/now\n/, "")
    assert Trees.eventually(fn -> Trees.carrying(token) != [] end)
    fun.(pid)
    [_all, result] = await(port, ~r/result (.*)\n/, "")
    result
  end

  # Stops the VM alone. The gate opens once it stands still.
  defp paused(code, %{gate: gate} = context, fun) do
    await_result(code, context, fn vm ->
      Trees.kill(vm, "STOP")
      File.touch!(gate)
      fun.()
      Trees.kill(vm, "CONT")
    end)
  end

  # Stops the VM and its program for a time, and what it is told to in addition, as `docker pause` does. The gate opens
  # when they go on.
  defp frozen(code, %{token: token, gate: gate} = context, ms, more \\ fn _programs -> [] end) do
    await_result(code, context, fn vm ->
      programs = Trees.carrying(token)
      programs = programs ++ more.(programs)
      Enum.each(programs, &Trees.kill(&1, "STOP"))
      # It takes what they have written so far.
      Process.sleep(100)
      Trees.kill(vm, "STOP")
      Process.sleep(ms)
      # It finds out how late it is, with nothing to hear.
      Trees.kill(vm, "CONT")
      Process.sleep(300)
      Enum.each(programs, &Trees.kill(&1, "CONT"))
      File.touch!(gate)
    end)
  end

  # The shims of programs, and the spawner.
  defp helpers(programs) do
    shims = programs |> Enum.map(&Trees.parent/1) |> Enum.uniq()
    shims ++ (shims |> Enum.map(&Trees.parent/1) |> Enum.uniq())
  end

  defp await(port, pattern, said) do
    case Regex.run(pattern, said) do
      nil ->
        receive do
          {^port, {:data, bytes}} -> await(port, pattern, said <> bytes)
          {^port, {:exit_status, status}} -> flunk("the VM ended with #{status}: #{said}")
        after
          @patience_ms -> flunk("the VM says no more than #{inspect(said)}")
        end

      found ->
        found
    end
  end

  defp await_program_gone(token),
    do: assert(Trees.eventually(fn -> Trees.carrying(token) == [] end))

  test "gives the result of a program that ended in time, though it is heard of too late",
       context do
    code = """
    IO.puts("now")
    script = "until [ -e $GATE ]; do sleep 0.05; done; echo done; exit 3"
    result = MuonTrap.cmd("sh", ["-c", script], timeout: 8_000, env: env)
    IO.puts("result " <> inspect(result))
    """

    result =
      paused(code, context, fn ->
        Process.sleep(8_500)
        await_program_gone(context.token)
      end)

    assert result == ~S({"done\n", 3})
  end

  test "still ends what runs beyond its time", context do
    code = """
    IO.puts("now")
    result = MuonTrap.cmd("sh", ["-c", "echo so far; exec sleep 1000"], timeout: 5_000, env: env)
    IO.puts("result " <> inspect(result))
    """

    assert paused(code, context, fn -> Process.sleep(6_000) end) ==
             ~S({"so far\n", :timeout})
  end

  # Longer than all the patience with a shim that was told to stop: 20 s and twice the grace.
  @tag :stress
  @tag timeout: 300_000
  test "gives the result of a program that ended while the VM was stopped during its stop",
       context do
    code = """
    script =
      "trap 'until [ -e $GATE ]; do sleep 0.05; done; exit 3' TERM; echo ready; while :; do sleep 0.05; done"

    opts = [delay_to_sigkill: 10_000, env: env]
    options = MuonTrap.Options.validate!(:cmd, "sh", ["-c", script], opts)
    {:ok, command} = MuonTrap.Command.start(options, {:null, :pipe, :inherit}, announce: true)
    {{:started, _pid}, command} = MuonTrap.Command.next(command, :infinity)
    {{:stdout, "ready\\n"}, command} = MuonTrap.Command.next(command, :infinity)
    MuonTrap.Command.stop(command)
    IO.puts("now")
    {terminal, _command} = MuonTrap.Command.next(command, :infinity)
    IO.puts("result " <> inspect(with {:ended, outcome} <- terminal, do: outcome.status))
    """

    result =
      paused(code, context, fn ->
        await_program_gone(context.token)
        Process.sleep(42_000)
      end)

    assert result == "{:exited, 3}"
  end

  describe "what was as silent as its VM because both were frozen" do
    test "is not idle", context do
      code = """
      IO.puts("now")
      script = "until [ -e $GATE ]; do echo x; sleep 0.1; done; exit 3"
      result = MuonTrap.run("sh", ["-c", script], idle_timeout: 5_000, env: env)
      IO.puts("result " <> inspect({result.status, result.stopped_by}))
      """

      assert frozen(code, context, 7_000) == "{{:exited, 3}, nil}"
    end

    for {script, result} <- [
          {"until [ -e $GATE ]; do echo x; sleep 0.1; done; exit 3", "{{:exited, 3}, nil}"},
          {"echo x; exec sleep 1000", "{:idle_timeout, :idle_timeout}"}
        ] do
      test "is idle in a session only if it stays silent: #{result}", context do
        code = """
        {:ok, session} = MuonTrap.open("sh", ["-c", "#{unquote(script)}"], idle_timeout: 5_000, env: env)
        IO.puts("now")
        read = fn -> MuonTrap.Session.read(session, :infinity) end
        :eof = Enum.find(Stream.repeatedly(read), &(&1 == :eof))
        {:ok, result} = MuonTrap.Session.await(session, :infinity)
        IO.puts("result " <> inspect({result.status, result.stopped_by}))
        """

        assert frozen(code, context, 7_000) == unquote(result)
      end
    end

    test "has not missed its watchdog", context do
      code = """
      script = ~S'''
      #{@say}
      out.send(b"READY=1")
      while not os.path.exists(os.environ["GATE"]):
          out.send(b"WATCHDOG=1")
          time.sleep(0.1)
      sys.exit(3)
      '''

      Process.flag(:trap_exit, true)
      opts = [ready: :notify, watchdog: 5_000, start_timeout: 60_000, env: env]
      {:ok, daemon} = MuonTrap.Daemon.start_link("python3", ["-c", script], opts)
      IO.puts("now")
      receive(do: ({:EXIT, ^daemon, reason} -> IO.puts("result " <> inspect(reason))))
      """

      if System.find_executable("python3"),
        do: assert(frozen(code, context, 7_000) == ":error_exit_status"),
        else: Cgroups.announce("there is no python3 to send what a watchdog waits for")
    end

    test "is not too late to become ready", context do
      code = """
      Process.flag(:trap_exit, true)
      script = "until [ -e $GATE ]; do sleep 0.05; done; echo open; exec sleep 1000"
      opts = [ready: {:output, ~r/open/}, start_timeout: 10_000, logger_fun: fn _ -> :ok end, env: env]
      IO.puts("now")
      {result, _daemon} = MuonTrap.Daemon.start_link("sh", ["-c", script], opts)
      IO.puts("result " <> inspect(result))
      """

      assert frozen(code, context, 12_000) == ":ok"
    end

    # Its first word after a long pause ended it: the latest moment that it may ask for was over.
    test "has its time to stop, whatever it says meanwhile", context do
      code = """
      script = ~S'''
      #{@say}
      signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
      out.send(b"READY=1")
      signal.sigwait([signal.SIGTERM])
      print("stopping", flush=True)
      while not os.path.exists(os.environ["GATE"]):
          time.sleep(0.05)
      for _ in range(10):
          out.send(b"STATUS=stopping")
          time.sleep(0.05)
      print("bye", flush=True)
      '''

      Process.flag(:trap_exit, true)
      tell = fn line -> IO.puts(%{"stopping" => "now", "bye" => "result bye"}[line]) end
      opts = [ready: :notify, delay_to_sigkill: 10_000, start_timeout: 60_000, logger_fun: tell, env: env]
      {:ok, daemon} = MuonTrap.Daemon.start_link("python3", ["-c", script], opts)
      spawn(fn -> GenServer.stop(daemon) end)
      receive(do: ({:EXIT, ^daemon, _reason} -> IO.puts("result killed")))
      """

      if System.find_executable("python3"),
        do: assert(frozen(code, context, 22_000, &helpers/1) == "bye"),
        else: Cgroups.announce("there is no python3 to say something while it stops")
    end

    test "has its time between two signals", context do
      code = """
      Process.flag(:trap_exit, true)
      trap = "trap 'until [ -e $GATE ]; do sleep 0.05; done; echo bye; exit 3' INT"
      tell = fn line -> if line == "bye", do: IO.puts("result bye") end
      opts = [stop: [:sigint, 5_000, :sigkill], ready: {:output, ~r/ready/}, logger_fun: tell, env: env]
      script = trap <> "; echo ready >&2; while :; do sleep 0.05; done"
      opts = Keyword.merge(opts, log_stderr: :debug)
      {:ok, daemon} = MuonTrap.Daemon.start_link("sh", ["-c", script], opts)
      spawn(fn -> GenServer.stop(daemon) end)
      IO.puts("now")
      receive(do: ({:EXIT, ^daemon, _reason} -> IO.puts("result killed")))
      """

      assert frozen(code, context, 7_000) == "bye"
    end
  end
end
