# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.BoundsTest do
  @moduledoc "`:timeout`, `:idle_timeout` and `:max_output` of a conversation."

  use MuonTrap.Case

  alias MuonTrap.{Result, Session, Trees}

  @patience_ms 60_000

  setup do
    token = Trees.token()
    %{token: token, opts: [env: [{"MUONTRAP_TOKEN", token}], delay_to_sigkill: 50]}
  end

  defp open!(script, opts) do
    {:ok, session} = MuonTrap.open("sh", ["-c", script], opts)
    session
  end

  defp result(session) do
    assert {:ok, result} = Session.await(session, @patience_ms)
    result
  end

  describe "a program that says nothing" do
    @silent "setsid sleep 1000 & echo ready; exec sleep 1000"

    test "is stopped with its tree while a call waits for it", %{token: token, opts: opts} do
      session = open!(@silent, [idle_timeout: 300] ++ opts)
      assert Session.read_line(session, @patience_ms) in [{:ok, "ready"}, :eof]
      assert Session.read_line(session, @patience_ms) == :eof
      result = result(session)
      assert %Result{status: :idle_timeout, stopped_by: :idle_timeout, timed_out: false} = result
      assert result.truncated == false
      assert Trees.carrying(token) == []
    end

    test "is stopped while somebody waits for its end, or to write", %{opts: opts} do
      session = open!("exec sleep 1000", [idle_timeout: 100] ++ opts)
      assert %Result{status: :idle_timeout} = result(session)

      session = open!("exec sleep 1000", [idle_timeout: 100] ++ opts)
      assert Session.write(session, :binary.copy("x", 10_000_000)) == {:error, :closed}
      assert %Result{status: :idle_timeout} = result(session)
    end

    test "is stopped while its owner gets events, whatever is written to it", %{opts: opts} do
      session = open!("cat >/dev/null", [idle_timeout: 300, active: true] ++ opts)
      writer = spawn_link(fn -> write_on(session) end)
      assert_receive {:muontrap, ^session, {:exit, result}}, @patience_ms
      assert %Result{status: :idle_timeout} = result
      monitor = Process.monitor(writer)
      assert_receive {:DOWN, ^monitor, :process, ^writer, _reason}, @patience_ms
    end

    test "has all the time that nobody asks for something", %{opts: opts} do
      within_time(fn ms ->
        session = open!("read line; echo heard; exec sleep 1000", [idle_timeout: ms] ++ opts)
        receive(after: (2 * ms -> :ok))
        # Its time begins now.
        written = Session.write(session, "\n")
        heard = Session.read_line(session, @patience_ms)
        assert %Result{status: :idle_timeout} = result(session)
        if written == :ok and heard == {:ok, "heard"}, do: :ok
      end)
    end

    test "has its time in all, however often somebody asks in vain", %{opts: opts} do
      session = open!("exec sleep 1000", [idle_timeout: 400] ++ opts)
      assert ask_until_it_ends(session) == :eof
      assert %Result{status: :idle_timeout} = result(session)
    end

    test "and each byte begins its time anew", %{opts: opts} do
      within_time(fn ms ->
        # Twice that time in all.
        script = "for i in 1 2 3 4 5 6 7 8; do printf x; sleep #{ms / 1000}; done"
        session = open!(script, [idle_timeout: 4 * ms] ++ opts)
        read = Session.read_bytes(session, 8, @patience_ms)
        result = result(session)
        if read == {:ok, "xxxxxxxx"} and result.status == {:exited, 0}, do: :ok
      end)
    end

    test "is not idle any more while it is being stopped", %{opts: opts} do
      script = "trap '' TERM; echo ready; while :; do sleep 1; done"
      session = open!(script, [idle_timeout: 30_000] ++ opts)
      assert Session.read_line(session, @patience_ms) == {:ok, "ready"}

      assert {:ok, %Result{stopped_by: nil, status: {:signaled, :sigkill}}} =
               Session.stop(session)
    end
  end

  defp write_on(session) do
    case Session.write(session, "something\n") do
      :ok -> write_on(session)
      {:error, :closed} -> :ok
    end
  end

  defp ask_until_it_ends(session) do
    case Session.read(session, 20) do
      {:error, :timeout} -> ask_until_it_ends(session)
      other -> other
    end
  end

  describe "a program that says too much" do
    test "is stopped with its tree, and the first bytes can be read", %{token: token, opts: opts} do
      script = "setsid sleep 1000 & exec yes"
      session = open!(script, [max_output: {100_001, :stop}] ++ opts)
      {:ok, bytes} = Session.read_bytes(session, 100_001, @patience_ms)
      assert bytes == String.duplicate("y\n", 50_000) <> "y"
      assert Session.read(session, @patience_ms) == :eof
      result = result(session)
      assert %Result{status: :max_output, stopped_by: :max_output, truncated: true} = result
      assert Trees.carrying(token) == []
    end

    test "ends though nobody reads what is beyond, also within its grace", %{opts: opts} do
      script = "trap 'echo late; exit 3' TERM; yes & wait"
      opts = Keyword.put(opts, :delay_to_sigkill, 30_000)
      session = open!(script, [max_output: {1, :stop}] ++ opts)
      assert Session.read(session, @patience_ms) == {:ok, "y"}
      pid = session.pid
      assert Trees.eventually(fn -> not Enum.any?(MuonTrap.list(), &(&1.owner == pid)) end)
      assert %Result{status: :max_output, exit_status: 3} = result(session)
    end

    test "has as events what it may say", %{opts: opts} do
      session = open!("exec yes", [max_output: {3, :stop}, active: true] ++ opts)
      assert_receive {:muontrap, ^session, {:stdout, "y\ny"}}, @patience_ms
      assert_receive {:muontrap, ^session, {:exit, %Result{status: :max_output}}}, @patience_ms
      refute_received {:muontrap, _session, _event}
    end

    test "has whole lines, and both streams count", %{opts: opts} do
      session = open!("echo one; echo three; echo", [max_output: {6, :stop}, lines: 1] ++ opts)
      assert Session.read_line(session, @patience_ms) == {:ok, "one"}
      assert Session.read_line(session, @patience_ms) == :eof
      assert %Result{truncated: true} = result(session)

      script = "printf ab; printf cd >&2; exec sleep 1000"
      session = open!(script, [max_output: {3, :stop}, capture_stderr: true] ++ opts)
      {:ok, {_stream, one}} = Session.read(session, @patience_ms)
      {:ok, {_stream, two}} = Session.read(session, @patience_ms)
      assert byte_size(one <> two) == 3
      assert %Result{status: :max_output} = result(session)
    end

    test "has said no more than it may when that is all", %{opts: opts} do
      session = open!("printf abc", [max_output: {3, :stop}] ++ opts)
      assert Session.read_bytes(session, 3, @patience_ms) == {:ok, "abc"}
      assert %Result{status: {:exited, 0}, truncated: false, stopped_by: nil} = result(session)
    end
  end

  test "the first bound wins", %{opts: opts} do
    script = "trap '' TERM; echo abc; while :; do sleep 1; done"

    within_time(fn ms ->
      bounds = [max_output: {1, :stop}, idle_timeout: ms, timeout: 2 * ms]
      session = open!(script, bounds ++ Keyword.put(opts, :delay_to_sigkill, 3 * ms))
      result = result(session)
      if result.status == :max_output, do: :ok
    end)

    # Most of it nobody has taken by then.
    session = open!("exec yes", [max_output: {30_000, :stop}, timeout: 50] ++ opts)
    assert Trees.eventually(fn -> MuonTrap.list() == [] or stopping?(session) end)
    assert %Result{status: :timeout, timed_out: true} = result(session)
  end

  defp stopping?(session),
    do: Enum.any?(MuonTrap.list(), &(&1.owner == session.pid and &1.stopping))

  test "output of a conversation is not cut in silence" do
    for bad <- [1_000, {1_000, :truncate}] do
      assert_raise ArgumentError,
                   ~r/invalid option :max_output for MuonTrap.open\/3: expected {1000, :stop} or :infinity, as /,
                   fn -> MuonTrap.open("true", [], max_output: bad) end
    end

    for bad <- [-1, {-1, :stop}, {1, :drop}, :none] do
      assert_raise ArgumentError, ~r/invalid option :max_output for MuonTrap.open/, fn ->
        MuonTrap.open("true", [], max_output: bad)
      end
    end
  end
end
