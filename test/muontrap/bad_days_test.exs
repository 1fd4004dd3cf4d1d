# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.BadDaysTest do
  @moduledoc "When the system is out of something: a clear error, nothing left, and the next command works."

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Error, Nif, Trees}

  defp ebin, do: Application.app_dir(:muontrap, "ebin")

  defp in_a_vm(limits, code) do
    script = "#{limits} && exec elixir -pa #{ebin()} -e \"$0\""
    System.cmd("sh", ["-c", script, code], stderr_to_stdout: true)
  end

  # Takes all descriptors that there are.
  @grab ~S"""
  # No module can be loaded without one.
  Application.load(:muontrap)

  for application <- [:elixir, :logger, :muontrap] do
    {:ok, modules} = :application.get_key(application, :modules)
    :ok = :code.ensure_modules_loaded(modules)
  end

  grab = fn grab, held ->
    case :file.open("/dev/null", [:raw, :read]) do
      {:ok, file} -> grab.(grab, [file | held])
      {:error, :emfile} -> held
    end
  end

  """

  test "out of descriptors in the VM is :emfile, and over when there are some again" do
    code =
      @grab <>
        ~S"""
        {"", 0} = MuonTrap.cmd("true", [], stderr_to_stdout: true, input: "x")
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

  # The spawner ended at the first of these, without a word.
  test "out of descriptors in the spawner or a shim is :emfile, and over when there are some again" do
    code = ~S"""
    {"", 0} = MuonTrap.cmd("true", [])
    spawner = MuonTrap.Nif.spawner_pid()
    open_in_spawner = length(File.ls!("/proc/#{spawner}/fd"))
    [_all, soft] = Regex.run(~r/^Max open files +(\d+)/m, File.read!("/proc/#{spawner}/limits"))

    limit = fn pid, soft ->
      {"", 0} = System.cmd("prlimit", ["--pid", "#{pid}", "--nofile=#{soft}:"])
    end

    group = System.get_env("MUONTRAP_TEST_GROUP", "")
    grouped = if group == "", do: [], else: [[cgroup_path: group]]

    for opts <- [[], [stderr_to_stdout: true, input: "x"] | grouped],
        who <- [:spawner, :ready_shim],
        free <- 0..12 do
      # The spawner's limit is that of the shims that it forks. One that is ready has its own.
      if who == :spawner, do: MuonTrap.Trees.none_ready()
      ready = fn -> hd(MuonTrap.Trees.children(spawner)) end
      limited = if who == :spawner, do: spawner, else: ready.()
      open = length(File.ls!("/proc/#{limited}/fd"))
      limit.(limited, open + free)

      outcome =
        try do
          {output, 0} = MuonTrap.cmd("sh", ["-c", "ulimit -n"], opts)
          true = output == "#{open + free}\n"
          :ran
        rescue
          error in ErlangError -> error.original
          error in MuonTrap.Error -> error.reason
        end

      true = outcome in [:ran, :emfile]
      if File.exists?("/proc/#{limited}"), do: limit.(limited, soft)
      {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
      [] = MuonTrap.list()
      # The same, with nothing left of what did not work.
      ^spawner = MuonTrap.Nif.spawner_pid()
      left = fn pid, count -> length(File.ls!("/proc/#{pid}/fd")) == count end
      true = MuonTrap.Trees.eventually(fn -> left.(spawner, open_in_spawner) end)
      # It is still ready, and has no descriptor more.
      if who == :ready_shim, do: true = ready.() == limited and left.(limited, open)
      IO.puts("#{who}-#{outcome}")
    end
    """

    group = if Cgroups.offers?([]), do: Path.join(Cgroups.base(), "descriptors"), else: ""
    assert {output, 0} = in_a_vm("export MUONTRAP_TEST_GROUP=#{group}", code)
    outcomes = output |> String.split() |> Enum.frequencies()

    assert %{"spawner-ran" => _, "spawner-emfile" => _} = outcomes
    assert %{"ready_shim-ran" => _, "ready_shim-emfile" => _} = outcomes
    refute group != "" and group in Cgroups.groups()
  end

  # It was stopped, and said to be lost.
  test "a program goes on, and gets its signals, though the VM has no room for its pidfd" do
    code =
      @grab <>
        ~S"""
        options = MuonTrap.Options.validate!(:cmd, "sleep", ["1000"], [])
        {"", 0} = MuonTrap.cmd("true", [])
        spawner = MuonTrap.Nif.spawner_pid()
        # A shell that is there already needs no descriptor.
        shell = Port.open({:spawn_executable, "/bin/sh"}, [:binary])
        Port.command(shell, "kill -STOP #{spawner}\n")
        stopped? = fn -> File.read!("/proc/#{spawner}/status") =~ ~r/^State:\tT/m end
        true = MuonTrap.Trees.eventually(stopped?)

        streams = {:null, :null, :null}
        {:ok, command} = MuonTrap.Command.start(options, streams, announce: true)
        held = grab.(grab, [])
        Port.command(shell, "kill -CONT #{spawner}\n")
        {{:started, _pid}, command} = MuonTrap.Command.next(command, :infinity)
        :ok = MuonTrap.Nif.signal(command.handle, 12)
        {{:ended, %{status: {:signaled, 12}}}, _command} = MuonTrap.Command.next(command, :infinity)
        Enum.each(held, &:file.close/1)
        IO.puts("signaled")
        """

    assert {output, 0} = in_a_vm("ulimit -n 80", code)
    assert output =~ "signaled"
  end

  test "many at once in a VM with 64 descriptors run, or are told :emfile" do
    code =
      @grab <>
        ~S"""
        run = fn number ->
          try do
            {output, 0} = MuonTrap.cmd("echo", ["#{number}"])
            true = output == "#{number}\n"
            :ran
          rescue
            error in ErlangError -> error.original
          end
        end

        {"", 0} = MuonTrap.cmd("true", [])

        1..500
        |> Task.async_stream(run, max_concurrency: 50, timeout: :infinity)
        |> Enum.each(fn {:ok, outcome} -> IO.puts(outcome) end)

        [] = MuonTrap.list()
        :ran = run.(0)
        """

    assert {output, 0} = in_a_vm("ulimit -n 64", code)
    outcomes = output |> String.split() |> Enum.frequencies()
    assert outcomes["ran"] > 0
    assert Map.drop(outcomes, ["ran", "emfile"]) == %{}
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

  test "a shim that is killed at any moment of the start leaves nothing" do
    parent = self()
    {"", 0} = MuonTrap.cmd("true", [])
    spawner = Nif.spawner_pid()

    # Kills shims as soon as it sees them, which is at a different step each time.
    killer =
      spawn_link(fn ->
        Stream.repeatedly(fn -> Trees.children(spawner) end)
        |> Enum.each(fn shims ->
          if shims != [], do: Trees.kill(shims, "KILL")
          send(parent, :looked)
        end)
      end)

    assert_receive :looked
    token = Trees.token()

    for _ <- 1..100 do
      try do
        MuonTrap.cmd("sleep", ["0.01"], env: [{"MUONTRAP_TOKEN", token}])
      rescue
        error in Error -> assert %{step: :shim, reason: :died} = error
      end
    end

    Process.unlink(killer)
    Process.exit(killer, :kill)
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    assert MuonTrap.list() == []
    assert {"", 0} = MuonTrap.cmd("true", [])
  end
end
