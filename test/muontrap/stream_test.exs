# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.StreamTest do
  @moduledoc "The output of a program as an enumerable: lazy, bounded, and over when the enumeration is."

  use MuonTrap.Case

  import ExUnit.CaptureIO

  alias MuonTrap.{Error, ExitError, Result, Trees}

  @patience_ms 60_000

  setup do
    token = Trees.token()
    %{token: token, env: [{"MUONTRAP_TOKEN", token}]}
  end

  # A tree that writes a line and goes on for long, in a session of its own as well.
  @endless "setsid sleep 1000 & echo one; echo two; exec sleep 1000"

  defp endless(env), do: MuonTrap.stream!("sh", ["-c", @endless], env: env, lines: 1024)

  describe "an enumeration" do
    @tag :tmp_dir
    test "starts a program of its own, and only then", %{tmp_dir: directory} do
      file = Path.join(directory, "started")
      stream = MuonTrap.stream!("sh", ["-c", "echo $$ | tee -a #{file}"])
      refute File.exists?(file)
      [first] = Enum.to_list(stream)
      [second] = Enum.to_list(stream)
      assert first != second
      assert File.read!(file) == first <> second
    end

    test "gives the bytes as they come, whole lines, or both streams apart" do
      assert "printf" |> MuonTrap.stream!([~S(a\nb)]) |> Enum.join() == "a\nb"

      assert "printf" |> MuonTrap.stream!([~S(a\n\nb)], lines: 1) |> Enum.to_list() == [
               "a",
               "",
               "b"
             ]

      script = "echo out; sleep 0.2; echo err >&2; sleep 0.2; echo out"
      both = MuonTrap.stream!("sh", ["-c", script], capture_stderr: true)
      assert Enum.to_list(both) == [stdout: "out\n", stderr: "err\n", stdout: "out\n"]

      both = MuonTrap.stream!("sh", ["-c", script], capture_stderr: true, lines: 1)
      assert Enum.to_list(both) == [stdout: "out", stderr: "err", stdout: "out"]
    end

    test "is whole, however much it is" do
      bytes = 5_000_000
      chunks = MuonTrap.stream!("head", ["-c", "#{bytes}", "/dev/zero"])
      assert chunks |> Stream.map(&byte_size/1) |> Enum.sum() == bytes
    end

    test "feeds the program while it is read" do
      input = String.duplicate("0123456789", 100_000)
      assert "cat" |> MuonTrap.stream!([], input: input) |> Enum.join() == input
    end

    test "leaves the mailbox empty" do
      assert_raise ExitError, fn -> "false" |> MuonTrap.stream!([]) |> Stream.run() end
      assert ["y"] = "yes" |> MuonTrap.stream!([], lines: 1) |> Enum.take(1)
      refute_received _anything
    end

    test "reads nothing that was not asked for", %{env: env} do
      stream = MuonTrap.stream!("yes", [], env: env, stdio_window: 4_096)

      {:suspended, _first, go_on} =
        Enumerable.reduce(stream, {:suspend, nil}, &{:suspend, [&1 | &2]})

      {:suspended, [chunk | _], go_on} = go_on.({:cont, nil})

      [%{stdout_bytes: bytes}] =
        for %{owner: owner} = one <- MuonTrap.list(), owner == self(), do: one

      assert bytes == byte_size(chunk)
      assert {:halted, nil} = go_on.({:halt, nil})
    end
  end

  describe "at its end" do
    test "a status other than 0 is raised after the last element, with the end of standard error" do
      script = "echo out; echo first >&2; echo last >&2; exit 3"
      test = self()

      {error, shown} =
        with_io(:stderr, fn ->
          assert_raise ExitError, fn ->
            "sh"
            |> MuonTrap.stream!(["-c", script], lines: 1)
            |> Enum.each(&send(test, {:element, &1}))
          end
        end)

      assert_received {:element, "out"}
      assert %ExitError{command: "sh", stderr: "first\nlast\n"} = error
      assert %Result{status: {:exited, 3}, output: nil} = error.result

      assert Exception.message(error) ==
               "sh exited with status 3. The end of its standard error:\nfirst\nlast"

      assert shown == "first\nlast\n"
    end

    test "what is captured apart is in the message as well" do
      script = "echo why >&2; exit 1"
      stream = MuonTrap.stream!("sh", ["-c", script], capture_stderr: true, lines: 1)
      assert %ExitError{stderr: "why\n"} = catch_error(Stream.run(stream))
    end

    test "the message keeps the last 4 KiB, from the beginning of a line" do
      script = "seq 1 100000 >&2; exit 1"
      stream = MuonTrap.stream!("sh", ["-c", script], capture_stderr: true)
      assert %ExitError{stderr: stderr} = catch_error(Stream.run(stream))
      assert byte_size(stderr) in 4_000..4_096
      assert [_line, "99999", "100000", ""] = stderr |> String.split("\n") |> Enum.take(-4)
      assert [first | _] = String.split(stderr, "\n")
      assert String.length(first) == 5
    end

    test "signals, timeouts and helpers that die say so" do
      message = fn stream -> stream |> Stream.run() |> catch_error() |> Exception.message() end
      assert message.(MuonTrap.stream!("sh", ["-c", "kill -9 $$"])) == "sh was ended by SIGKILL"

      assert message.(MuonTrap.stream!("sh", ["-c", "kill -40 $$"])) ==
               "sh was ended by signal 40"

      assert message.(MuonTrap.stream!("sleep", ["1000"], timeout: 50)) ==
               "sleep did not end in time and was stopped"

      assert message.(MuonTrap.stream!("sh", ["-c", "kill -9 $PPID; sleep 1000"])) =~ "supervise"
    end

    test "the result is the last element of stream/3, whatever it is" do
      assert [{:exit, %Result{status: {:exited, 0}}}] = Enum.to_list(MuonTrap.stream("true", []))
      assert [{:exit, %Result{status: {:exited, 1}}}] = Enum.to_list(MuonTrap.stream("false", []))
      slow = MuonTrap.stream("sh", ["-c", "echo a; sleep 1000"], timeout: 500, lines: 1)
      assert ["a", {:exit, %Result{status: :timeout, timed_out: true}}] = Enum.to_list(slow)
    end

    test "a program that is not there is an error of the enumeration" do
      stream = MuonTrap.stream!("no_such_program", [])
      assert %Error{step: :lookup, reason: :enoent} = catch_error(Stream.run(stream))
    end
  end

  describe "the tree is gone when" do
    test "the enumeration stops early", %{token: token, env: env} do
      assert ["one"] = Enum.take(endless(env), 1)
      assert Trees.carrying(token) == []
    end

    test "its consumer raises, throws or exits", %{token: token, env: env} do
      for fail <- [fn -> raise "no" end, fn -> throw(:no) end, fn -> exit(:no) end] do
        assert catch_any(fn -> Enum.each(endless(env), fn "one" -> fail.() end) end)
        assert Trees.carrying(token) == []
      end
    end

    test "it is reduced by somebody who halts", %{token: token, env: env} do
      assert "two" ==
               Enum.reduce_while(
                 endless(env),
                 nil,
                 &if(&1 == "two", do: {:halt, &1}, else: {:cont, &2})
               )

      assert Trees.carrying(token) == []
      assert [{1, "one"}, {2, "two"}] = 1..2 |> Stream.zip(endless(env)) |> Enum.to_list()
      assert Trees.carrying(token) == []
    end

    test "the process that enumerates is killed", %{token: token, env: env} do
      test = self()
      pid = spawn(fn -> Enum.each(endless(env), &send(test, {:element, &1})) end)
      on_exit(fn -> Process.exit(pid, :kill) end)
      assert_receive {:element, "two"}, @patience_ms
      assert Trees.eventually(fn -> length(Trees.carrying(token)) == 2 end)
      Process.exit(pid, :kill)
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    end

    test "tasks that enumerate are over", %{token: token, env: env} do
      run = fn _n -> Enum.take(endless(env), 2) end
      all = 1..8 |> Task.async_stream(run, timeout: @patience_ms) |> Enum.to_list()
      assert all == List.duplicate({:ok, ["one", "two"]}, 8)
      assert Trees.carrying(token) == []
    end
  end

  test "a suspended enumeration goes on where it was begun, and nowhere else", %{env: env} do
    suspend = fn element, acc -> {:suspend, [element | acc]} end
    {:suspended, ["one"], go_on} = Enumerable.reduce(endless(env), {:cont, []}, suspend)
    {:suspended, ["two", "one"], go_on} = go_on.({:cont, ["one"]})

    # Both lines came together: the next one has to be waited for.
    elsewhere = Task.async(fn -> catch_error(go_on.({:cont, []})) end)
    assert %ArgumentError{message: message} = Task.await(elsewhere, @patience_ms)
    assert message =~ "goes on only in the process that began it"
    assert {:halted, []} = go_on.({:halt, []})
  end

  test "inspection shows the program and none of its secrets" do
    stream = MuonTrap.stream!("cat", ["secret"], env: [{"A", "secret"}], input: "secret")
    assert inspect(stream) == "#MuonTrap.Stream<cat>"
  end

  defp catch_any(fun) do
    fun.()
    nil
  catch
    kind, reason -> {kind, reason}
  end
end
