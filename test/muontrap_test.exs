# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrapTest do
  use MuonTrap.Case
  doctest MuonTrap

  defp program(name), do: Application.app_dir(:muontrap, "priv/test_programs/#{name}")

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

  test "raises what System.cmd raises, and says which of the two is missing" do
    for {command, opts, what} <- [
          {"no-such-program", [], ~S(cannot find the program "no-such-program")},
          {"/no/such/program", [], ~S(cannot execute "/no/such/program")},
          {"true", [cd: "/no/such"], ~S(cannot change to directory "/no/such")}
        ] do
      assert_raise ErlangError, ~r/:enoent/, fn -> MuonTrap.cmd(command, [], opts) end

      {reason, stacktrace} =
        try do
          MuonTrap.cmd(command, ["s3cret"], opts)
        catch
          :error, reason -> {reason, __STACKTRACE__}
        end

      assert reason == :enoent
      banner = Exception.format_banner(:error, reason, stacktrace)
      assert banner =~ "** (ErlangError) Erlang error: :enoent: #{what}: no such file"
      assert IO.iodata_to_binary(:erl_error.format_exception(:error, reason, stacktrace)) =~ what
      refute inspect(stacktrace) =~ "s3cret"
    end

    assert_raise ErlangError, ~r/:eacces/, fn -> MuonTrap.cmd("/etc", []) end
    assert_raise ErlangError, ~r/:eacces/, fn -> MuonTrap.cmd("/etc/passwd", []) end
    no_message()
  end

  @tag :tmp_dir
  test "runs a script that does not name its interpreter by /bin/sh", %{tmp_dir: directory} do
    script = Path.expand("script", directory)
    File.write!(script, ~S(printf '%s;' "$0" "$@" "$VAR"; exit 3) <> "\n")
    File.chmod!(script, 0o755)

    assert MuonTrap.cmd(script, ["a b", ""], env: [{"VAR", "v"}]) == {"#{script};a b;;v;", 3}
    # The shell has to be told the file, whatever the program is to see as its name.
    assert MuonTrap.cmd(script, [], arg0: "other", env: [{"VAR", "v"}]) == {"#{script};v;", 3}

    # What is no script either has the status that the shell gives it.
    File.write!(script, <<0x7F, "ELF", 0, 1, 2>>)
    assert {_complaint, status} = MuonTrap.cmd(script, [], stderr_to_stdout: true)
    assert status in [2, 126, 127]
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

  test "leaves standard input open for programs that stop at its end, and closed for all others" do
    assert {"", 0} = MuonTrap.cmd("cat", [])

    for opts <- [[stdin: :open], %{stdin: :open}] do
      opts = Map.put(Map.new(opts), :timeout, 300)
      assert {"", :timeout} = MuonTrap.cmd("cat", [], opts)
    end

    assert MuonTrap.run("sh", ["-c", "test -p /dev/stdin"], stdin: :open).exit_status == 0
    assert MuonTrap.list() == []
    no_message()
  end

  test "takes an empty value in the environment as System.cmd/3 does" do
    args = ["-c", "echo ${PATH-unset} ${NEW-unset}"]
    env = [{"PATH", ""}, {"NEW", ""}]
    sh = System.find_executable("sh")
    assert MuonTrap.cmd(sh, args, env: env) == System.cmd(sh, args, env: env)
    assert {"NEW=\n", 0} = MuonTrap.cmd("env", ["-i", "NEW=", "env"])
  end

  test "refuses what makes no sense" do
    for {args, got} <- [{["a\0b"], "a string with a NUL byte"}, {["-n", :x], "an atom"}] do
      assert_raise ArgumentError, ~r/, got: #{got} as argument #{length(args)}$/, fn ->
        MuonTrap.cmd("echo", args)
      end
    end

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
    assert {"left\n", 0} = MuonTrap.cmd("sh", ["-c", "setsid sleep 1000 & echo left"])
  end

  test "stops the tree at the timeout and returns the output so far" do
    script = "echo so far; trap '' TERM; sleep 1000 & sleep 1000; sleep 1000"

    within_time(fn ms ->
      {output, :timeout} = MuonTrap.cmd("sh", ["-c", script], timeout: ms, delay_to_sigkill: 100)
      if output != "", do: assert(output == "so far\n")
    end)

    no_message()
  end

  test "stops a program at the timeout that always has written more" do
    last = fn
      _last, {:cont, bytes} -> bytes
      last, _end -> last
    end

    within_time(fn ms ->
      # Taken so slowly that there is never nothing to take.
      opts = [into: %MuonTrapTest.Sink{acc: "", fun: last}, stdio_window: 1, timeout: ms]
      {output, :timeout} = MuonTrap.cmd("yes", [], opts)
      if output != "", do: assert(byte_size(output) == 1)
    end)

    no_message()
  end

  test "does not count the time that the output takes when the program is over" do
    within_time(fn ms ->
      until = System.monotonic_time(:millisecond) + ms
      opts = [into: slow_sink(until), stdio_window: 1000, timeout: ms]

      {output, status} = MuonTrap.cmd("head", ["-c", "3000", "/dev/zero"], opts)
      if output != :too_late, do: assert({IO.iodata_length(output), status} == {3000, 0})
    end)
  end

  # Takes the first of the output once the program is over, and the time as well.
  defp slow_sink(until) do
    fun = fn
      [], {:cont, bytes} ->
        assert MuonTrap.Trees.eventually(fn -> match?([%{done: true}], MuonTrap.list()) end)
        left_ms = until - System.monotonic_time(:millisecond)
        receive(after: (max(left_ms, 0) + 200 -> :ok))
        if left_ms > 0, do: [bytes], else: :too_late

      :too_late, _element ->
        :too_late

      output, {:cont, bytes} ->
        [bytes | output]

      output, _end ->
        output
    end

    %MuonTrapTest.Sink{fun: fun}
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

  # One message of output is on its way at the most; the owner takes the rest when it has handled that.
  test "leaves no message when the collectable raises while there is more" do
    base = Path.join(System.tmp_dir!(), "muontrap-#{System.unique_integer([:positive])}")
    {handled, more} = {base <> ".handled", base <> ".more"}
    on_exit(fn -> Enum.each([handled, more], &File.rm/1) end)

    raising = fn
      _acc, {:cont, _bytes} ->
        File.touch!(handled)
        assert MuonTrap.Trees.eventually(fn -> File.exists?(more) end)

        # The reactor hears of what came before as well by the time that it hears of the end of this.
        assert {"", 0} = MuonTrap.cmd("true", [])
        assert Process.info(self(), :message_queue_len) == {:message_queue_len, 0}
        raise "no more"

      acc, _end ->
        acc
    end

    into = %MuonTrapTest.Sink{fun: raising}

    # At first nothing comes, so that the owner waits for a message.
    script =
      ~S(sleep 0.1; echo one; until [ -e "$0" ]; do sleep 0.01; done; echo two; : >"$1"; exec yes)

    args = ["-c", script, handled, more]
    assert_raise RuntimeError, "no more", fn -> MuonTrap.cmd("sh", args, into: into) end
    no_message()
  end

  test "gives chunks that hold no more memory than their bytes" do
    script = "head -c 300000 /dev/zero; sleep 0.1; head -c 5000 /dev/zero; sleep 0.1; echo over"

    for window <- [5000, 10_240, 100_000] do
      {chunks, 0} = MuonTrap.cmd("sh", ["-c", script], into: [], stdio_window: window)
      assert IO.iodata_length(chunks) == 305_005

      # What is smaller is on the heap, where OTP 27 counts bits.
      for chunk <- chunks,
          byte_size(chunk) > 64,
          do: assert(:binary.referenced_byte_size(chunk) == byte_size(chunk))
    end
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
    assert_receive :first
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
        timeout: :infinity
      )
      |> Enum.map(fn {:ok, result} -> result end)

    assert results == Enum.map(1..200, &{"#{&1}\n", 0})
  end

  test "leaves no descriptor and no process behind after 2,000 runs" do
    before = MuonTrap.Counts.settled()
    for _ <- 1..2000, do: assert({"", 0} = MuonTrap.cmd("true", []))
    MuonTrap.Counts.assert_back(before)
  end

  defp spin(until) do
    if System.monotonic_time(:microsecond) < until, do: spin(until)
  end
end
