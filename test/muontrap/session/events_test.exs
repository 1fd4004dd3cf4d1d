# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.EventsTest do
  @moduledoc "Conversations by messages to the owner: which come, how many, and the last of them."

  use MuonTrap.Case

  alias MuonTrap.{Result, Session, Trees}

  @patience_ms 60_000

  defp open!(script, opts) do
    {:ok, session} = MuonTrap.open("sh", ["-c", script], opts)
    session
  end

  defp command(session), do: Enum.find(MuonTrap.list(), &(&1.owner == session.pid))

  # An answer comes after every event that was sent before it.
  defp settle(session), do: {:ok, _pid} = Session.os_pid(session)

  # Takes events up to the last, and returns the output.
  defp collect(session, after_each, output \\ []) do
    receive do
      {:muontrap, ^session, {:exit, %Result{} = result}} ->
        {IO.iodata_to_binary(output), result}

      {:muontrap, ^session, {:stdout, bytes}} ->
        after_each.()
        collect(session, after_each, [output | bytes])
    after
      @patience_ms -> flunk("no event comes")
    end
  end

  test "nothing comes unasked" do
    session = open!("echo one", [])
    assert {:ok, "one\n"} = Session.read(session, @patience_ms)
    assert :eof = Session.read(session, @patience_ms)
    settle(session)
    refute_receive _
  end

  test "one event at a time is all of the output, and then the end" do
    {:ok, session} = MuonTrap.open("seq", ["50000"], active: :once)
    {output, result} = collect(session, fn -> Session.set_active(session, :once) end)
    assert output == Enum.map_join(1..50_000, &"#{&1}\n")
    assert result.status == {:exited, 0}
    assert Session.read(session) == {:error, :closed}
    refute_receive _
  end

  test "once is once, also for the end" do
    session = open!("echo one; read line; echo two", active: :once)
    assert_receive {:muontrap, ^session, {:stdout, "one\n"}}, @patience_ms
    {:ok, pid} = Session.os_pid(session)
    :ok = Session.write(session, "\n")
    assert Trees.eventually(fn -> not File.exists?("/proc/#{pid}") end)
    refute_receive _
    :ok = Session.set_active(session, :once)
    assert_receive {:muontrap, ^session, {:stdout, "two\n"}}, @patience_ms
    refute_receive _
    :ok = Session.set_active(session, :once)
    assert_receive {:muontrap, ^session, {:exit, %Result{}}}, @patience_ms
    refute_receive _
  end

  test "a number of events is that many, and then it says so" do
    {:ok, session} = MuonTrap.open("yes", [], active: 3, stdio_window: 4_096)
    for _ <- 1..3, do: assert_receive({:muontrap, ^session, {:stdout, _bytes}}, @patience_ms)
    assert_receive {:muontrap, ^session, :passive}, @patience_ms
    refute_receive _

    # From here on it can be read, and be told again.
    assert {:ok, "y"} = Session.read_line(session, @patience_ms)
    :ok = Session.set_active(session, 1)
    assert_receive {:muontrap, ^session, {:stdout, _bytes}}, @patience_ms
    assert_receive {:muontrap, ^session, :passive}, @patience_ms
    assert {:ok, _result} = Session.stop(session)
    refute_receive _
  end

  test "with true no more than a window is in the mailbox, until it is acknowledged" do
    window = 20_000
    {:ok, session} = MuonTrap.open("yes", [], active: true, stdio_window: window)

    held = fn ->
      for {:muontrap, ^session, {:stdout, bytes}} <- messages(), do: byte_size(bytes)
    end

    assert Trees.eventually(fn -> Enum.sum(held.()) == window end)
    settle(session)
    bytes = command(session).stdout_bytes
    assert Enum.sum(held.()) == window
    assert bytes <= 2 * window

    assert_received {:muontrap, ^session, {:stdout, first}}
    :ok = Session.ack(session)
    assert Trees.eventually(fn -> Enum.sum(held.()) == window end)
    settle(session)
    assert Enum.sum(held.()) == window
    assert command(session).stdout_bytes <= bytes + window + byte_size(first)
    assert Session.read(session) == {:error, :active}

    assert {:ok, _result} = Session.stop(session)
    assert messages() == []
  end

  test "acknowledged, all of it comes" do
    {:ok, session} = MuonTrap.open("seq", ["200000"], active: true)
    {output, _result} = collect(session, fn -> Session.ack(session) end)
    assert output == Enum.map_join(1..200_000, &"#{&1}\n")
    refute_receive _
  end

  test "lines come one by one, empty ones not without end" do
    session =
      open!("printf 'a\\n\\nb'; read line; echo c >&2",
        lines: 1,
        capture_stderr: true,
        active: true
      )

    for line <- ["a", ""],
        do: assert_receive({:muontrap, ^session, {:stdout, ^line}}, @patience_ms)

    :ok = Session.ack(session, 2)
    :ok = Session.write(session, "\n")
    assert_receive {:muontrap, ^session, {:stderr, "c"}}, @patience_ms
    assert_receive {:muontrap, ^session, {:stdout, "b"}}, @patience_ms
    :ok = Session.ack(session, 2)
    assert_receive {:muontrap, ^session, {:exit, %Result{}}}, @patience_ms
    refute_receive _

    {:ok, session} = MuonTrap.open("yes", [""], lines: 1, active: true, stdio_window: 1_000)
    assert Trees.eventually(fn -> length(messages()) == 1_000 end)
    settle(session)
    assert length(messages()) == 1_000
    assert {:ok, _result} = Session.stop(session)
    assert messages() == []
  end

  test "what waits to be read is read first" do
    session = open!("read line; echo one; echo two; exec sleep 1000", [])
    test = self()
    spawn_link(fn -> send(test, {:read, Session.read_line(session, @patience_ms)}) end)
    assert Trees.eventually(fn -> length(:sys.get_state(session.pid).readers) == 1 end)
    :ok = Session.set_active(session, true)
    :ok = Session.write(session, "\n")
    assert_receive {:read, {:ok, "one"}}, @patience_ms
    assert_receive {:muontrap, ^session, {:stdout, "two\n"}}, @patience_ms
    refute_receive _
  end

  test "another process that waits for the end takes nothing from the owner, who is told as well" do
    {:ok, session} = MuonTrap.open("seq", ["100000"], active: :once)
    waiting = Task.async(fn -> Session.await(session, @patience_ms) end)
    {output, result} = collect(session, fn -> Session.set_active(session, :once) end)
    assert output == Enum.map_join(1..100_000, &"#{&1}\n")
    assert Task.await(waiting) == {:ok, result}
    refute_receive _
  end

  test "an owner that is stopped by another process hears of it, one that waits itself has the answer" do
    {:ok, session} = MuonTrap.open("sleep", ["1000"], active: true)
    stopped = Task.async(fn -> Session.stop(session) end)
    assert_receive {:muontrap, ^session, {:exit, result}}, @patience_ms
    assert {:ok, ^result} = Task.await(stopped)

    # It has used up its events, and waits instead.
    session = open!("echo one; echo two", active: :once)
    assert_receive {:muontrap, ^session, {:stdout, _bytes}}, @patience_ms
    assert {:ok, %Result{status: {:exited, 0}}} = Session.await(session, @patience_ms)
    refute_receive _
  end

  test "the death of the helper is the last event" do
    {:ok, session} = MuonTrap.open("sleep", ["1000"], active: true)
    {:ok, pid} = Session.os_pid(session)
    Trees.kill(Trees.parent(pid), "KILL")
    assert_receive {:muontrap, ^session, {:error, %MuonTrap.Error{step: :shim}}}, @patience_ms
    refute_receive _
  end

  defmodule Calculator do
    @moduledoc false
    use GenServer

    @impl GenServer
    def init(:ok) do
      {:ok, session} =
        MuonTrap.open("sh", ["-c", "while read a b; do echo $((a * b)); done"],
          lines: 1024,
          active: true
        )

      {:ok, %{session: session, waiting: :queue.new()}}
    end

    @impl GenServer
    def handle_call({:multiply, a, b}, from, state) do
      :ok = Session.write(state.session, "#{a} #{b}\n")
      {:noreply, %{state | waiting: :queue.in(from, state.waiting)}}
    end

    @impl GenServer
    def handle_info({:muontrap, session, {:stdout, line}}, %{session: session} = state) do
      :ok = Session.ack(session)
      {{:value, from}, waiting} = :queue.out(state.waiting)
      GenServer.reply(from, String.to_integer(line))
      {:noreply, %{state | waiting: waiting}}
    end

    def handle_info({:muontrap, session, {:exit, result}}, %{session: session} = state),
      do: {:stop, {:shutdown, result.status}, state}
  end

  test "a GenServer talks to a program, and ends with it as it wants to" do
    {:ok, calculator} = GenServer.start(Calculator, :ok)
    on_exit(fn -> Process.exit(calculator, :kill) end)
    call = fn n -> GenServer.call(calculator, {:multiply, n, n}, @patience_ms) end

    answers =
      1..500
      |> Task.async_stream(call, timeout: @patience_ms, max_concurrency: 50)
      |> Enum.map(&elem(&1, 1))

    assert answers == for(n <- 1..500, do: n * n)

    monitor = Process.monitor(calculator)
    {:ok, pid} = Session.os_pid(:sys.get_state(calculator).session)
    Trees.kill(pid, "TERM")

    assert_receive {:DOWN, ^monitor, :process, _pid, {:shutdown, {:signaled, :sigterm}}},
                   @patience_ms

    refute_receive _
  end

  # To look for one takes those in that are on their way: without that a process that only sleeps has none.
  defp messages do
    refute_received :what_nobody_sends
    self() |> Process.info(:messages) |> elem(1)
  end
end
