# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DeathPaths.ReadyShimTest do
  @moduledoc """
  Shims that are ready for a command: what may happen to them between two commands, and on the way from one to the
  other; and that nothing of a command is left in its shim for the next.
  """

  use MuonTrap.Case

  alias MuonTrap.{Command, Error, Nif, Options, OtherVM, Trees}

  @moduletag :death_paths
  @moduletag capture_log: true

  # Exactly one is ready.
  setup do
    {"", 0} = MuonTrap.cmd("true", [])
    assert Trees.eventually(fn -> Nif.ready_shims() == 1 and ready() |> length() == 1 end)
    [shim] = ready()
    %{shim: shim}
  end

  defp ready, do: Trees.children(Nif.spawner_pid()) -- Trees.at_work(Nif.spawner_pid())

  # Of a command that is started now.
  defp shim_of_next do
    {os_pid, 0} = MuonTrap.cmd("sh", ["-c", "echo $PPID"])
    os_pid |> String.trim() |> String.to_integer()
  end

  # A VM looks after a start that no shim has read after 0.7 s.
  @looks_after_ms 600

  defp gone?(pid), do: not File.exists?("/proc/#{pid}")

  defp cpu_ticks do
    fields = File.read!("/proc/self/stat") |> String.split(") ") |> List.last() |> String.split()
    String.to_integer(Enum.at(fields, 11)) + String.to_integer(Enum.at(fields, 12))
  end

  test "serves one command after another", %{shim: shim} do
    for _ <- 1..20, do: assert(shim_of_next() == shim)
  end

  test "serves the next after a start that failed", %{shim: shim} do
    assert_raise ErlangError, fn -> MuonTrap.cmd("/there/is/no/such", []) end
    assert catch_error(MuonTrap.cmd("true", [], cd: "/there/is/no/such"))
    assert shim_of_next() == shim
  end

  test "has nothing of one command left for the next", %{shim: shim} do
    describe = fn ->
      status = File.read!("/proc/#{shim}/status")
      # Not SigQ: signals of all processes of the user are counted there.
      wanted = ~r/^(Name|Umask|Sig(?!Q)\w+|Shd\w+|Cap\w+|Seccomp|NoNewPrivs|Uid|Gid):.*$/m

      %{
        status: Regex.scan(wanted, status),
        title: File.read!("/proc/#{shim}/cmdline"),
        cwd: File.read_link("/proc/#{shim}/cwd"),
        descriptors: File.ls!("/proc/#{shim}/fd") |> length(),
        nice: File.read!("/proc/#{shim}/stat") |> String.split(" ") |> Enum.at(18)
      }
    end

    # It has done what it does before it waits.
    assert Trees.eventually(fn -> File.read!("/proc/#{shim}/status") =~ "\nState:\tS" end)
    before = describe.()
    large = "head -c 60000000 /dev/zero | tail -c 60000000 >/dev/null; sleep 0 & exit 3"
    opts = [umask: 0o077, nice: 5, cd: System.tmp_dir!(), no_new_privs: true]
    assert %{exit_status: 3} = large = MuonTrap.run("sh", ["-c", large], opts)
    assert shim_of_next() == shim
    small = MuonTrap.run("true", [])
    assert small.usage.max_rss_bytes < div(large.usage.max_rss_bytes, 2)
    assert small.usage.user_us + small.usage.system_us < 1_000_000
    assert Trees.eventually(fn -> describe.() == before end), inspect({before, describe.()})
  end

  test "goes after a large command, whose memory it would keep" do
    large = String.duplicate("x", 100_000)
    assert {_text, 0} = MuonTrap.cmd("sh", ["-c", "echo ${#LARGE}"], env: [{"LARGE", large}])
    assert Trees.eventually(fn -> Nif.ready_shims() == 1 end)
  end

  test "as many are ready as were busy at once, and in the end one" do
    Trees.make_ready(10)
    assert Nif.ready_shims() >= 10
    assert Trees.eventually(fn -> Nif.ready_shims() == 1 and length(ready()) == 1 end)
  end

  test "is passed over when it was killed, and costs nothing", %{shim: shim} do
    for _ <- 1..10 do
      Trees.kill(hd(ready()), "KILL")
      assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
    end

    assert gone?(shim)
    Trees.kill(ready(), "KILL")
    assert Trees.eventually(fn -> Nif.ready_shims() == 0 end)
    # A reactor that would turn on a dead one takes all of this.
    before = cpu_ticks()
    receive(after: (500 -> :ok))
    assert cpu_ticks() - before < 25
    assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
  end

  test "is passed over within a moment when it is stopped, frozen or deaf", %{shim: shim} do
    Trees.kill(shim, "STOP")
    {us, result} = :timer.tc(fn -> MuonTrap.cmd("echo", ["x"]) end)
    assert result == {"x\n", 0}
    # It was woken, or killed and another took over. Without that it took 25 s.
    assert us < 10_000_000
  end

  test "goes with its spawner", %{shim: shim} do
    Trees.make_ready(3)
    shims = ready()
    assert shim in shims
    Trees.kill(Nif.spawner_pid(), "KILL")
    assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
    assert Trees.eventually(fn -> Enum.all?(shims, &gone?/1) end)
  end

  test "of a spawner that died with a command does not come back", %{shim: shim} do
    options = Options.validate!(:cmd, "cat", [], [])
    {:ok, command} = Command.start(options, {:pipe, :null, :null}, announce: true)
    assert {{:started, os_pid}, command} = Command.next(command, :infinity)
    assert Trees.parent(os_pid) == shim
    Trees.kill(Nif.spawner_pid(), "KILL")
    assert Trees.eventually(fn -> Nif.spawner_pid() == nil end)
    Nif.close_stdin(command.handle)
    assert {{:ended, _outcome}, _command} = Command.next(command, :infinity)
    assert Trees.eventually(fn -> gone?(shim) end)
    assert shim_of_next() != shim
  end

  test "that is killed with a command is answered for when all of that is gone", %{shim: shim} do
    for _ <- 1..20 do
      token = Trees.token()
      command = Trees.start(:new_session, token, [])
      shim = Trees.parent(Nif.info(command.handle).os_pid)
      Trees.kill(shim, "KILL")
      assert {{:lost, _failure, []}, _command} = skip_output(command)
      assert Trees.carrying(token) == []
      {"", 0} = MuonTrap.cmd("true", [])
    end

    assert gone?(shim)
  end

  defp skip_output(command) do
    case Command.next(command, :infinity) do
      {event, command} when elem(event, 0) in [:stdout, :stderr] -> skip_output(command)
      other -> other
    end
  end

  # The request is on its way: the shim has not read it.
  test "does not start a program whose owner's VM is gone" do
    directory = OtherVM.directory()

    # It ends as soon as the command is sent.
    code = """
    [marker, told] = System.argv()
    # The kernel closes what is open from the last number to the first: the socket to the spawner long before the one
    # to the shim, which takes the number of the first that is closed here.
    open = for _ <- 1..500, do: :socket.open(:inet, :dgram) |> elem(1)
    {"", 0} = MuonTrap.cmd("true", [])
    for socket <- Enum.take(open, 20), do: :socket.close(socket)
    spawner = MuonTrap.Nif.spawner_pid()
    shims = fn -> File.read!("/proc/\#{spawner}/task/\#{spawner}/children") |> String.split() end
    {"", 0} = System.cmd("kill", ["-KILL" | shims.()])
    gone = fn gone -> MuonTrap.Nif.ready_shims() == 0 || (Process.sleep(1) && gone.(gone)) end
    gone.(gone)
    {"", 0} = MuonTrap.cmd("true", [])
    wait = fn wait -> length(shims.()) == 1 || (Process.sleep(1) && wait.(wait)) end
    wait.(wait)
    true = MuonTrap.Nif.ready_shims() == 1
    [shim] = shims.()
    helpers = [shim, to_string(spawner)]
    {"", 0} = System.cmd("kill", ["-STOP" | helpers])
    # They stop when they have a processor, and would read before that what has come by then.
    stopped? = fn pid -> File.read!("/proc/\#{pid}/status") =~ "\nState:\tT" end
    wait = fn wait -> Enum.all?(helpers, stopped?) || (Process.sleep(1) && wait.(wait)) end
    wait.(wait)
    File.write!(told, "\#{System.os_time(:millisecond)} \#{shim} \#{spawner}")
    # Once it runs nothing but its end would end it.
    opts = [stop_signal: :sigcont, delay_to_sigkill: 60_000]
    options = MuonTrap.Options.validate!(:cmd, "touch", [marker], opts)
    {:ok, _sent} = MuonTrap.Command.start(options, {:null, :null, :null})
    :erlang.halt(0, flush: false)
    """

    command = OtherVM.elixir(directory) ++ ["-e", code]
    {helpers, marker} = helpers_of_gone(command, directory, 100)
    Trees.kill(helpers, "CONT")
    assert Trees.eventually(fn -> Enum.all?(helpers, &gone?/1) end)
    refute File.exists?(marker)
  end

  # The helpers of a VM that has sent a command to a stopped shim and ended before it looked after that, and what
  # the command would make. A VM that took longer, as on a busy machine, has had the command started elsewhere, where
  # it may still be at work: then it has to be another VM, and another file.
  # No command of ours, or its helpers would end with it.
  defp helpers_of_gone([elixir | args] = command, directory, tries) do
    [marker, told] = for name <- ["marker", "told"], do: Path.join(directory, "#{name}-#{tries}")
    {"", 0} = System.cmd(elixir, args ++ [marker, told])
    ended_ms = System.os_time(:millisecond)
    [sent_ms | helpers] = told |> File.read!() |> String.split() |> Enum.map(&String.to_integer/1)
    Trees.signal_on_exit(helpers)

    if ended_ms - sent_ms < @looks_after_ms do
      {helpers, marker}
    else
      assert tries > 0, "no VM ended in time"
      Trees.kill(helpers, "CONT")
      assert Trees.eventually(fn -> Enum.all?(helpers, &gone?/1) end)
      helpers_of_gone(command, directory, tries - 1)
    end
  end

  test "loses its command with an error if it is killed once it has read it" do
    for _ <- 1..30 do
      shim = hd(ready() ++ [0])
      task = Task.async(fn -> outcome(fn -> MuonTrap.cmd("echo", ["x"]) end) end)
      if shim != 0, do: Trees.kill(shim, "KILL")
      assert Task.await(task, 60_000) in [{"x\n", 0}, :died]
      {"", 0} = MuonTrap.cmd("true", [])
    end
  end

  defp outcome(fun) do
    fun.()
  rescue
    error in Error ->
      :died = error.reason
  end
end
