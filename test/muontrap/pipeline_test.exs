# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.PipelineTest do
  @moduledoc "Programs joined by pipes of the kernel: as a shell joins them, with one result, and over as a whole."

  use MuonTrap.Case

  import ExUnit.CaptureIO

  alias MuonTrap.{Counts, Error, ExitError, Result, Trees}

  setup do
    token = Trees.token()
    %{token: token, env: [{"MUONTRAP_TOKEN", token}]}
  end

  defp statuses(result), do: Enum.map(result.programs, & &1.status)

  describe "what passes" do
    @tag :tmp_dir
    test "is every byte, from a file or from Elixir, into a file or to Elixir", %{
      tmp_dir: directory
    } do
      bytes = :crypto.strong_rand_bytes(3_000_000)
      file = Path.join(directory, "file")
      File.write!(file, bytes)
      zip = [{"gzip", ["-1c"]}, {"gzip", ["-dc"]}]

      assert %Result{output: ^bytes, status: {:exited, 0}} =
               MuonTrap.pipeline([{"cat", [file]} | zip], stdio_window: 1_048_576)

      assert MuonTrap.pipeline(zip, input: bytes).output == bytes

      copy = File.stream!(file <> ".copy", [], 65_536)
      input = File.stream!(file, [], 65_536)
      assert %Result{output: ^copy} = MuonTrap.pipeline!(zip, input: input, into: copy)
      assert File.read!(copy.path) == bytes
    end

    test "never reaches the VM but at its end" do
      size = 50_000_000
      test = self()

      into = %MuonTrapTest.Sink{
        fun: fn _acc, step ->
          # Of the programs that run, as long as the last has something to say.
          send(test, for(one <- MuonTrap.list(), one.owner == test, do: one.stdout_bytes))
          step
        end
      }

      programs = [{"head", ["-c", "#{size}", "/dev/zero"]}, {"cat", []}, {"wc", ["-c"]}]
      assert MuonTrap.pipeline(programs).output == "#{size}\n"
      MuonTrap.pipeline(programs, into: into)
      assert_received [_ | _] = seen
      assert Enum.max(seen) < 100
    end

    test "is lines where they are wanted, and input that never ends is no trouble" do
      lines = Stream.map(Stream.iterate(1, &(&1 + 1)), &"#{&1}\n")
      programs = [{"cat", []}, {"grep", ["7"]}, {"head", ["-n2"]}]
      result = MuonTrap.pipeline(programs, input: lines, lines: 1, into: [])
      assert %Result{output: ["7", "17"], status: {:exited, 0}} = result
    end

    test "of one program is what it is anyway" do
      result = MuonTrap.pipeline([{"sh", ["-c", "cat; exit 4"]}], input: "in")

      assert %Result{output: "in", status: {:exited, 4}, programs: [%Result{exit_status: 4}]} =
               result
    end

    test "goes through many programs" do
      programs = for _ <- 1..20, do: {"cat", []}
      assert MuonTrap.pipeline(programs, input: "through all").output == "through all"
    end

    test "may be standard error of one of them, and all of it apart" do
      loud = fn word -> ["-c", "cat; echo #{word} >&2"] end

      programs = [
        {"sh", loud.("one"), stderr_to_stdout: true},
        {"sh", loud.("two")},
        {"sh", loud.("three")}
      ]

      result = MuonTrap.pipeline(programs, capture_stderr: true, input: "in\n")
      assert result.output == "in\none\n"
      assert result.stderr |> String.split() |> Enum.sort() == ["three", "two"]
      assert Enum.map(result.programs, & &1.stderr) == ["", "two\n", "three\n"]
    end
  end

  describe "the result" do
    test "is that of the last program that failed, or of the last" do
      exits = fn codes -> for code <- codes, do: {"sh", ["-c", "cat; exit #{code}"]} end
      run = fn codes, opts -> codes |> exits.() |> MuonTrap.pipeline([input: "x"] ++ opts) end

      assert %Result{status: {:exited, 0}, exit_status: 0} = run.([0, 0, 0], [])
      assert %Result{status: {:exited, 4}, exit_status: 4} = result = run.([3, 4, 0], [])
      assert statuses(result) == [{:exited, 3}, {:exited, 4}, {:exited, 0}]
      assert %Result{status: {:exited, 0}, exit_status: 0} = run.([3, 4, 0], pipefail: false)
      assert %Result{status: {:exited, 5}} = run.([3, 0, 5], pipefail: false)
      assert Enum.all?(result.programs, &(&1.programs == nil and &1.output == nil))
    end

    test "adds up what all have used" do
      burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"

      %{usage: all, programs: programs} =
        MuonTrap.pipeline(for _ <- 1..2, do: {"sh", ["-c", burn]})

      assert all.user_us == programs |> Enum.map(& &1.usage.user_us) |> Enum.sum()
      assert Enum.all?(programs, &(&1.usage.user_us > 0))
    end

    test "of one that is ended by SIGPIPE is no failure, as its reader wanted no more" do
      result = MuonTrap.pipeline([{"yes", []}, {"cat", []}, {"head", ["-n1"]}])
      assert %Result{output: "y\n", status: {:exited, 0}} = result
      assert statuses(result) == [{:signaled, :sigpipe}, {:signaled, :sigpipe}, {:exited, 0}]

      # The last one has no reader that could end.
      killed = MuonTrap.pipeline([{"true", []}, {"sh", ["-c", "kill -PIPE $$"]}])
      assert killed.status == {:signaled, :sigpipe}
    end

    test "waits for a program that its reader has left, as a shell does", %{env: env} do
      script = "exec >&-; sleep 0.3; exit 7"
      result = MuonTrap.pipeline([{"sh", ["-c", script]}, {"true", []}], env: env)
      assert statuses(result) == [{:exited, 7}, {:exited, 0}]
    end

    test "raised says which program failed, and what that said" do
      programs = [{"sh", ["-c", "echo bad >&2; exit 3"]}, {"sh", ["-c", "cat; echo good >&2"]}]

      {error, shown} =
        with_io(:stderr, fn -> assert_raise ExitError, fn -> MuonTrap.pipeline!(programs) end end)

      assert Exception.message(error) ==
               "sh exited with status 3. The end of its standard error:\nbad"

      assert shown |> String.split() |> Enum.sort() == ["bad", "good"]

      error = catch_error(MuonTrap.pipeline!(programs, capture_stderr: true))
      assert %ExitError{stderr: "bad\n"} = error
      assert_raise ExitError, fn -> MuonTrap.pipeline!([{"sleep", ["1000"]}], timeout: 50) end
    end
  end

  describe "bounds" do
    test "end all programs, whichever is the first", %{token: token, env: env} do
      for {bound, opts} <- [
            timeout: [timeout: 200],
            idle_timeout: [idle_timeout: 200],
            max_output: [max_output: {1, :stop}]
          ] do
        feed = if bound == :max_output, do: "yes", else: "setsid sleep 1000 & sleep 1000"
        programs = [{"sh", ["-c", feed]}, {"cat", []}, {"cat", []}]
        result = MuonTrap.pipeline(programs, [env: env] ++ opts)
        assert %Result{status: ^bound, stopped_by: ^bound} = result
        assert result.timed_out == (bound == :timeout)
        assert Trees.carrying(token) == []
      end
    end

    test "cut off what the last program says" do
      programs = [{"seq", ["1000"]}, {"cat", []}]
      result = MuonTrap.pipeline(programs, lines: 1, into: [], max_output: 5)
      assert %Result{output: ["1", "2"], truncated: true, status: {:exited, 0}} = result
    end
  end

  describe "one that cannot be started" do
    test "ends the others, wherever it stands, and is named", %{token: token, env: env} do
      long = {"sh", ["-c", "setsid sleep 1000 & sleep 1000"]}
      missing = {"no_such_program", []}

      for programs <- [[missing, long, long], [long, missing, long], [long, long, missing]] do
        error = catch_error(MuonTrap.pipeline(programs, env: env))
        assert %Error{reason: :enoent, subject: "no_such_program"} = error
        assert Trees.carrying(token) == []
      end

      error = catch_error(MuonTrap.pipeline([long, {"cat", [], cd: "/no/such/folder"}], env: env))
      assert %Error{step: :chdir} = error
      assert Trees.carrying(token) == []
      refute_received _anything
    end
  end

  describe "nothing is left of any program when" do
    setup %{env: env} do
      tree = ["-c", "setsid sleep 1000 & echo one; cat; sleep 1000"]
      %{programs: for(_ <- 1..3, do: {"sh", tree, env: env})}
    end

    test "the owner is killed", %{token: token, programs: programs} do
      owner = spawn(fn -> MuonTrap.pipeline(programs) end)
      on_exit(fn -> Process.exit(owner, :kill) end)
      stands(token)
      Process.exit(owner, :kill)
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    end

    test "the collectable raises", %{token: token, programs: programs} do
      into = %MuonTrapTest.Sink{
        fun: fn
          _acc, {:cont, _bytes} -> raise "enough"
          acc, _end -> acc
        end
      }

      assert_raise RuntimeError, "enough", fn -> MuonTrap.pipeline(programs, into: into) end
      assert Trees.carrying(token) == []

      # One of them was over by then.
      programs = [{"true", []} | programs]
      assert_raise RuntimeError, "enough", fn -> MuonTrap.pipeline(programs, into: into) end
      assert Trees.carrying(token) == []
      refute_received _anything
    end

    test "the shim of one is killed", %{token: token, programs: programs} do
      for at <- 0..2 do
        owner = Task.async(fn -> catch_error(MuonTrap.pipeline(programs)) end)
        stands(token)
        Trees.programs() |> Enum.at(at) |> Trees.parent() |> Trees.kill("KILL")
        assert %Error{step: :shim, reason: :died} = Task.await(owner, 60_000)
        assert Trees.carrying(token) == []
      end
    end

    # A shell, its sleeper of another session, and a cat each.
    defp stands(token), do: assert(Trees.eventually(fn -> length(Trees.carrying(token)) >= 9 end))
  end

  test "leaves no descriptor behind, whatever becomes of it" do
    MuonTrap.pipeline([{"true", []}, {"true", []}])
    before = Counts.settled()

    for _ <- 1..20 do
      MuonTrap.pipeline([{"echo", ["x"]}, {"cat", []}, {"true", []}])
      catch_error(MuonTrap.pipeline([{"echo", ["x"]}, {"no_such_program", []}]))
      catch_error(MuonTrap.pipeline([{"sleep", ["1000"]}, {"cat", [], cd: "/no/such/folder"}]))
    end

    Counts.assert_back(before)
  end

  test "is taken in that form alone" do
    for {programs, opts} <- [
          {[], []},
          {"cat", []},
          {[{"cat"}], []},
          {["cat"], []},
          {[{"cat", ["\0"]}], []},
          {[{"cat", [], into: []}], []},
          {[{"cat", [], timeout: 1}], []},
          {[{"cat", []}], [stderr_to_stdout: true]},
          {[{"cat", []}], [cgroup_path: "x"]},
          {[{"cat", []}], [capture_stderr_only: true]},
          {[{"cat", []}], [use_stdio: false]},
          {[{"cat", []}], [pipefail: :yes]}
        ] do
      assert_raise ArgumentError, fn -> MuonTrap.pipeline(programs, opts) end
    end
  end

  test "has options for all, and others for one" do
    show = ["-c", "cat; echo $A $B"]
    programs = [{"sh", show, env: %{"A" => "own"}}, {"sh", show, %{env: [{"B", "b"}]}}]
    assert MuonTrap.pipeline(programs, env: [{"A", "all"}, {"C", "c"}]).output == "own\nall b\n"
    assert MuonTrap.pipeline([{"pwd", []}, {"cat", []}], cd: "/").output == "/\n"
  end
end
