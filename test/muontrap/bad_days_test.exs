# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.BadDaysTest do
  @moduledoc "When the system is out of something: a clear error, nothing left, and the next command works."

  use ExUnit.Case

  alias MuonTrap.{Cgroups, Trees}

  defp ebin, do: Application.app_dir(:muontrap, "ebin")

  defp in_a_vm(limits, code) do
    script = "#{limits} && exec elixir -pa #{ebin()} -e \"$0\""
    System.cmd("sh", ["-c", script, code], stderr_to_stdout: true)
  end

  test "out of descriptors in the VM is :emfile, and over when there are some again" do
    code = ~S"""
    # No module can be loaded without a descriptor.
    Application.load(:muontrap)
    {:ok, modules} = :application.get_key(:muontrap, :modules)
    :ok = :code.ensure_modules_loaded(modules ++ [ErlangError, Exception])
    {"", 0} = MuonTrap.cmd("true", [], stderr_to_stdout: true, input: "x")

    grab = fn grab, held ->
      case :file.open("/dev/null", [:raw, :read]) do
        {:ok, file} -> grab.(grab, [file | held])
        {:error, :emfile} -> held
      end
    end

    held = grab.(grab, [])

    # From none to nearly enough: each descriptor that is made can be the one that fails.
    for free <- 0..8 do
      {freed, _rest} = Enum.split(held, free)
      Enum.each(freed, &:file.close/1)

      try do
        {"", 0} = MuonTrap.cmd("true", [], stderr_to_stdout: true, input: "x")
        IO.puts("ran with #{free}")
      rescue
        error in ErlangError -> :emfile = error.original
      end

      grab.(grab, [])
    end

    [] = MuonTrap.list()
    # What was opened in the loop is garbage by now, or will be; these are not.
    Enum.each(held, &:file.close/1)
    {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
    IO.puts("works again")
    """

    assert {output, 0} = in_a_vm("ulimit -n 80", code)
    assert output =~ "works again"
  end

  test "a refused fork is :eagain" do
    if Cgroups.root?() or Cgroups.announce("root is needed to change the user") do
      # One of the user's own, so that there is one more than the limit; see setrlimit(2).
      start_supervised!({MuonTrap.Daemon, ["sleep", ["1000"], [uid: "nobody"]]})

      error =
        assert_raise ErlangError, fn ->
          MuonTrap.cmd("true", [], uid: "nobody", rlimits: [nproc: 0])
        end

      assert error.original == :eagain
      assert {"", 0} = MuonTrap.cmd("true", [], uid: "nobody")
    end
  end

  test "a spawner that is missing or no program of ours is said to be" do
    for {path, reason} <- [{"/no/such/spawner", "enoent"}, {"/etc/passwd", "eacces"}] do
      code = """
      Application.put_env(:muontrap, :spawner_path, #{inspect(path)})

      try do
        MuonTrap.cmd("true", [])
      rescue
        error in MuonTrap.Error -> IO.puts("\#{error.step} \#{error.subject} \#{error.reason}")
      end
      """

      assert {"spawner " <> rest, 0} = in_a_vm("true", code)
      assert rest == "#{path} #{reason}\n"
    end
  end

  test "a spawner that is stopped is woken, and one that stays silent replaced" do
    assert {"", 0} = MuonTrap.cmd("true", [])
    Trees.kill(MuonTrap.Nif.spawner_pid(), "STOP")
    assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
  end

  test "a shim that is killed at any moment of the start leaves nothing" do
    parent = self()
    {"", 0} = MuonTrap.cmd("true", [])
    spawner = MuonTrap.Nif.spawner_pid()

    # Kills shims as soon as it sees them, which is at a different step each time.
    killer =
      spawn_link(fn ->
        Stream.repeatedly(fn -> Trees.children(spawner) end)
        |> Enum.each(fn shims ->
          if shims != [], do: Trees.kill(shims, "KILL")
          send(parent, :looked)
        end)
      end)

    assert_receive :looked, 60_000
    token = Trees.token()

    for _ <- 1..100 do
      try do
        MuonTrap.cmd("sleep", ["0.01"], env: [{"MUONTRAP_TOKEN", token}])
      rescue
        error in MuonTrap.Error -> assert %{step: :shim, reason: :died} = error
      end
    end

    Process.unlink(killer)
    Process.exit(killer, :kill)
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    assert MuonTrap.list() == []
    assert {"", 0} = MuonTrap.cmd("true", [])
  end
end
