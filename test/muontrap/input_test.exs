# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.InputTest do
  @moduledoc """
  Enumerables as input: pulled on demand, and never in the way of the owner. A stream that did not end, or that
  blocked, held the call beyond its timeout and beyond the end of the program.
  """

  use ExUnit.Case

  alias MuonTrap.{Daemon, Trees}

  # Generous: a call that does not hold its timeout never returns.
  @moduletag timeout: 60_000

  setup do
    on_exit(fn -> assert Trees.eventually(fn -> feeders() == [] end) end)
  end

  defp feeders do
    for pid <- Process.list(),
        {:current_stacktrace, trace} <- [Process.info(pid, :current_stacktrace)],
        Enum.any?(trace, &(elem(&1, 0) == MuonTrap.Input.Feeder)),
        do: pid
  end

  # Tells when it is released.
  defp resource(next) do
    test = self()
    Stream.resource(fn -> 0 end, next, fn _acc -> send(test, :released) end)
  end

  defp endless(piece), do: resource(fn n -> {[piece], n + 1} end)
  defp blocked, do: resource(fn _n -> Process.sleep(:infinity) end)

  defp assert_released, do: assert_receive(:released, 10_000)

  defp assert_empty_mailbox, do: refute_received(_any)

  test "arrives whole, whatever the pieces" do
    pieces =
      for n <- 1..2_000,
          do: Enum.at(["", "x", ["io", [?d] | "ata"], String.duplicate("y", n)], rem(n, 4))

    expected = IO.iodata_to_binary(pieces)
    assert {^expected, 0} = MuonTrap.cmd("cat", [], input: Stream.map(pieces, & &1))
    assert_empty_mailbox()
  end

  for {name, piece} <- [
        pieces: "x",
        lines: "a line\n",
        nothing: "",
        much: String.duplicate("z", 300_000)
      ] do
    test "an endless stream of #{name} does not hold the timeout" do
      opts = [input: endless(unquote(piece)), timeout: 300, delay_to_sigkill: 50]
      assert {_output, :timeout} = MuonTrap.cmd("cat", [], [into: [], stdio_window: 1000] ++ opts)
      assert_released()
      assert_empty_mailbox()
    end

    test "an endless stream of #{name} does not hold the end of the program" do
      assert {"done\n", 3} =
               MuonTrap.cmd("sh", ["-c", "echo done; exit 3"], input: endless(unquote(piece)))

      assert_released()
      assert_empty_mailbox()
    end
  end

  test "a stream that blocks holds neither the timeout nor the end, and goes" do
    assert {"", :timeout} = MuonTrap.cmd("cat", [], input: blocked(), timeout: 300)
    assert {"", 4} = MuonTrap.cmd("sh", ["-c", "exit 4"], input: blocked())
    assert_empty_mailbox()
  end

  test "is released when :into raises" do
    # A FunctionClauseError, since Elixir 1.18 an ArgumentError.
    collected = fn -> MuonTrap.cmd("cat", [], input: endless("x"), into: %{}) end
    assert %kind{} = catch_error(collected.()) |> then(&Exception.normalize(:error, &1))
    assert kind in [FunctionClauseError, ArgumentError]
    assert_released()
    assert_empty_mailbox()
  end

  test "is released when the owner is killed" do
    stream = endless("x")
    {owner, monitor} = spawn_monitor(fn -> MuonTrap.cmd("sleep", ["1000"], input: stream) end)
    assert Trees.eventually(fn -> feeders() != [] end)
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^owner, :killed}, 10_000
    assert_released()
  end

  test "what it raises, throws or exits with reaches the caller, and the program is gone" do
    token = Trees.token()
    opts = fn next -> [input: resource(next), env: [{"MUONTRAP_TOKEN", token}]] end

    assert_raise RuntimeError, "from the stream", fn ->
      MuonTrap.cmd("sleep", ["1000"], opts.(fn _n -> raise "from the stream" end))
    end

    assert catch_throw(MuonTrap.cmd("sleep", ["1000"], opts.(fn _n -> throw(:ball) end))) == :ball
    assert catch_exit(MuonTrap.cmd("sleep", ["1000"], opts.(fn _n -> exit(:door) end))) == :door
    for _each <- 1..3, do: assert_released()
    assert Trees.carrying(token) == []
    assert_empty_mailbox()
  end

  test "a piece that is no iodata raises ArgumentError" do
    assert_raise ArgumentError, fn -> MuonTrap.cmd("cat", [], input: Stream.map([:x], & &1)) end
  end

  test "a caller that traps exits gets no message" do
    Process.flag(:trap_exit, true)
    assert {"abc", 0} = MuonTrap.cmd("cat", [], input: Stream.map(["a", "b", "c"], & &1))
    assert_empty_mailbox()
  end

  test "a piece that is no iodata shows in no stack trace" do
    stream = Stream.map([{:secret, "TOP"}], & &1)

    trace =
      try do
        MuonTrap.cmd("cat", [], input: stream)
      rescue
        error in ArgumentError -> {error, __STACKTRACE__}
      end

    refute inspect(trace, limit: :infinity) =~ "TOP"
  end

  test "what a stream raises that is released after the end is in the log" do
    stream = Stream.resource(fn -> 0 end, &{["x"], &1}, fn _acc -> raise "from after_fun" end)

    log =
      ExUnit.CaptureLog.capture_log(fn ->
        assert {"", 3} = MuonTrap.cmd("sh", ["-c", "exit 3"], input: stream)
        assert Trees.eventually(fn -> feeders() == [] end)
      end)

    assert log =~ "from after_fun"
  end

  test "small pieces are pulled ahead, but not far" do
    test = self()
    marker = Path.join(System.tmp_dir!(), Trees.token())
    on_exit(fn -> File.rm(marker) end)

    stream =
      Stream.map(1..100_000, fn n ->
        send(test, {:pulled, n})
        if n == 5_000, do: File.touch!(marker)
        "0123456789"
      end)

    # It reads nothing, and ends some time after so much was pulled.
    script = "until [ -e #{marker} ]; do sleep 0.05; done; sleep 0.3"
    assert {"", 0} = MuonTrap.cmd("sh", ["-c", script], input: stream)
    # What is in the pipe, and 4 KiB.
    refute_received {:pulled, 7_000}
  end

  test "no more than a piece is pulled ahead" do
    test = self()

    stream =
      Stream.map(1..1_000, fn n ->
        send(test, {:pulled, n})
        String.duplicate("x", 70_000)
      end)

    assert {"", 0} = MuonTrap.cmd("sh", ["-c", "sleep 0.3"], input: stream)
    # One fills the pipe, one waits to be written.
    refute_received {:pulled, 3}
  end

  test "a Daemon starts, answers and stops whatever its stream does" do
    for stream <- [blocked(), endless("x"), endless("")] do
      {:ok, daemon} = Daemon.start_link("cat", [], input: stream)
      assert is_integer(Daemon.os_pid(daemon))
      assert %{stdout_bytes: _bytes} = Daemon.statistics(daemon)
      GenServer.stop(daemon, :normal, 30_000)
    end
  end

  test "what the stream of a Daemon throws is an error there" do
    Process.flag(:trap_exit, true)
    stream = Stream.map([1], fn 1 -> throw(:ball) end)
    result = Daemon.start_link("sleep", ["1000"], input: stream)

    with {:ok, daemon} <- result,
         do: assert_receive({:EXIT, ^daemon, {{:nocatch, :ball}, _}}, 30_000)

    with {:error, reason} <- result, do: assert({{:nocatch, :ball}, _trace} = reason)
  end

  test "what the stream of a Daemon raises is the reason that it stops with" do
    Process.flag(:trap_exit, true)
    test = self()

    stream =
      Stream.map([1], fn 1 ->
        send(test, {:pulled_by, self()})
        receive(do: (:go_on -> raise("from the stream")))
      end)

    {:ok, daemon} = Daemon.start_link("sleep", ["1000"], input: stream)
    assert_receive {:pulled_by, puller}, 30_000
    send(puller, :go_on)
    assert_receive {:EXIT, ^daemon, {%RuntimeError{message: "from the stream"}, _trace}}, 30_000
  end
end
