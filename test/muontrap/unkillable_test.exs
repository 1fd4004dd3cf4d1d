# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.UnkillableTest do
  @moduledoc """
  A tree that cannot be killed is reported and not waited for: the VM of an unprivileged user runs a program
  that becomes root.
  """

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Trees}

  # Nobody's, also where no user has that name.
  @uid 65_534
  @as_user ["--reuid=#{@uid}", "--regid=#{@uid}", "--clear-groups"]

  # What the VM has in common in all tests: the events of telemetry, and a bound. Whatever is not killed is
  # given up after half a second; the bound is for slow machines.
  @prelude ~S"""
  defmodule :telemetry do
    def execute(event, measurements, metadata),
      do: send(:test, {List.last(event), measurements, metadata})
  end

  Process.register(self(), :test)
  [program] = System.argv()
  {"", 0} = MuonTrap.cmd("true", [])

  events = fn events ->
    receive do
      {_name, _measurements, _metadata} = event -> [event | events.(events)]
    after
      0 -> []
    end
  end

  events.(events)

  bounded = fn fun ->
    {us, result} = :timer.tc(fun)
    true = us < 120_000_000
    result
  end
  """

  @epilogue ~S"""
  {"works\n", 0} = MuonTrap.cmd("echo", ["works"])
  [] = MuonTrap.list()
  IO.puts("over")
  """

  setup do
    directory = Path.join(System.tmp_dir!(), "muontrap-unkillable-#{Trees.token()}")
    # The user may not be able to reach where these are.
    library = Path.join(directory, "muontrap")
    File.mkdir_p!(library)
    for part <- ["ebin", "priv"], do: File.cp_r!(app(part), Path.join(library, part))
    program = Path.join(directory, "become_root")
    File.cp!(Trees.program("become_root"), program)
    {"", 0} = System.cmd("chmod", ["-R", "a+rX", directory])
    File.chmod!(program, 0o4755)

    on_exit(fn ->
      Trees.kill(running(directory), "KILL")
      assert Trees.eventually(fn -> running(directory) == [] end)
      File.rm_rf!(directory)
    end)

    %{directory: directory, program: program}
  end

  defp app(part), do: Application.app_dir(:muontrap, part)

  # The processes that run a program of this directory, and the VM: by what they are, for a pid may be used again.
  defp running(directory) do
    for name <- File.ls!("/proc"),
        {pid, ""} <- [Integer.parse(name)],
        {:ok, executable} <- [executable(pid)],
        {:ok, command_line} <- [File.read("/proc/#{pid}/cmdline")],
        String.contains?(executable <> command_line, directory <> "/"),
        do: pid
  end

  defp possible?(program) do
    cond do
      not Cgroups.root?() ->
        Cgroups.announce("root is needed for a program that becomes root")

      System.find_executable("setpriv") == nil ->
        Cgroups.announce("there is no setpriv to change the user with")

      not match?({_version, 0}, as_user(["elixir", "--version"])) ->
        Cgroups.announce("another user cannot run elixir")

      not match?({"", 0}, as_user([program, "--leave"])) ->
        Cgroups.announce("no program becomes root in #{System.tmp_dir!()}")

      true ->
        true
    end
  end

  defp as_user(command),
    do: System.cmd("setpriv", @as_user ++ command, cd: "/", stderr_to_stdout: true)

  # Runs the code as the user. Returns what it says, and the processes that it could not kill; those are killed.
  defp prove(%{directory: directory, program: program}, code) do
    port =
      Port.open({:spawn_executable, System.find_executable("setpriv")}, [
        :binary,
        :exit_status,
        :stderr_to_stdout,
        cd: ~c"/",
        env: [{~c"HOME", to_charlist(directory)}],
        args:
          @as_user ++
            ["elixir", "-pa", Path.join(directory, "muontrap/ebin")] ++
            ["-e", @prelude <> code <> @epilogue, program]
      ])

    output = await_over(port, "")
    left = for pid <- running(directory), executable(pid) == {:ok, program}, do: pid
    Trees.kill(left, "KILL")
    # Not before: the survivors have the standard error of their VM.
    assert_receive {^port, {:exit_status, 0}}
    # Not even a helper, once it has nothing to look after.
    assert Trees.eventually(fn -> running(directory) == [] end)
    {output, left}
  end

  defp executable(pid), do: File.read_link("/proc/#{pid}/exe")

  defp await_over(port, output) do
    cond do
      output =~ ~r/^over$/m ->
        output

      # Its exit status does not come, see above.
      output =~ ~r/^\*\* \(.+^    .+\n/ms ->
        flunk(output)

      true ->
        receive do
          {^port, {:data, data}} -> await_over(port, output <> data)
          {^port, {:exit_status, status}} -> flunk("the VM ended with #{status}: #{output}")
        after
          300_000 -> flunk("the VM says only: #{output}")
        end
    end
  end

  defp assert_logged(output, program, pid) do
    assert output =~ "[error] #{program} ended, but something of it is left."
    assert output =~ "Processes that cannot be killed: [#{pid}]."
  end

  test "a program that cannot be killed is given up, named in the result, logged and told of",
       context do
    if possible?(context.program) do
      code = ~S"""
      result = bounded.(fn -> MuonTrap.run(program, [], timeout: 5000, delay_to_sigkill: 10) end)
      %{status: :timeout, output: "ready\n", survivors: [pid], os_pid: pid} = result
      [{:start, _, _}, {:leftover, %{survivors: 1}, left}, {:stop, _, stop}] = events.(events)
      %{command: ^program, survivors: [^pid]} = left
      %{os_pid: ^pid, survivors: [^pid], stopped: true} = stop
      {"ready\n", :timeout} = bounded.(fn -> MuonTrap.cmd(program, [], timeout: 5000) end)
      """

      assert {output, [_, _] = left} = prove(context, code)
      for pid <- left, do: assert_logged(output, context.program, pid)
    end
  end

  test "a grandchild that cannot be killed does not keep the result of its program", context do
    if possible?(context.program) do
      code = ~S"""
      script = "{ #{program} & } | head -n 1; exit 3"
      result = bounded.(fn -> MuonTrap.run("sh", ["-c", script]) end)
      %{status: {:exited, 3}, output: "ready\n", survivors: [pid], timed_out: false} = result
      [{:start, _, _}, {:leftover, _, %{survivors: [^pid]}}, {:stop, _, _}] = events.(events)
      {"ready\n", 3} = bounded.(fn -> MuonTrap.cmd("sh", ["-c", script]) end)
      """

      assert {output, [_, _] = left} = prove(context, code)
      for pid <- left, do: assert_logged(output, "sh", pid)
    end
  end

  test "a program that cannot be killed is reported when its shim was killed, too", context do
    if possible?(context.program) do
      code = ~S"""
      task =
        Task.async(fn ->
          try do
            MuonTrap.run(program, [])
          rescue
            error in MuonTrap.Error -> error
          end
        end)

      os_pids = fn -> for %{os_pid: pid} when pid != nil <- MuonTrap.list(), do: pid end
      true = MuonTrap.Trees.eventually(fn -> os_pids.() != [] end)
      [pid] = os_pids.()
      status = fn -> File.read!("/proc/#{pid}/status") end
      true = MuonTrap.Trees.eventually(fn -> status.() =~ ~r/^Uid:\t0\t0\t0/m end)
      MuonTrap.Trees.kill(MuonTrap.Trees.parent(pid), "KILL")
      %{step: :shim, reason: :died} = bounded.(fn -> Task.await(task, :infinity) end)

      [{:start, _, _}, {:leftover, _, left}, {:exception, _, failed}] = events.(events)
      %{survivors: [^pid]} = left
      %{survivors: [^pid], reason: %MuonTrap.Error{step: :shim}} = failed
      """

      assert {output, [pid]} = prove(context, code)
      assert_logged(output, context.program, pid)
    end
  end

  test "what writes on and cannot be killed is not listened to for ever", context do
    if possible?(context.program) do
      code = ~S"""
      last = fn
        _last, {:cont, bytes} -> :binary.last(bytes)
        last, _end -> last
      end

      for window <- [1, 1_048_576] do
        opts = [timeout: 5000, delay_to_sigkill: 10, stdio_window: window]
        opts = [into: %MuonTrapTest.Sink{fun: last}] ++ opts
        result = bounded.(fn -> MuonTrap.run(program, ["--flood"], opts) end)
        %{status: :timeout, output: ?x, survivors: [_pid]} = result
      end

      fail = %MuonTrapTest.Sink{fun: fn _acc, _element -> raise "no more" end}

      try do
        bounded.(fn -> MuonTrap.run(program, ["--flood"], into: fail) end)
      rescue
        error in RuntimeError -> "no more" = error.message
      end
      """

      assert {_output, [_, _, _]} = prove(context, code)
    end
  end

  test "a Daemon whose program cannot be killed stops all the same", context do
    if possible?(context.program) do
      code = ~S"""
      opts = [delay_to_sigkill: 10, ready: {:output, ~r/ready/}]
      {:ok, supervisor} =
        Supervisor.start_link([{MuonTrap.Daemon, [program, [], opts]}], strategy: :one_for_one)

      [{_id, daemon, _type, _modules}] = Supervisor.which_children(supervisor)
      pid = MuonTrap.Daemon.os_pid(daemon)
      monitor = Process.monitor(daemon)
      :ok = bounded.(fn -> Supervisor.terminate_child(supervisor, MuonTrap.Daemon) end)
      receive do: ({:DOWN, ^monitor, :process, ^daemon, :shutdown} -> :ok)

      [{:start, _, %{owner: ^daemon}}, {:leftover, _, left}, {:stop, _, stop}] = events.(events)
      %{survivors: [^pid], owner: ^daemon} = left
      %{survivors: [^pid], stopped: true} = stop

      # The next start does not wait for what nobody can end.
      {:ok, _daemon} =
        bounded.(fn -> Supervisor.restart_child(supervisor, MuonTrap.Daemon) end)

      :ok = bounded.(fn -> Supervisor.stop(supervisor) end)
      """

      assert {output, [_, _] = left} = prove(context, code)
      for pid <- left, do: assert_logged(output, context.program, pid)
    end
  end
end
