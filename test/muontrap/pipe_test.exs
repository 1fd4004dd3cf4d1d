# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.PipeTest do
  @moduledoc "Pipelines of programs, each in the VM's hands: as a shell joins them, and over as a whole."

  use MuonTrap.Case

  alias MuonTrap.{Error, ExitError, Result, Trees}

  setup do
    token = Trees.token()
    %{token: token, env: [{"MUONTRAP_TOKEN", token}]}
  end

  @tag :tmp_dir
  test "carries every byte through three programs", %{tmp_dir: directory} do
    file = Path.join(directory, "file")
    bytes = :crypto.strong_rand_bytes(3_000_000)
    File.write!(file, bytes)

    passed =
      MuonTrap.stream!("cat", [file])
      |> MuonTrap.pipe!("gzip", ["-1c"])
      |> MuonTrap.pipe!("gzip", ["-dc"])
      |> Enum.into(File.stream!(file <> ".copy", [], 65_536))

    assert File.read!(passed.path) == bytes
  end

  test "takes any enumerable of iodata" do
    lines = Stream.map(3..1//-1, &["line ", Integer.to_string(&1), ?\n])

    assert lines |> MuonTrap.pipe!("sort", [], lines: 1) |> Enum.to_list() == [
             "line 1",
             "line 2",
             "line 3"
           ]

    assert [] |> MuonTrap.pipe!("cat", []) |> Enum.to_list() == []
  end

  test "ends those before a program that wants no more, and before it returns", %{
    token: token,
    env: env
  } do
    script = "echo one; setsid sleep 1000 & exec sleep 1000"

    for upstream <- [
          MuonTrap.stream!("sh", ["-c", script], env: env),
          MuonTrap.stream("yes", [], env: env)
        ] do
      assert [line] =
               upstream
               |> MuonTrap.pipe!("cat", [])
               |> MuonTrap.pipe!("head", ["-n1"])
               |> Enum.to_list()

      assert line in ["one\n", "y\n"]
      assert Trees.carrying(token) == []
    end
  end

  test "ends all of it when its consumer stops, or is killed", %{token: token, env: env} do
    pipeline =
      MuonTrap.stream!("yes", [], env: env)
      |> MuonTrap.pipe!("cat", [], env: env)
      |> MuonTrap.pipe!("cat", [], env: env)

    assert [_chunk] = Enum.take(pipeline, 1)
    assert Trees.carrying(token) == []

    test = self()
    pid = spawn(fn -> Enum.each(pipeline, fn _chunk -> send(test, :chunk) end) end)
    on_exit(fn -> Process.exit(pid, :kill) end)
    assert_receive :chunk, 60_000
    assert Trees.eventually(fn -> length(Trees.carrying(token)) == 3 end)
    Process.exit(pid, :kill)
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
  end

  test "raises what a program before it fails with" do
    upstream = MuonTrap.stream!("sh", ["-c", "echo one; exit 7"])

    assert %ExitError{result: %Result{status: {:exited, 7}}} =
             catch_error(upstream |> MuonTrap.pipe!("cat", []) |> Enum.to_list())

    assert %Error{step: :lookup, subject: "no_such_program", reason: :enoent} =
             catch_error(
               MuonTrap.stream!("no_such_program", [])
               |> MuonTrap.pipe("cat", [])
               |> Enum.to_list()
             )

    raising = Stream.map([1], fn _ -> raise "no piece" end)

    assert_raise RuntimeError, "no piece", fn ->
      raising |> MuonTrap.pipe!("cat", []) |> Stream.run()
    end
  end

  test "drops the result of a stream/3 that it reads, and gives its own" do
    upstream = MuonTrap.stream("sh", ["-c", "echo one; exit 7"], capture_stderr: true)

    assert ["one\n", {:exit, %Result{status: {:exited, 0}}}] =
             upstream |> MuonTrap.pipe("cat", []) |> Enum.to_list()

    assert [{:exit, %Result{status: {:exited, 4}}}] =
             ["x"] |> MuonTrap.pipe("sh", ["-c", "exit 4"]) |> Enum.to_list()
  end

  test "has no more under way than its windows, however slow its consumer", %{env: env} do
    window = 10_240
    pipeline = MuonTrap.stream!("yes", [], env: env) |> MuonTrap.pipe!("cat", [], env: env)

    {:suspended, _acc, go_on} =
      Enumerable.reduce(pipeline, {:cont, nil}, fn _, _ -> {:suspend, nil} end)

    # Until nothing moves any more.
    bytes = fn ->
      for %{command: [name | _]} = one <- MuonTrap.list(),
          name =~ ~r/yes|cat/,
          do: one.stdout_bytes
    end

    assert Trees.eventually(fn ->
             before = bytes.()
             Process.sleep(200)
             before == bytes.()
           end)

    pipe = 65_536
    # Two pipes and what each program holds, a piece that waits to be written, and the windows.
    assert Enum.max(bytes.()) < 3 * pipe + 4 * window + 2 * 131_072

    for {:message_queue_len, length} <- [Process.info(self(), :message_queue_len)],
        do: assert(length < 10)

    assert {:halted, nil} = go_on.({:halt, nil})
  end

  test "joins programs in the kernel where nobody looks, and not where somebody does" do
    # What has come to the VM of the first program, once the last has said something.
    seen = fn stream ->
      [_chunk] =
        stream
        |> MuonTrap.pipe!("cat", [])
        |> Stream.each(fn _chunk ->
          bytes = for %{command: ["yes" | _]} = one <- MuonTrap.list(), do: one.stdout_bytes
          send(self(), {:bytes, bytes})
        end)
        |> Enum.take(1)

      receive(do: ({:bytes, [bytes]} -> bytes))
    end

    assert seen.(MuonTrap.stream!("yes", [])) == 0

    for opts <- [[timeout: 60_000], [lines: 1], [max_output: 1_000_000], [idle_timeout: 60_000]],
        do: assert(seen.(MuonTrap.stream!("yes", [], opts)) > 0)
  end

  test "raises the failure of one that closed its output before, and not of one that lost its reader" do
    late = MuonTrap.stream!("sh", ["-c", "echo x; exec >&-; sleep 0.3; exit 7"])

    assert %ExitError{result: %Result{status: {:exited, 7}}} =
             catch_error(late |> MuonTrap.pipe!("cat", []) |> Enum.to_list())

    # Not ended by SIGPIPE, it fails when it finds nobody reading.
    script = "trap '' PIPE; while echo y 2>/dev/null; do :; done; exit 5"

    for _ <- 1..10 do
      stream = MuonTrap.stream!("sh", ["-c", script]) |> MuonTrap.pipe!("head", ["-n1"])
      assert Enum.to_list(stream) == ["y\n"]
    end
  end

  test "pipelines go side by side, in tasks and in one process", %{token: token, env: env} do
    pipeline = MuonTrap.stream!("yes", [], env: env) |> MuonTrap.pipe!("cat", [], lines: 1)

    tasks = Task.async_stream(1..4, fn _ -> Enum.take(pipeline, 3) end, timeout: 60_000)
    assert Enum.to_list(tasks) == List.duplicate({:ok, ["y", "y", "y"]}, 4)
    assert [pipeline, pipeline] |> Stream.zip() |> Enum.take(2) == [{"y", "y"}, {"y", "y"}]
    assert Enum.reduce_while(pipeline, 0, &if(&1 == "y", do: {:halt, &2 + 1})) == 1
    assert Trees.carrying(token) == []
    refute_received _anything
  end

  test "takes no input beside what is piped" do
    for opts <- [[input: "x"], [stdin: :open], %{input: "x"}] do
      assert_raise ArgumentError, ~r/reads what is piped to it/, fn ->
        MuonTrap.pipe!(["a"], "cat", [], opts)
      end
    end
  end
end
