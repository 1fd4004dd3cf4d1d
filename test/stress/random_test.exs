# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Stress.RandomTest do
  @moduledoc """
  200 at once do at random whatever can be done, while the spawner is killed now and then. Each gets exactly
  what it has to get, and in the end nothing is left.

  `MUONTRAP_STRESS_SECONDS` says how long, 45 if it is not set. What each does is drawn from ExUnit's seed,
  `--seed` does it again; when it happens is never the same.
  """

  use MuonTrap.Case

  import MuonTrap.Generators, only: [int: 1, one_of: 1, bytes: 1]

  alias MuonTrap.{Cgroups, Command, Counts, Daemon, Error, Nif, Trees}

  @moduletag :stress
  @moduletag capture_log: true
  @moduletag timeout: :infinity

  @at_once 200
  @spawner_killed_every_ms 100..300
  # Of so many actions one is looked after in /proc, which takes as long as many.
  @looked_after 100

  @actions [
    :output,
    :status,
    :input,
    :unread_input,
    :timeout,
    :flood,
    :owner_killed,
    :daemon,
    :shim_killed,
    :not_there,
    :raise
  ]

  # As test_programs/src/pattern.rs has it.
  @pattern_bytes 200_000
  @pattern 0..div(@pattern_bytes, 16)
           |> Enum.map_join(&(String.pad_leading("#{&1}", 15, "0") <> "\n"))

  # What survives a kind word, and says when it stands.
  @tree "trap '' TERM; sleep 1000 & setsid sleep 1000 & echo ready; wait"

  test "200 at once, at random" do
    seconds = System.get_env("MUONTRAP_STRESS_SECONDS", "45") |> String.to_integer()
    seed = ExUnit.configuration()[:seed]
    IO.puts(:stderr, "\n#{seconds} s of random work with seed #{seed}")

    world = %{
      token: Trees.token(),
      base: if(Cgroups.offers?([]), do: Cgroups.base()),
      kills: :counters.new(1, []),
      until: System.monotonic_time(:millisecond) + seconds * 1000
    }

    before = Counts.settled()
    killer = Task.async(fn -> kill_spawners(world, seed) end)

    reports =
      1..@at_once
      |> Task.async_stream(&work(world, seed, &1), max_concurrency: @at_once, timeout: :infinity)
      |> Enum.map(fn {:ok, report} -> report end)

    kills = Task.await(killer, :infinity)
    failures = for %{failed: text} <- reports, do: text
    assert failures == [], Enum.join(failures, "\n\n")

    assert Trees.eventually(fn -> Trees.carrying(world.token) == [] end)
    assert Trees.eventually(fn -> MuonTrap.list() == [] end)

    # Of a spawner that was killed the shims have found another parent, and are gone with their trees.
    _settled = Counts.settled()
    Counts.assert_back(before)

    done = Enum.reduce(reports, %{}, &Map.merge(&1, &2, fn _key, one, other -> one + other end))
    IO.puts(:stderr, "#{inspect(done)}, #{kills} spawners killed")
    for action <- @actions, do: assert(done[action] > 0)
  end

  # An odd number of counts: a spawner is about to die.
  defp kill_spawners(world, seed) do
    :rand.seed(:exsss, {seed, 0, 0})

    Stream.repeatedly(fn ->
      receive(after: (int(@spawner_killed_every_ms) -> Nif.spawner_pid()))
    end)
    |> Enum.take_while(fn _pid -> left_ms(world) > 0 end)
    |> Enum.map(fn pid ->
      :counters.add(world.kills, 1, 1)
      if pid, do: Trees.kill(pid, "KILL")
      true = Trees.eventually(fn -> Nif.spawner_pid() != pid end)
      :counters.add(world.kills, 1, 1)
    end)
    |> length()
  end

  defp left_ms(world), do: world.until - System.monotonic_time(:millisecond)

  defp work(world, seed, number) do
    :rand.seed(:exsss, {seed, number, 0})
    repeat(world, number, %{})
  end

  defp repeat(world, number, done) do
    action = one_of(@actions)

    if left_ms(world) > 0 do
      try do
        outcome = once(world, action)
        repeat(world, number, Map.update(done, outcome, 1, &(&1 + 1)))
      rescue
        error ->
          text = Exception.format(:error, error, __STACKTRACE__)
          %{failed: "#{number}, after #{inspect(done)}, #{action}: #{text}"}
      end
    else
      done
    end
  end

  defp once(world, action) do
    token = "#{world.token}-#{System.unique_integer([:positive])}-end"
    opts = [env: [{"MUONTRAP_TOKEN", token}], delay_to_sigkill: int(0..50)]
    opts = if world.base && int(1..4) == 1, do: [{:cgroup_base, world.base} | opts], else: opts
    kills = :counters.get(world.kills, 1)

    try do
      act(action, opts)
      if int(1..@looked_after) == 1, do: assert_gone(action, token)
      assert Process.info(self(), :messages) == {:messages, []}
      action
    rescue
      # What is on its way to a spawner is lost with it, and the owner is told.
      error in Error ->
        spawner_killed? = rem(kills, 2) == 1 or :counters.get(world.kills, 1) != kills
        unless spawner_killed? and error.reason == :died, do: reraise(error, __STACKTRACE__)
        :lost
    end
  end

  # Nobody waits for the end of these.
  defp assert_gone(action, token) when action in [:owner_killed, :daemon],
    do: assert(Trees.eventually(fn -> Trees.carrying(token) == [] end))

  defp assert_gone(_action, token), do: assert(Trees.carrying(token) == [])

  defp act(:output, opts) do
    size = int(0..@pattern_bytes)
    window = one_of([1_000, 4_096, 10_240, 65_536, 1_000_000])
    opts = [{:stdio_window, window} | opts]
    {output, 0} = MuonTrap.cmd(Trees.program("write_then_exit"), ["#{size}"], opts)
    assert output == binary_part(@pattern, 0, size)
  end

  defp act(:status, opts) do
    code = int(0..255)
    assert {"", ^code} = MuonTrap.cmd(Trees.program("exit_with"), ["#{code}"], opts)
    number = one_of([1, 2, 3, 9, 10, 12, 15, 34, 64])
    script = "kill -#{number} $$; sleep 1000"
    assert {"", status} = MuonTrap.cmd("sh", ["-c", script], [{:rlimits, [core: 0]} | opts])
    assert status == 128 + number
  end

  defp act(:input, opts) do
    input = bytes(300_000)
    assert {^input, 0} = MuonTrap.cmd("cat", [], [{:input, input} | opts])
    pieces = for _ <- 1..20, do: bytes(2_000)
    assert {output, 0} = MuonTrap.cmd("cat", [], [{:input, Stream.map(pieces, & &1)} | opts])
    assert output == IO.iodata_to_binary(pieces)
  end

  defp act(:unread_input, opts) do
    input = :binary.copy("x", 1_000_000)
    assert {"", 0} = MuonTrap.cmd("true", [], [{:input, input} | opts])
  end

  defp act(:timeout, opts) do
    opts = [{:timeout, int(1..200)} | opts]
    assert {output, :timeout} = MuonTrap.cmd("sh", ["-c", @tree], opts)
    assert output in ["", "ready\n"]
  end

  defp act(:flood, opts) do
    count = fn
      bytes, {:cont, more} -> bytes + byte_size(more)
      bytes, _end -> bytes
    end

    opts = [timeout: int(1..100), into: %MuonTrapTest.Sink{acc: 0, fun: count}] ++ opts
    assert {bytes, :timeout} = MuonTrap.cmd("yes", [], opts)
    assert is_integer(bytes)
  end

  defp act(:owner_killed, opts) do
    {owner, monitor} = spawn_monitor(fn -> MuonTrap.cmd("sh", ["-c", @tree], opts) end)
    receive(after: (int(0..50) -> Process.exit(owner, :kill)))
    assert_receive {:DOWN, ^monitor, :process, ^owner, reason}
    # Lost with its spawner, before it could be killed.
    assert reason == :killed or match?({%Error{reason: :died}, _stacktrace}, reason)
  end

  defp act(:daemon, opts) do
    opts = [ready: {:output, ~r/ready/}, start_timeout: 300_000, logger_fun: &byte_size/1] ++ opts
    Process.flag(:trap_exit, true)

    case Daemon.start_link("sh", ["-c", @tree], opts) do
      {:ok, daemon} ->
        end_daemon(daemon, one_of([:stop, :signal, :kill, :shutdown]))

      {:error, error} ->
        assert_receive {:EXIT, _daemon, {:shutdown, ^error}}
        raise error
    end
  after
    Process.flag(:trap_exit, false)
  end

  defp act(:shim_killed, opts) do
    options = MuonTrap.Options.validate!(:cmd, "sleep", ["1000"], opts)
    {:ok, command} = Command.start(options, {:null, :pipe, :null}, announce: true)

    case Command.next(command, :infinity) do
      {{:started, pid}, command} ->
        Trees.kill(Trees.parent(pid), "KILL")
        assert {{:lost, {:shim, "", :died}, []}, _command} = Command.next(command, :infinity)

      {{:lost, failure, []}, _command} ->
        raise Command.error(failure)
    end
  end

  defp act(:not_there, opts) do
    assert %ErlangError{original: :enoent} =
             raised(fn -> MuonTrap.cmd("/no/such/program", [], opts) end)
  end

  defp act(:raise, opts) do
    fun = fn
      _acc, {:cont, _bytes} -> raise "on purpose"
      acc, _end -> acc
    end

    opts = [{:into, %MuonTrapTest.Sink{fun: fun}} | opts]
    assert raised(fn -> MuonTrap.cmd("yes", [], opts) end) == %RuntimeError{message: "on purpose"}
  end

  # With assert_raise an error of a lost spawner would be another one.
  defp raised(fun) do
    fun.()
  rescue
    error in [ErlangError, RuntimeError] -> error
  end

  defp end_daemon(daemon, :stop) do
    :ok = GenServer.stop(daemon, :normal, :infinity)
    assert_receive {:EXIT, ^daemon, :normal}
  end

  defp end_daemon(daemon, :signal) do
    :ok = Daemon.signal(daemon, :sigkill)
    assert_receive {:EXIT, ^daemon, :error_exit_status}
  end

  defp end_daemon(daemon, reason) do
    ended = %{kill: :killed, shutdown: :shutdown}[reason]
    Process.exit(daemon, reason)
    assert_receive {:EXIT, ^daemon, ^ended}
  end
end
