# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.UpgradeTest do
  @moduledoc """
  The native module is loaded again while commands run. Their owners notice nothing, or the load is refused
  with words.
  """

  use ExUnit.Case, async: true

  alias MuonTrap.Trees

  # An owner of `cat` that has read a part of what it says, a caller of cmd/3 in the middle of one, and a Daemon.
  @running """
  alias MuonTrap.{Command, Nif, Options}

  start = fn -> Options.validate!(:daemon, "cat", [], stdin: :pipe) |> Command.start({:pipe, :pipe, :null}, announce: true) end
  {:ok, cat} = start.()
  {{:started, os_pid}, cat} = Command.next(cat, :infinity)
  {:ok, 5} = Nif.write(cat.handle, "before"|> binary_part(0, 5))
  {{:stdout, "befor"}, cat} = Command.next(cat, :infinity)

  main = self()
  caller = Task.async(fn -> MuonTrap.cmd("sh", ["-c", "echo one; read line; echo $line"], input: Stream.map(1..2, fn n -> send(main, {:pulls, self()}); receive(do: (:go -> "")); "line \#{n}\\n" end)) end)
  stay = spawn(fn -> {:ok, command} = start.(); receive(do: (:never -> command)) end)
  {:ok, daemon} = MuonTrap.Daemon.start_link("sleep", ["1000"])
  eventually = fn check -> true = MuonTrap.Trees.eventually(check) end
  eventually.(fn -> Enum.count(MuonTrap.list(), & &1.os_pid) == 4 end)
  """

  # All of them go on, and end as they would have.
  @go_on """
  %{os_pid: ^os_pid, done: false} = Nif.info(cat.handle)
  {:ok, 5} = Nif.write(cat.handle, "after")
  {{:stdout, "after"}, cat} = Command.next(cat, :infinity)
  :ok = Nif.signal(cat.handle, 0)
  4 = length(MuonTrap.list())
  {"new\\n", 0} = MuonTrap.cmd("echo", ["new"])
  for _ <- 1..2, do: receive(do: ({:pulls, puller} -> send(puller, :go)))
  {"one\\nline 1\\n", 0} = Task.await(caller)
  %{os_pid: number} = MuonTrap.Daemon.statistics(daemon)
  true = is_integer(number)
  :ok = GenServer.stop(daemon)
  Process.exit(stay, :kill)
  :ok = Nif.close_stdin(cat.handle)
  {{:ended, %{status: {:exited, 0}}}, cat} = Command.next(cat, :infinity)
  %{done: true} = Nif.info(cat.handle)
  eventually.(fn -> MuonTrap.list() == [] end)
  """

  @again "{:module, Nif} = :code.load_file(Nif)\n"
  @purge "false = :code.purge(Nif)\n"
  @gone "true = :code.delete(Nif)\nfalse = :code.purge(Nif)\n"

  for {name, steps} <- [
        {"loaded again", @again},
        {"loaded again and the old code purged", @again <> @purge},
        {"loaded and purged many times", String.duplicate(@again <> @purge, 20)},
        {"purged, and loaded by the next call", @gone},
        {"purged and loaded, many times, in any order",
         String.duplicate(@gone <> @again <> @purge <> @gone, 5)}
      ] do
    @tag steps: steps
    test "owners go on when the module is #{name}", %{steps: steps} do
      assert in_a_vm(@running <> steps <> @go_on) == "done\n"
    end
  end

  # A Daemon that waited was killed with the old code that its function ran below.
  test "Daemons and sessions go on, whatever they do, when each module is loaded and purged" do
    code = """
    {:ok, modules} = :application.get_key(:muontrap, :modules)
    notify = [ready: :notify, wait_for: fn -> :ok end, env: [{"A", "b"}], stop: [{"true", []}, :sigterm]]

    daemons =
      for {program, opts} <- [
            {"cat", [restart_backoff: true, log_output: :debug, logger_fun: &Function.identity/1]},
            {"true", [wait_for: fn -> receive(do: (:never -> :ok)) end]},
            {"false", [restart_backoff: [first: 60_000]]},
            {"cat", [wait_for: fn -> :ok end, ready: {:tcp, 1}, start_timeout: :infinity]},
            {"cat", notify}
          ] do
        {:ok, daemon} = MuonTrap.Daemon.start_link(program, [], opts)
        daemon
      end

    {:ok, session} = MuonTrap.open("cat", [])
    true = MuonTrap.Trees.eventually(fn -> length(MuonTrap.list()) == 5 end)

    # What looks whether a program is ready does so in the code of that moment.
    purge = fn
      MuonTrap.Daemon.Ready -> true = MuonTrap.Trees.eventually(fn -> :code.soft_purge(MuonTrap.Daemon.Ready) end)
      module -> :code.purge(module)
    end

    for module <- modules do
      for _ <- 1..2 do
        purge.(module)
        {:module, _} = :code.load_file(module)
      end

      purge.(module)
    end

    :ok = MuonTrap.Session.write(session, "on\n")
    {:ok, "on\n"} = MuonTrap.Session.read(session)
    for daemon <- daemons, do: %{} = MuonTrap.Daemon.statistics(daemon)
    for daemon <- daemons, do: :ok = GenServer.stop(daemon)
    """

    assert in_a_vm(code) =~ "done\n"
  end

  # A Daemon crashed that had commands to stop with, or was to start again, and so did a session with a timeout.
  test "Daemons and sessions start again and stop in order when each module is replaced by another version" do
    marker = Path.join(System.tmp_dir!(), Trees.token())
    on_exit(fn -> File.rm(marker) end)

    code = """
    stop = [{"sh", ["-c", "echo $NAME $MAINPID > #{marker}; kill $MAINPID"]}, 60_000]
    script = "trap 'exit 0' USR1; while :; do sleep 0.05; done"
    {:ok, stopped} = MuonTrap.Daemon.start_link("sleep", ["1000"], env: [{"NAME", "name"}], stop: stop)
    {:ok, again} = MuonTrap.Daemon.start_link("sh", ["-c", script], restart_backoff: [first: 1, on: :end], env: [{"A", "b"}])
    {:ok, session} = MuonTrap.open("sleep", ["1000"], timeout: 1_000_000_000)
    {:ok, full} = MuonTrap.open("cat", [], max_output: {2, :stop})
    os_pid = MuonTrap.Daemon.os_pid(stopped)

    # The same functions in another version: what was made by the one before is void once that is purged.
    version = fn module, number ->
      {^module, beam, file} = :code.get_object_code(module)
      {:ok, {_, [debug_info: {_, backend, data}]}} = :beam_lib.chunks(beam, [:debug_info])
      {:ok, forms} = backend.debug_info(:erlang_v1, module, data, [])
      {before, [name | rest]} = Enum.split_while(forms, &not match?({:attribute, _, :module, _}, &1))
      export = {:attribute, 1, :export, [version_for_test: 0]}
      {rest, ends} = Enum.split(rest, -1)
      function = {:function, 1, :version_for_test, 0, [{:clause, 1, [], [], [{:integer, 1, number}]}]}
      ends = if match?([{:eof, _}], ends), do: [function | ends], else: ends ++ [function]
      forms = before ++ [name, export | rest] ++ ends
      {:ok, ^module, changed} = :compile.noenv_forms(forms, [])
      {module, file, changed}
    end

    daemon = for name <- [Ending, Launch, Ready, Restart, Server, Start, State], do: Module.concat(MuonTrap.Daemon, name)
    modules = daemon ++ [MuonTrap.Bounds, MuonTrap.Session.Limits, MuonTrap.Session.Server]

    for number <- 1..2, {module, file, changed} <- Enum.map(modules, &version.(&1, number)) do
      :code.purge(module)
      {:module, ^module} = :code.load_binary(module, file, changed)
    end

    for module <- modules, do: :code.purge(module)
    2 = MuonTrap.Daemon.State.version_for_test()

    :ok = MuonTrap.Daemon.signal(again, :sigusr1)
    true = MuonTrap.Trees.eventually(fn -> MuonTrap.Daemon.statistics(again).restarts == 1 end)
    :ok = MuonTrap.Session.write(full, "more than two")
    {:ok, %{stopped_by: :max_output}} = (MuonTrap.Session.read(full); MuonTrap.Session.await(full))
    :ok = GenServer.stop(again)
    {:ok, _result} = MuonTrap.Session.stop(session)
    Process.unlink(stopped)
    :ok = GenServer.stop(stopped)
    true = File.read!("#{marker}") == "name \#{os_pid}\n"
    """

    assert in_a_vm(code) =~ "done\n"
  end

  test "commands that are started after each load are all their owners', and end with them" do
    code = """
    alias MuonTrap.{Command, Nif, Options}
    options = Options.validate!(:cmd, "sleep", ["1000"], [])
    start = fn -> Command.start(options, {:null, :null, :null}) end
    parent = self()

    # Linked, for what goes wrong in one is seen then.
    owner = fn ->
      {:ok, command} = start.()
      send(parent, :started)
      receive(do: (:stop -> send(parent, Command.abort(command))))
    end

    owners =
      for n <- 1..20 do
        :code.purge(Nif)
        if rem(n, 2) == 0, do: {:module, Nif} = :code.load_file(Nif)
        if rem(n, 3) == 0, do: :code.purge(Nif)

        if rem(n, 5) == 0 do
          :code.purge(Nif)
          :code.delete(Nif)
          :code.purge(Nif)
        end

        pid = spawn_link(owner)
        receive(do: (:started -> pid))
      end

    20 = length(MuonTrap.list())
    {stopped, killed} = Enum.split(Enum.shuffle(owners), 10)
    Enum.each(stopped, &send(&1, :stop))
    for _ <- stopped, do: receive(do: ({:ended, %{status: {:signaled, 15}}} -> :ok))
    for pid <- killed, do: Process.unlink(pid) && Process.exit(pid, :kill)
    true = MuonTrap.Trees.eventually(fn -> MuonTrap.list() == [] end)

    # And with their handles, which no variable of code that is evaluated holds on to.
    spawn_link(fn ->
      Enum.each(1..1, fn _ -> {:ok, _dropped} = start.() end)
      send(parent, :started)
      receive(do: (:never -> :ok))
    end)

    receive(do: (:started -> :ok))
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    true = MuonTrap.Trees.eventually(fn -> MuonTrap.list() == [] end)
    """

    assert in_a_vm(code) == "done\n"
  end

  test "another build is refused while commands run, in words, and replaces the library when none does" do
    code =
      another_build() <>
        @running <>
        """
        spawner = Nif.spawner_pid()
        {:error, :on_load_failure} = :code.load_file(Nif)
        """ <>
        @go_on <>
        """
        {:module, Nif} = :code.load_file(Nif)
        :code.purge(Nif)
        nil = Nif.spawner_pid()
        # The helpers of the one before go.
        eventually.(fn -> not File.exists?("/proc/\#{spawner}") end)
        {"works\\n", 0} = MuonTrap.cmd("echo", ["works"])
        # The binary that belongs to it.
        true = String.starts_with?(File.read_link!("/proc/\#{Nif.spawner_pid()}/exe"), to_string(:code.priv_dir(:muontrap)))
        """

    output = in_a_vm(code)
    assert output =~ "another build of it runs commands"
    assert output =~ "restart the VM"
    assert output =~ "done\n"
  end

  test "a handle of another build says so" do
    code =
      another_build() <>
        @running <>
        """
        #{@gone}
        %ErlangError{original: text} =
          try do
            Nif.next(cat.handle, 0)
          rescue
            error -> error
          end

        true = text =~ "start it again"
        %ErlangError{original: ^text} = try(do: Nif.info(make_ref()), rescue: (error -> error))
        """

    assert in_a_vm(code) == "done\n"
  end

  # The same, as far as the VM can tell, in another file.
  defp another_build do
    folder = Path.join(System.tmp_dir!(), Trees.token())
    on_exit(fn -> File.rm_rf!(folder) end)
    app = Path.join(folder, "muontrap")
    File.mkdir_p!(Path.join(app, "priv"))
    File.cp_r!(Application.app_dir(:muontrap, "ebin"), Path.join(app, "ebin"))

    for file <- ["muontrap_nif.so", "muontrap_spawner"],
        do:
          File.cp!(Application.app_dir(:muontrap, "priv/#{file}"), Path.join([app, "priv", file]))

    """
    {:module, MuonTrap.Nif} = Code.ensure_loaded(MuonTrap.Nif)
    true = :code.replace_path(:muontrap, #{inspect(to_charlist(Path.join(app, "ebin")))})
    """
  end

  # In a VM of its own, whose code it can take away.
  defp in_a_vm(code) do
    ebin = Application.app_dir(:muontrap, "ebin")
    code = code <> "\nIO.puts(\"done\")\n"
    args = ["-pa", ebin, "-e", "{:ok, _} = Application.ensure_all_started(:muontrap)\n" <> code]
    {output, status} = System.cmd("elixir", args, stderr_to_stdout: true)
    assert status == 0, output
    output
  end
end
