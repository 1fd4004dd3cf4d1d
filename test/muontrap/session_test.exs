# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.SessionTest do
  @moduledoc "Conversations by calls: what is read, written, waited for, and how they end."

  use MuonTrap.Case

  alias MuonTrap.{Error, Result, Session, Trees}

  doctest MuonTrap.Session

  @patience_ms 60_000

  defp open!(script, opts \\ []) do
    {:ok, session} = MuonTrap.open("sh", ["-c", script], opts)
    session
  end

  # A program that does not read, and will when it is continued.
  defp stopped!(script) do
    session = open!("kill -STOP $$; exec " <> script)
    {:ok, pid} = Session.os_pid(session)
    assert Trees.eventually(fn -> File.read!("/proc/#{pid}/status") =~ ~r/^State:\tT/m end)
    session
  end

  defp command(session), do: Enum.find(MuonTrap.list(), &(&1.owner == session.pid))

  # What the native part has read of it, once that is more than it was and stays the same.
  defp bytes_read(session, more_than \\ 0) do
    assert Trees.eventually(fn -> command(session).stdout_bytes > more_than end)
    command(session).stdout_bytes
  end

  describe "a terminal" do
    test "has the size that it was given, and then another" do
      {:ok, session} = MuonTrap.open("sh", [], pty: [rows: 24, cols: 80])
      :ok = Session.write(session, "stty size\n")
      assert {:ok, _before, _match} = Session.expect(session, "24 80\r\n", @patience_ms)
      assert Session.resize(session, 40, 100) == :ok
      :ok = Session.write(session, "stty size\n")
      assert {:ok, _before, _match} = Session.expect(session, "40 100\r\n", @patience_ms)
      :ok = Session.close_stdin(session)
      assert {:ok, %Result{status: {:exited, 0}}} = Session.await(session)
    end

    test "is not there without :pty" do
      session = open!("read line")
      assert Session.resize(session, 40, 100) == {:error, :enotty}
      assert_raise ArgumentError, fn -> Session.resize(session, 0, 100) end
      assert {:ok, _result} = Session.stop(session)
    end
  end

  describe "reading" do
    test "gives what has come, then the end" do
      session = open!("printf one; read line; printf two")
      assert Session.read(session, @patience_ms) == {:ok, "one"}
      assert Session.read(session, 0) == {:error, :timeout}
      assert Session.write(session, "\n") == :ok
      assert Session.read(session, @patience_ms) == {:ok, "two"}
      assert Session.read(session, @patience_ms) == :eof
      assert Session.read_line(session) == :eof
      assert Session.expect(session, "two") == :eof
      assert {:ok, %Result{status: {:exited, 0}}} = Session.await(session, @patience_ms)
    end

    test "gives lines, the last one without its end, and exactly so many bytes" do
      session = open!(~S(printf 'one\n\nthree12345four'))
      assert Session.read_line(session, @patience_ms) == {:ok, "one"}
      assert Session.read_line(session, @patience_ms) == {:ok, ""}
      assert Session.read_bytes(session, 5, @patience_ms) == {:ok, "three"}
      assert Session.read_bytes(session, 5, @patience_ms) == {:ok, "12345"}
      assert Session.read_bytes(session, 5, @patience_ms) == :eof
      assert Session.read_line(session, @patience_ms) == {:ok, "four"}
      assert Session.read_line(session, @patience_ms) == :eof
    end

    test "is whole and in order, however much it is" do
      {:ok, session} = MuonTrap.open("seq", ["200000"])

      read = fn read, all ->
        case Session.read(session, @patience_ms) do
          {:ok, bytes} -> read.(read, [all | bytes])
          :eof -> IO.iodata_to_binary(all)
        end
      end

      assert read.(read, []) == Enum.map_join(1..200_000, &"#{&1}\n")
    end

    test "waits for what is expected, and leaves what comes after it" do
      session = open!("echo first; echo 'count=42;rest'; exec sleep 1000")

      assert Session.expect(session, ~r/(\w+)=(\d+);/, @patience_ms) ==
               {:ok, "first\n", ["count=42;", "count", "42"]}

      assert Session.expect(session, "t\n", @patience_ms) == {:ok, "res", ["t\n"]}
    end

    test "finds what comes in pieces" do
      session = open!("printf pass; read line; printf word:; exec sleep 1000")
      assert Session.expect(session, "word:", 50) == {:error, :timeout}
      :ok = Session.write(session, "\n")
      assert Session.expect(session, "password:", @patience_ms) == {:ok, "", ["password:"]}
    end

    test "knows of groups that did not match, and of characters that are cut" do
      session = open!(~S"printf 'x\303'; read line; printf '\251\377y'; exec sleep 1000")
      assert Session.expect(session, ~r/é/u, 50) == {:error, :timeout}
      :ok = Session.write(session, "\n")
      assert Session.expect(session, ~r/(a)?(é)/u, @patience_ms) == {:ok, "x", ["é", "", "é"]}
      assert Session.expect(session, ~r/y/u, @patience_ms) == {:ok, "\xFF", ["y"]}
    end

    test "that gives up takes nothing, whether its time is over or it is killed" do
      session = open!("printf some; read line; echo thing; exec sleep 1000")
      assert Session.read_line(session, 10) == {:error, :timeout}

      {reader, monitor} = spawn_monitor(fn -> Session.read_line(session, :infinity) end)
      assert Trees.eventually(fn -> Process.info(reader, :status) == {:status, :waiting} end)
      Process.exit(reader, :kill)
      assert_receive {:DOWN, ^monitor, :process, ^reader, :killed}

      :ok = Session.write(session, "\n")
      assert Session.read_line(session, @patience_ms) == {:ok, "something"}
    end

    test "answers several in the order in which they came" do
      session = open!("cat")

      tasks =
        for n <- 1..5 do
          task = Task.async(fn -> Session.read_line(session, @patience_ms) end)
          assert Trees.eventually(fn -> waiting(session) == n end)
          task
        end

      :ok = Session.write(session, "1\n2\n3\n4\n5\n")
      assert Task.await_many(tasks, @patience_ms) == for(n <- 1..5, do: {:ok, "#{n}"})
    end

    test "holds no more than it may for what is expected" do
      {:ok, session} = MuonTrap.open("yes", [], max_buffer: 50_000, stdio_window: 4_096)
      assert Session.expect(session, "no", @patience_ms) == {:error, :full}
      assert Session.expect(session, ~r/no/, @patience_ms) == {:error, :full}
      assert bytes_read(session) in 50_000..54_096
      assert {:ok, bytes} = Session.read(session)
      assert byte_size(bytes) in 50_000..54_096
      # What is asked for by its size may be more.
      assert {:ok, bytes} = Session.read_bytes(session, 200_000, @patience_ms)
      assert byte_size(bytes) == 200_000
    end

    test "tells the streams apart, or takes them as one" do
      script = "echo out; read line; echo err >&2; read line; echo out"
      session = open!(script, capture_stderr: true)
      assert Session.read(session, @patience_ms) == {:ok, {:stdout, "out\n"}}
      :ok = Session.write(session, "\n")
      assert Session.expect(session, {:stderr, ~r/r+/}, @patience_ms) == {:ok, "e", ["rr"]}
      :ok = Session.write(session, "\n")
      assert Session.read_line(session, @patience_ms) == {:ok, "out"}
      assert Session.read(session, @patience_ms) == {:ok, {:stderr, "\n"}}
      assert Session.read(session, @patience_ms) == :eof

      session = open!("echo out; echo err >&2", stderr_to_stdout: true)
      assert Session.expect(session, "err\n", @patience_ms) == {:ok, "out\n", ["err\n"]}

      session = open!("echo out; echo err >&2", capture_stderr_only: true)
      assert Session.read_line(session, @patience_ms) == {:ok, "err"}
      assert Session.read_line(session, @patience_ms) == :eof
    end

    test "gives whole lines with :lines, and nothing else" do
      session = open!("printf 'a\\n\\nb'; echo c >&2", lines: 1, capture_stderr: true)
      assert Session.read_line(session, @patience_ms) == {:ok, "a"}
      assert_raise ArgumentError, ~r/lines/, fn -> Session.expect(session, "a") end
      assert_raise ArgumentError, ~r/lines/, fn -> Session.read_bytes(session, 1) end
      rest = for _ <- 1..3, do: session |> Session.read(@patience_ms) |> elem(1)
      assert Enum.sort(rest) == [stderr: "c", stdout: "", stdout: "b"]
      assert Session.read(session, @patience_ms) == :eof
    end
  end

  describe "writing" do
    test "carries every byte, also where the answer is as large, from one process" do
      bytes = :crypto.strong_rand_bytes(700_000)
      {:ok, session} = MuonTrap.open("cat", [])
      # Pipes hold 64 KiB: without output being taken meanwhile both would wait for ever.
      assert Session.write(session, bytes) == :ok
      assert Session.read_bytes(session, 700_000, @patience_ms) == {:ok, bytes}
    end

    test "waits for a program that does not read, and goes on when it does" do
      session = open!("read line; exec wc -c")
      test = self()

      writer =
        spawn_link(fn ->
          send(test, {:wrote, Session.write(session, ["\n", String.duplicate("x", 1_000_000)])})
        end)

      stopped = stopped!("wc -c")

      blocked =
        spawn_link(fn ->
          send(test, {:blocked, Session.write(stopped, String.duplicate("x", 1_000_000))})
        end)

      assert_receive {:wrote, :ok}, @patience_ms
      assert Process.alive?(blocked)
      refute_received {:blocked, _}
      :ok = Session.signal(stopped, :sigcont)
      assert_receive {:blocked, :ok}, @patience_ms

      for session <- [session, stopped] do
        :ok = Session.close_stdin(session)
        assert Session.read_line(session, @patience_ms) == {:ok, "1000000"}
      end

      refute Process.alive?(writer)
      refute_receive _
    end

    test "says how far it came when its time is over" do
      {:ok, session} = MuonTrap.open("sleep", ["1000"])

      assert {:error, {:timeout, written}} =
               Session.write(session, String.duplicate("x", 200_000), 100)

      assert written in 4_096..199_999
      assert Session.write(session, "more", 10) == {:error, {:timeout, 0}}
      # It waited behind another one.
      test = self()
      spawn_link(fn -> send(test, {:first, Session.write(session, "first", :infinity)}) end)
      assert Trees.eventually(fn -> waiting_to_write(session) == 1 end)
      assert Session.write(session, "second", 10) == {:error, {:timeout, 0}}
      assert {:ok, _result} = Session.stop(session)
      assert_receive {:first, {:error, :closed}}, @patience_ms
      refute_receive _
    end

    test "of several does not mix, and what was begun is whole though the writer is killed" do
      session = stopped!("cat")

      write = fn byte ->
        spawn(fn -> Session.write(session, String.duplicate(byte, 150_000)) end)
      end

      [begun, other] =
        for {byte, n} <- [{"a", 1}, {"b", 2}] do
          pid = write.(byte)
          assert Trees.eventually(fn -> waiting_to_write(session) == n end)
          pid
        end

      Process.exit(begun, :kill)
      # This one has written nothing yet, and never will.
      Process.exit(other, :kill)
      assert Trees.eventually(fn -> waiting_to_write(session) == 1 end)
      :ok = Session.signal(session, :sigcont)
      :ok = Session.write(session, "c")
      expected = String.duplicate("a", 150_000) <> "c"
      assert Session.read_bytes(session, 150_001, @patience_ms) == {:ok, expected}
    end

    test "is over when the program, or the caller, has closed the input" do
      session = open!("exec <&-; echo closed; exec sleep 1000")
      assert {:ok, "closed"} = Session.read_line(session, @patience_ms)
      assert Session.write(session, "x") == {:error, :closed}

      {:ok, session} = MuonTrap.open("cat", [])
      :ok = Session.write(session, "all")
      assert Session.close_stdin(session) == :ok
      assert Session.close_stdin(session) == :ok
      assert Session.write(session, "x") == {:error, :closed}
      assert Session.read(session, @patience_ms) == {:ok, "all"}

      {:ok, session} = MuonTrap.open("cat", [], stdin: :null)
      assert Session.write(session, "x") == {:error, :closed}
      assert Session.read(session, @patience_ms) == :eof
      assert Session.write(session, "x") == {:error, :closed}
    end

    test "ends the input after what waits" do
      session = stopped!("wc -c")
      spawn_link(fn -> Session.write(session, String.duplicate("x", 300_000)) end)
      assert Trees.eventually(fn -> waiting_to_write(session) == 1 end)
      :ok = Session.close_stdin(session)
      :ok = Session.signal(session, :sigcont)
      assert Session.read_line(session, @patience_ms) == {:ok, "300000"}
    end
  end

  describe "bounded is" do
    test "what a program writes that nobody reads" do
      {:ok, session} = MuonTrap.open("yes", [], stdio_window: 20_000)
      bytes = bytes_read(session)
      assert bytes <= 20_000
      assert {:ok, pid} = Session.os_pid(session)
      # It waits in write(2).
      assert Trees.eventually(fn -> File.read!("/proc/#{pid}/stat") =~ ~r/\) S / end)
      for _ <- 1..100, do: Session.os_pid(session)
      assert command(session).stdout_bytes == bytes
      assert {:message_queue_len, 0} = Process.info(session.pid, :message_queue_len)
      {:memory, memory} = Process.info(session.pid, :memory)
      assert memory < 1_000_000
    end

    test "what is taken while somebody writes to a program that only writes" do
      {:ok, session} = MuonTrap.open("yes", [], max_buffer: 100_000)
      assert {:error, {:timeout, _}} = Session.write(session, String.duplicate("x", 200_000), 300)
      assert bytes_read(session) in 100_000..110_240
      assert {:ok, bytes} = Session.read(session)
      assert byte_size(bytes) in 100_000..110_240
    end
  end

  describe "the end" do
    test "is told once, to all that wait for it" do
      session = open!("read line; exit 3")
      waiting = for _ <- 1..3, do: Task.async(fn -> Session.await(session, @patience_ms) end)
      assert Trees.eventually(fn -> length(:sys.get_state(session.pid).awaiting) == 3 end)
      :ok = Session.write(session, "\n")
      assert [same, same, same] = Task.await_many(waiting, @patience_ms)
      assert {:ok, %Result{status: {:exited, 3}, output: nil}} = same

      for call <- [
            &Session.await/1,
            &Session.stop/1,
            &Session.read/1,
            &Session.read_line/1,
            &Session.os_pid/1,
            &Session.close_stdin/1,
            &Session.write(&1, "x"),
            &Session.signal(&1, 15),
            &Session.set_active(&1, true),
            &Session.controlling_process(&1, self())
          ],
          do: assert(call.(session) == {:error, :closed})

      assert Session.ack(session) == :ok
      refute_receive _
    end

    test "is waited for in vain if it does not come" do
      {:ok, session} = MuonTrap.open("sleep", ["1000"])
      assert Session.await(session, 10) == {:error, :timeout}
      assert {:ok, %Result{status: {:signaled, _signal}}} = Session.stop(session, 0)
    end

    test "comes though nobody has read, but what another process reads is not dropped" do
      assert {:ok, %Result{status: {:exited, 0}}} =
               "seq 100000" |> open!() |> Session.await(@patience_ms)

      {:ok, session} = MuonTrap.open("seq", ["100000"])
      test = self()

      reader =
        spawn_link(fn ->
          {:ok, "1"} = Session.read_line(session, @patience_ms)
          send(test, :reads)
          receive(do: (:go_on -> :ok))

          lines = Stream.repeatedly(fn -> Session.read_line(session, @patience_ms) end)
          send(test, {:read, Enum.count(Stream.take_while(lines, &(&1 != :eof)))})
        end)

      assert_receive :reads, @patience_ms
      assert Session.await(session, 300) == {:error, :timeout}
      waiting = Task.async(fn -> Session.await(session, @patience_ms) end)
      send(reader, :go_on)
      assert_receive {:read, 99_999}, @patience_ms
      assert {:ok, %Result{status: {:exited, 0}}} = Task.await(waiting, @patience_ms)
      refute_receive _
    end

    test "comes when the process that has read is gone" do
      {:ok, session} = MuonTrap.open("seq", ["100000"])
      assert {:ok, "1"} = Task.await(Task.async(fn -> Session.read_line(session) end))
      assert {:ok, %Result{status: {:exited, 0}}} = Session.await(session, @patience_ms)
    end

    test "is that of :timeout, and what was written before can be read" do
      assert {:ok, session} =
               MuonTrap.open("sh", ["-c", "echo early; exec sleep 1000"], timeout: 500)

      assert Session.read_line(session, @patience_ms) == {:ok, "early"}
      assert Session.read_line(session, @patience_ms) == :eof

      assert {:ok, %Result{status: :timeout, timed_out: true}} =
               Session.await(session, @patience_ms)
    end

    test "by a stop is that of the whole tree, and those that wait hear of it" do
      token = Trees.token()
      script = "setsid sleep 1000 & trap '' TERM; echo ready; while :; do sleep 1000; done"
      session = open!(script, env: [{"MUONTRAP_TOKEN", token}], delay_to_sigkill: 100)
      assert Session.read_line(session, @patience_ms) == {:ok, "ready"}
      reader = Task.async(fn -> Session.read(session, @patience_ms) end)
      assert Trees.eventually(fn -> waiting(session) == 1 end)
      assert {:ok, %Result{status: {:signaled, :sigkill}}} = Session.stop(session)
      assert Trees.carrying(token) == []
      assert Task.await(reader) == {:error, :closed}
      refute Process.alive?(session.pid)
    end

    test "is an error when the helper is killed" do
      session = open!("exec sleep 1000")
      {:ok, pid} = Session.os_pid(session)
      Trees.kill(Trees.parent(pid), "KILL")
      # Whoever reads does not take it for the end of the output.
      assert {:error, %Error{step: :shim, reason: :died}} = Session.read(session, @patience_ms)
      assert {:error, %Error{step: :shim, reason: :died}} = Session.await(session, @patience_ms)
    end
  end

  test "a program that cannot be started is an error, and leaves no process" do
    before = length(Process.list())
    assert {:error, %Error{step: :lookup, reason: :enoent}} = MuonTrap.open("no_such_program", [])
    assert {:error, %Error{step: :chdir}} = MuonTrap.open("cat", [], cd: "/nowhere")
    assert Trees.eventually(fn -> length(Process.list()) <= before end)

    for opts <- [[input: "x"], [into: []], [name: :x], [active: 0], [active: :twice]],
        do: assert_raise(ArgumentError, fn -> MuonTrap.open("cat", [], opts) end)

    refute_receive _
  end

  test "what is no pattern, mode, time or signal raises, and the session goes on" do
    {:ok, session} = MuonTrap.open("cat", [])

    for mistake <- [
          fn -> Session.expect(session, "") end,
          fn -> Session.expect(session, :word) end,
          fn -> Session.expect(session, {:stderr, nil}) end,
          fn -> Session.read(session, -1) end,
          fn -> Session.set_active(session, 0) end,
          fn -> Session.signal(session, :sigfoo) end
        ],
        do: assert_raise(ArgumentError, mistake)

    :ok = Session.write(session, "x")
    assert {:ok, "x"} = Session.read(session)
  end

  test "neither input nor output nor arguments are in the state that a crash report shows" do
    {:ok, session} = MuonTrap.open("sh", ["-c", "cat; : secret"], env: [{"A", "secret"}])
    :ok = Session.write(session, "secret")
    spawn_link(fn -> Session.expect(session, "secret more") end)
    assert Trees.eventually(fn -> waiting(session) == 1 end)
    shown = inspect(:sys.get_status(session.pid), limit: :infinity, printable_limit: :infinity)
    # Older ones know no format_status/1.
    if :erlang.system_info(:otp_release) >= ~c"25", do: refute(shown =~ "secret")
  end

  defp waiting(session), do: length(:sys.get_state(session.pid).readers)
  defp waiting_to_write(session), do: length(:sys.get_state(session.pid).writers.queue)
end
