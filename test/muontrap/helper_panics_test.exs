# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.HelperPanicsTest do
  @moduledoc """
  A panic of a helper, which is a fault of muontrap's own, reaches the log: a system call returns what the kernel
  would not.
  """

  use ExUnit.Case

  import ExUnit.CaptureLog

  alias MuonTrap.{Error, Fault, Nif, Trees}

  @secret "SECRET-of-the-caller"

  setup do
    assert {"", 0} = MuonTrap.cmd("true", [])
    spawner = Nif.spawner_pid()
    # What is watched is what the spawner forks.
    Trees.none_ready()
    on_exit(fn -> assert Trees.eventually(fn -> MuonTrap.list() == [] end) end)
    %{spawner: spawner, token: Trees.token()}
  end

  defp attempt(token, opts) do
    env = [{"MUONTRAP_TOKEN", token}, {"PASSWORD", @secret}]
    MuonTrap.cmd("sh", ["-c", "sleep 1000", @secret], [env: env, input: @secret] ++ opts)
  rescue
    error in Error -> error
  end

  defp logging(fun) do
    {result, log} = with_log(fun)
    refute log =~ @secret
    {result, log}
  end

  test "of a shim is the error of its owner, and logged with the program", context do
    if Fault.injects?() do
      fault = Fault.watch(context.spawner, :shim, "recvmsg", 1, "nonsense")

      {error, log} =
        logging(fn ->
          error = attempt(context.token, timeout: 200)
          logger_is_through()
          error
        end)

      assert Fault.hit?(fault)
      assert %Error{step: :shim, reason: :panicked, subject: subject} = error
      assert subject =~ ~r/^panicked at .*channel\.rs:\d+:\d+: .*out of range/
      assert Exception.message(error) =~ "the helper panicked"
      refute Exception.message(error) =~ @secret
      assert log =~ "muontrap: sh: its shim panicked at "
      assert Trees.carrying(context.token) == []
      assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
    end
  end

  test "of a shim is logged though its owner is gone", context do
    if Fault.injects?() do
      fault = Fault.watch(context.spawner, :shim, "recvmsg", 1, "nonsense")

      {_gone, log} =
        logging(fn ->
          owner = spawn(fn -> attempt(context.token, []) end)
          assert Trees.eventually(fn -> length(Trees.carrying(context.token)) == 2 end)
          Process.exit(owner, :kill)
          assert Trees.eventually(fn -> MuonTrap.list() == [] end)
          logger_is_through()
        end)

      assert Fault.hit?(fault)
      assert log =~ "muontrap: sh: its shim panicked at "
      assert Trees.carrying(context.token) == []
    end
  end

  test "of the spawner is logged, and the next command has another", context do
    if Fault.injects?() do
      fault = Fault.watch(context.spawner, :spawner, "recvmsg", 1, "nonsense")

      {error, log} =
        logging(fn ->
          error = attempt(context.token, timeout: 60_000)
          assert Trees.eventually(fn -> Nif.spawner_pid() != context.spawner end)
          logger_is_through()
          error
        end)

      assert Fault.hit?(fault)
      assert %Error{step: :shim, reason: :died} = error
      assert log =~ "muontrap: the spawner panicked at "
      assert Trees.carrying(context.token) == []
      assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
    end
  end

  # What was sent to it before has been logged when it answers.
  defp logger_is_through, do: :sys.get_state(:logger)
end
