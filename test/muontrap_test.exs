# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrapTest do
  use ExUnit.Case
  doctest MuonTrap

  defp program(name), do: Application.app_dir(:muontrap, "priv/test_programs/#{name}")

  setup do
    on_exit(fn -> assert MuonTrap.list() == [] end)
  end

  defp no_message, do: refute_received(_)

  test "returns all 256 exit codes" do
    for code <- 0..255 do
      assert {"", ^code} = MuonTrap.cmd(program("exit_with"), ["#{code}"])
    end

    no_message()
  end

  test "returns 128 and the number for every signal that ends a program" do
    # Those whose default is to end it, real-time signals among them; see signal(7).
    ending = Enum.to_list(1..16) ++ Enum.to_list(24..27) ++ [29, 30, 31] ++ Enum.to_list(34..64)

    for number <- ending do
      assert {"", status} =
               MuonTrap.cmd("sh", ["-c", "kill -#{number} $$; sleep 100"], rlimits: [core: 0])

      assert status == 128 + number
    end
  end

  test "delivers the whole of 66,890 bytes printed right before the exit, 1,000 times" do
    for _ <- 1..1000 do
      {output, 0} = MuonTrap.cmd(program("write_then_exit"), ["66890"])
      assert byte_size(output) == 66_890
    end

    no_message()
  end

  test "delivers output larger than any window, in order" do
    {output, 0} = MuonTrap.cmd("seq", ["1", "200000"])
    assert output == Enum.map_join(1..200_000, &"#{&1}\n")
  end

  test "raises what System.cmd raises" do
    for {command, opts} <- [
          {"no-such-program", []},
          {"/no/such/program", []},
          {"true", cd: "/no/such"}
        ] do
      assert_raise ErlangError, ~r/:enoent/, fn -> MuonTrap.cmd(command, [], opts) end
    end

    assert_raise ErlangError, ~r/:eacces/, fn -> MuonTrap.cmd("/etc", []) end
    assert_raise ErlangError, ~r/:eacces/, fn -> MuonTrap.cmd("/etc/passwd", []) end

    script = Path.join(System.tmp_dir!(), "muontrap-#{System.unique_integer([:positive])}")
    File.write!(script, "echo hello\n")
    File.chmod!(script, 0o755)
    on_exit(fn -> File.rm(script) end)
    assert_raise ErlangError, ~r/:enoexec/, fn -> MuonTrap.cmd(script, []) end
    no_message()
  end

  test "takes arguments up to the kernel's limit and raises :e2big beyond" do
    # One argument may have 128 KiB with its NUL, see execve(2).
    longest = String.duplicate("a", 131_071)
    assert {output, 0} = MuonTrap.cmd("echo", ["-n", longest])
    assert output == longest
    assert_raise ErlangError, ~r/:e2big/, fn -> MuonTrap.cmd("echo", [longest <> "a"]) end

    many = List.duplicate(String.duplicate("b", 100_000), 200)
    assert_raise ErlangError, ~r/:e2big/, fn -> MuonTrap.cmd("true", many) end
    assert {"", 0} = MuonTrap.cmd("true", [])
  end

  test "refuses what makes no sense" do
    assert_raise ArgumentError, ~r/got: <<97, 0, 98>>/, fn -> MuonTrap.cmd("echo", ["a\0b"]) end
    assert_raise ArgumentError, ~r/got: :x/, fn -> MuonTrap.cmd("echo", [:x]) end
    assert_raise ArgumentError, ~r/unknown option :no/, fn -> MuonTrap.cmd("echo", [], no: 1) end
  end

  test "says which user it does not know, and runs nothing" do
    error = assert_raise MuonTrap.Error, fn -> MuonTrap.cmd("true", [], uid: "no-such-user") end

    assert %{step: :setuid, subject: "no-such-user", reason: :unknown_user} = error
  end

  test "gives the program an empty standard input, default signals and no stray descriptor" do
    assert {"", 0} = MuonTrap.cmd("cat", [])

    {status, 0} = MuonTrap.cmd("cat", ["/proc/self/status"])
    assert status =~ ~r/SigIgn:\t0+\n/
    assert status =~ ~r/SigBlk:\t0+\n/

    {fds, 0} = MuonTrap.cmd("sh", ["-c", "ls /proc/$$/fd"], lines: 100, into: [])
    assert fds == ["0", "1", "2"]
  end

  test "sets, unsets and clears variables" do
    System.put_env("MUONTRAP_TEST_A", "a")
    script = ~S(echo "${MUONTRAP_TEST_A-unset} ${MUONTRAP_TEST_B-unset}")
    shell = System.find_executable("sh")

    assert {"a b\n", 0} = MuonTrap.cmd(shell, ["-c", script], env: [{"MUONTRAP_TEST_B", "b"}])

    assert {"unset unset\n", 0} =
             MuonTrap.cmd(shell, ["-c", script], env: %{"MUONTRAP_TEST_A" => nil})

    assert {"unset unset\n", 0} = MuonTrap.cmd(shell, ["-c", script], clear_env: true)
  after
    System.delete_env("MUONTRAP_TEST_A")
  end

  test "captures standard error as asked" do
    script = ["-c", "echo out; echo err >&2"]
    assert {"out\nerr\n", 0} = MuonTrap.cmd("sh", script, stderr_to_stdout: true)
    assert {"err\n", 0} = MuonTrap.cmd("sh", script, capture_stderr_only: true)
  end

  test "writes a large input with back-pressure while it reads the output" do
    input = :crypto.strong_rand_bytes(3_000_000)
    assert {^input, 0} = MuonTrap.cmd("cat", [], input: input)
    pieces = Stream.map(1..1000, &"#{&1}\n")
    assert {output, 0} = MuonTrap.cmd("cat", [], input: pieces)
    assert output == Enum.join(pieces)
  end

  test "does not mind a program that reads no input" do
    input = String.duplicate("x", 1_000_000)
    assert {"", 0} = MuonTrap.cmd("true", [], input: input)
    assert {_output, 0} = MuonTrap.cmd(program("close_stdin_early"), ["0", "100"], input: input)
    no_message()
  end

  test "kills what a program leaves in the background, though it holds the output open" do
    {time_us, {"left\n", 0}} =
      :timer.tc(fn -> MuonTrap.cmd("sh", ["-c", "setsid sleep 1000 & echo left"]) end)

    assert time_us < 60_000_000
  end

  test "stops the tree at the timeout and returns the output so far" do
    script = "echo so far; trap '' TERM; sleep 1000 & sleep 1000; sleep 1000"

    assert {"so far\n", :timeout} =
             MuonTrap.cmd("sh", ["-c", script], timeout: 300, delay_to_sigkill: 100)

    no_message()
  end

  test "stops a program at the timeout that always has written more" do
    last = fn
      _last, {:cont, bytes} -> bytes
      last, _end -> last
    end

    # Taken so slowly that there is never nothing to take.
    opts = [into: %MuonTrapTest.Sink{fun: last}, stdio_window: 1, timeout: 200]
    {time_us, {<<_byte>>, :timeout}} = :timer.tc(fn -> MuonTrap.cmd("yes", [], opts) end)
    assert time_us < 60_000_000
    no_message()
  end

  test "does not count the time that the output takes when the program is over" do
    slow = fn
      acc, {:cont, bytes} -> receive(after: (100 -> [bytes | acc]))
      acc, _end -> acc
    end

    opts = [into: %MuonTrapTest.Sink{fun: slow}, stdio_window: 1000, timeout: 1000]
    assert {output, 0} = MuonTrap.cmd("head", ["-c", "20000", "/dev/zero"], opts)
    assert IO.iodata_length(output) == 20_000
  end

  test "passes on what the collectable raises, when the program is gone" do
    raising = fn
      _acc, {:cont, _bytes} -> raise "no more"
      acc, _end -> acc
    end

    into = %MuonTrapTest.Sink{fun: raising}
    assert_raise RuntimeError, "no more", fn -> MuonTrap.cmd("yes", [], into: into) end
    assert MuonTrap.list() == []
    no_message()
  end

  # What had been sent already stayed in the mailbox.
  test "leaves no message when the collectable raises while there is more" do
    raising = fn
      _acc, {:cont, _bytes} ->
        assert MuonTrap.Trees.eventually(fn ->
                 Process.info(self(), :message_queue_len) != {:message_queue_len, 0}
               end)

        raise "no more"

      acc, _end ->
        acc
    end

    into = %MuonTrapTest.Sink{fun: raising}
    script = "echo one; sleep 0.05; exec yes"
    assert_raise RuntimeError, fn -> MuonTrap.cmd("sh", ["-c", script], into: into) end
    no_message()
  end

  test "holds a program back that nobody listens to" do
    parent = self()

    listener = fn
      acc, {:cont, _bytes} ->
        send(parent, :first)
        receive do: (:go_on -> acc)

      acc, _end ->
        acc
    end

    into = %MuonTrapTest.Sink{fun: listener}
    owner = spawn(fn -> MuonTrap.cmd("yes", [], into: into, stdio_window: 10_240) end)
    assert_receive :first, 60_000
    assert [%{stdout_bytes: bytes, unacknowledged_bytes: unread}] = MuonTrap.list()
    assert bytes <= 10_240 and unread <= 10_240
    Process.exit(owner, :kill)
    assert MuonTrap.Trees.eventually(fn -> MuonTrap.list() == [] end)
  end

  test "leaves nothing when its owner is killed at any moment" do
    token = MuonTrap.Trees.token()
    script = "trap 'echo bye' TERM; echo hi; sleep 1000 & wait"

    for step <- 0..199 do
      owner =
        spawn(fn ->
          MuonTrap.cmd("sh", ["-c", script],
            env: [{"MUONTRAP_TOKEN", token}],
            delay_to_sigkill: 20
          )
        end)

      # From before the request to the midst of the output, in steps of 20 µs.
      until = System.monotonic_time(:microsecond) + 20 * step
      spin(until)
      Process.exit(owner, :kill)
      # And again a second owner's death during the grace of the first.
      assert MuonTrap.Trees.eventually(fn -> length(MuonTrap.list()) < 20 end)
    end

    assert MuonTrap.Trees.eventually(fn -> MuonTrap.list() == [] end)
    assert MuonTrap.Trees.carrying(token) == []
    no_message()
  end

  test "waits for a program that closes its output and goes on" do
    assert {output, 7} =
             MuonTrap.cmd(program("close_stdout"), ["200", "7"], capture_stderr_only: false)

    assert output in ["", "ready\n"]
  end

  test "is not disturbed by a program that makes its output non-blocking" do
    {output, 0} = MuonTrap.cmd(program("nonblock"), ["300000"])
    assert byte_size(output) == 300_000
    # A pipe of its own for each: the next one blocks as ever.
    {output, 0} = MuonTrap.cmd("head", ["-c", "300000", "/dev/zero"])
    assert byte_size(output) == 300_000
  end

  test "lists a command with its owner, its name and how it is contained" do
    {:ok, daemon} = MuonTrap.Daemon.start_link("sleep", ["1000"], name: :muontrap_listed)

    assert [%{owner: ^daemon, name: :muontrap_listed, containment: :subreaper, command: command}] =
             MuonTrap.list()

    assert command == ["sleep", "1000"]
    GenServer.stop(daemon)
  end

  test "runs 200 at once" do
    results =
      1..200
      |> Task.async_stream(&MuonTrap.cmd("echo", ["#{&1}"]),
        max_concurrency: 200,
        timeout: 120_000
      )
      |> Enum.map(fn {:ok, result} -> result end)

    assert results == Enum.map(1..200, &{"#{&1}\n", 0})
  end

  test "leaves no descriptor and no process behind after 2,000 runs" do
    MuonTrap.cmd("true", [])
    before = open_descriptors()
    for _ <- 1..2000, do: assert({"", 0} = MuonTrap.cmd("true", []))
    assert MuonTrap.Trees.eventually(fn -> open_descriptors() <= before end)

    assert {children, 0} =
             System.cmd("ps", ["-o", "comm=", "--ppid", "#{MuonTrap.Nif.spawner_pid()}"])
             |> tolerate()

    assert children == ""
  end

  defp spin(until) do
    if System.monotonic_time(:microsecond) < until, do: spin(until)
  end

  # ps exits with 1 when it finds nothing.
  defp tolerate({output, _status}), do: {output, 0}

  defp open_descriptors, do: length(File.ls!("/proc/self/fd"))
end
