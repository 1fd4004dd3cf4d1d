# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.PauseTest do
  @moduledoc """
  A VM that is stopped for a while, as by `docker pause` or with its machine, and goes on: what happened meanwhile
  is told as it was, and nobody's silence is counted.
  """

  use ExUnit.Case

  alias MuonTrap.Trees

  # The bound for all that a VM does; slow machines are no failure.
  @patience_ms 120_000

  @prelude """
  {:ok, _started} = Application.ensure_all_started(:muontrap)
  say = fn word -> IO.puts(word <> " " <> System.pid()) end
  [token, gate] = System.argv()
  env = [{"MUONTRAP_TOKEN", token}, {"GATE", gate}]
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

  # Runs code in a VM that is stopped once it has said "now" and its program runs, until `fun` returns. The gate,
  # a file that programs wait for, is there once the VM is stopped. What the VM says after that.
  defp paused(code, %{token: token, gate: gate}, fun) do
    vm = System.find_executable("elixir")
    args = ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", @prelude <> code, token, gate]
    port = Port.open({:spawn_executable, vm}, [:binary, :exit_status, args: args])
    {:os_pid, pid} = Port.info(port, :os_pid)
    on_exit(fn -> if File.exists?("/proc/#{pid}"), do: Trees.kill(pid, "KILL") end)
    [_all] = await(port, ~r/now\n/, "")
    assert Trees.eventually(fn -> Trees.carrying(token) != [] end)
    Trees.kill(pid, "STOP")
    File.touch!(gate)
    fun.()
    Trees.kill(pid, "CONT")
    [_all, result] = await(port, ~r/result (.*)\n/, "")
    result
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
end
