# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.BoundsTest do
  @moduledoc "`:idle_timeout` and `:max_output`: programs that write too little or too much end as told."

  use MuonTrap.Case

  import ExUnit.CaptureIO

  alias MuonTrap.{Counts, ExitError, Result, Trees}
  alias MuonTrapTest.Sink

  @mib 1_048_576
  # Long enough for a line, and for a shell on a busy machine.
  @long_ms 60_000

  setup do
    token = Trees.token()
    %{token: token, env: [{"MUONTRAP_TOKEN", token}]}
  end

  # Writes a byte at once and then one each second, for ever.
  @a_byte_per_second "while :; do printf x; sleep 1; done"

  describe "a program that writes a byte per second for ever" do
    test "goes on as long as that is often enough, and then its time is over" do
      within_time(fn ms ->
        opts = [idle_timeout: 100_000, timeout: 4 * ms]
        result = MuonTrap.run("sh", ["-c", @a_byte_per_second], opts)
        assert %Result{status: :timeout, stopped_by: :timeout, timed_out: true} = result
        if result.output =~ "xx", do: result
      end)
    end

    test "ends when that is not often enough, with its tree", %{token: token, env: env} do
      script = "setsid sleep 1000 & " <> @a_byte_per_second

      within_time(fn ms ->
        result = MuonTrap.run("sh", ["-c", script], idle_timeout: ms, timeout: @long_ms, env: env)
        assert Trees.carrying(token) == []
        # A byte per second is often enough for longer times.
        if ms > 1_000 do
          assert %Result{status: :timeout} = result
        else
          assert %Result{status: :idle_timeout, stopped_by: :idle_timeout} = result
          assert %Result{timed_out: false, truncated: false, exit_status: 143} = result
          if result.output == "x", do: result
        end
      end)
    end

    test "ends after so many bytes" do
      opts = [max_output: {2, :stop}, timeout: @long_ms]
      assert {"xx", :max_output} = MuonTrap.cmd("sh", ["-c", @a_byte_per_second], opts)
    end

    test "has the memory flat while it is waited for" do
      {grown, result} =
        growth(fn ->
          MuonTrap.run("sh", ["-c", @a_byte_per_second], timeout: 3_000, idle_timeout: @long_ms)
        end)

      assert result.status == :timeout
      assert_flat(grown)
    end
  end

  test "each byte begins the time without output anew" do
    within_time(fn ms ->
      # Twice that time in all.
      script = "for i in 1 2 3 4 5 6 7 8; do printf x; sleep #{ms / 1000}; done"
      said = MuonTrap.cmd("sh", ["-c", script], idle_timeout: 4 * ms)
      if said == {"xxxxxxxx", 0}, do: said
    end)
  end

  describe "a program that writes 10 GB" do
    @ten_gb 10_000_000_000

    test "ends at once with :stop, and the caller has what it may have" do
      for function <- [&MuonTrap.run/3, &run_of_stream/3] do
        opts = [max_output: {@mib, :stop}, stdio_window: @mib]

        {grown, result} =
          growth(fn -> function.("head", ["-c", "#{@ten_gb}", "/dev/zero"], opts) end)

        assert %Result{status: :max_output, stopped_by: :max_output, truncated: true} = result
        assert result.timed_out == false
        assert result.output == :binary.copy(<<0>>, @mib)
        assert_flat(grown)
      end
    end

    @tag timeout: 600_000
    test "is read to its end with :truncate, and the rest is nowhere" do
      opts = [max_output: @mib, stdio_window: @mib]

      {grown, result} =
        growth(fn -> MuonTrap.run("head", ["-c", "#{@ten_gb}", "/dev/zero"], opts) end)

      assert %Result{status: {:exited, 0}, stopped_by: nil, truncated: true} = result
      assert result.output == :binary.copy(<<0>>, @mib)
      assert_flat(grown)
    end

    @tag timeout: 600_000
    test "holds no memory either where it is all one line" do
      opts = [max_output: 1_000, lines: 1024, into: [], stdio_window: @mib]

      {grown, result} =
        growth(fn -> MuonTrap.run("head", ["-c", "#{div(@ten_gb, 20)}", "/dev/zero"], opts) end)

      assert %Result{status: {:exited, 0}, output: [], truncated: true} = result
      assert_flat(grown)
    end
  end

  describe "output" do
    test "is cut at the byte, whatever pieces it comes in, and what fits is whole" do
      script = "printf abc; sleep 0.1; printf defgh"
      run = &MuonTrap.run("sh", ["-c", script], max_output: &1)
      assert %Result{output: "abcde", truncated: true, status: {:exited, 0}} = run.(5)
      assert %Result{output: "abcdefgh", truncated: false} = run.({8, :stop})
      assert %Result{output: "", truncated: true} = run.(0)
    end

    test "has whole lines, counted with their newline, and none after one that does not fit" do
      run = fn text, max ->
        result = MuonTrap.run("printf", ["%b", text], lines: 1, into: [], max_output: max)
        {result.output, result.truncated}
      end

      assert run.("ab\\ncd\\n", 6) == {["ab", "cd"], false}
      assert run.("ab\\ncd\\n", 5) == {["ab"], true}
      assert run.("ab\\ncd", 5) == {["ab", "cd"], false}
      assert run.("ab\\nlong line\\nc\\n", 8) == {["ab"], true}
    end

    test "counts together with what is captured of standard error" do
      script = "printf abc; sleep 0.1; printf def >&2"
      result = MuonTrap.run("sh", ["-c", script], capture_stderr: true, max_output: 4)
      assert %Result{output: "abc", stderr: "d", truncated: true} = result

      stream = MuonTrap.stream("sh", ["-c", script], capture_stderr: true, max_output: 4)

      assert [{:stdout, "abc"}, {:stderr, "d"}, {:exit, %Result{truncated: true}}] =
               Enum.to_list(stream)
    end

    test "does not count what is passed on, which keeps the program from being idle" do
      script = "for i in 1 2 3 4 5 6; do sleep 0.5; printf y >&2; done; printf out"

      within_time(fn ms ->
        opts = [max_output: {3, :stop}, idle_timeout: 3 * ms]

        shown =
          capture_io(:stderr, fn ->
            outcome =
              try do
                MuonTrap.cmd!("sh", ["-c", script], opts)
              rescue
                error in ExitError -> error.result.status
              end

            send(self(), {:outcome, outcome})
          end)

        assert_received {:outcome, outcome}
        if outcome == "out" and shown == "yyyyyy", do: :ok
      end)
    end

    test "goes to the collectable as far as it counts, which is completed" do
      into = %Sink{
        fun: fn acc, step ->
          if match?({:cont, _}, step), do: [elem(step, 1) | acc], else: {step, acc}
        end
      }

      assert {{:done, ["ab"]}, 0} = MuonTrap.cmd("printf", ["abc"], into: into, max_output: 2)
    end

    test "of a stream ends where the limit is, and an enumeration may begin anew" do
      stream = MuonTrap.stream!("yes", [], lines: 1, max_output: {6, :stop})

      for _ <- 1..2 do
        test = self()
        error = catch_error(Enum.each(stream, &send(test, {:line, &1})))
        assert %ExitError{result: %Result{status: :max_output}} = error
        for _ <- 1..3, do: assert_received({:line, "y"})
        refute_received _anything
      end

      assert MuonTrap.stream!("seq", ["10"], lines: 1, max_output: 4) |> Enum.to_list() == [
               "1",
               "2"
             ]
    end
  end

  describe "the first bound wins" do
    test "whichever it is" do
      # Asked to stop it writes more than it may.
      flood = ["-c", "trap 'yes' TERM; echo x; sleep 1000 & wait"]

      result =
        MuonTrap.run("sh", flood, timeout: 200, max_output: {2, :stop}, delay_to_sigkill: 300)

      assert %Result{status: :timeout, timed_out: true} = result

      opts = [timeout: @long_ms, idle_timeout: 100, max_output: {100, :stop}]
      assert {_some, :idle_timeout} = MuonTrap.cmd("sh", ["-c", "sleep 1000"], opts)

      # Idle and late from then on, within its grace.
      script = "trap '' TERM; echo abc; while :; do sleep 1; done"

      within_time(fn ms ->
        bounds = [max_output: {1, :stop}, idle_timeout: ms, timeout: 2 * ms]
        outcome = MuonTrap.cmd("sh", ["-c", script], [delay_to_sigkill: 3 * ms] ++ bounds)
        if outcome == {"a", :max_output}, do: outcome
      end)
    end

    test "and each says which in the error" do
      message = fn opts ->
        error = catch_error(MuonTrap.run!("sh", ["-c", "echo x; sleep 1000"], opts))
        assert %ExitError{} = error
        Exception.message(error)
      end

      assert message.(timeout: 50) == "sh did not end in time and was stopped"
      assert message.(idle_timeout: 50) == "sh wrote nothing for too long and was stopped"
      assert message.(max_output: {1, :stop}) == "sh wrote more than it may and was stopped"
      assert_raise ExitError, fn -> MuonTrap.cmd!("sleep", ["1000"], idle_timeout: 50) end
      assert MuonTrap.cmd!("echo", ["hello"], max_output: 2) == "he"
    end
  end

  test "the time of a consumer is not the program's" do
    script = "for i in 1 2 3 4; do echo $i; done; sleep 0.1; echo 5"

    within_time(fn ms ->
      stream = MuonTrap.stream("sh", ["-c", script], lines: 1, idle_timeout: ms, stdio_window: 2)

      # More than its time before each.
      seen = Enum.map(stream, fn element -> receive(after: (div(ms * 3, 2) -> element)) end)

      if match?(["1", "2", "3", "4", "5", {:exit, %Result{status: {:exited, 0}}}], seen),
        do: :ok
    end)
  end

  test "a program that reads and says nothing is idle", %{token: token, env: env} do
    input = Stream.repeatedly(fn -> String.duplicate("x", 10_000) end)
    opts = [input: input, idle_timeout: 300, env: env]
    assert {"", :idle_timeout} = MuonTrap.cmd("sh", ["-c", "cat >/dev/null"], opts)
    assert Trees.carrying(token) == []

    stream = MuonTrap.pipe(input, "sh", ["-c", "cat >/dev/null"], Keyword.delete(opts, :input))
    assert [{:exit, %Result{status: :idle_timeout}}] = Enum.to_list(stream)

    within_time(fn ms ->
      said = MuonTrap.shell("echo x; sleep 1000", idle_timeout: ms)
      if said == {"x\n", :idle_timeout}, do: said
    end)

    refute_received _anything
  end

  test "without captured streams there is nothing to count" do
    for bound <- [idle_timeout: 1, max_output: 1] do
      assert_raise ArgumentError, ~r/cannot take :use_stdio together/, fn ->
        MuonTrap.cmd("true", [], [bound, use_stdio: false])
      end
    end

    for bad <- [-1, 1.5, {1, :drop}, {-1, :stop}, :none] do
      assert_raise ArgumentError, ~r/invalid option :max_output/, fn ->
        MuonTrap.cmd("true", [], max_output: bad)
      end
    end
  end

  # By how many bytes the binaries of the VM, and the memory of its process, have grown at the most meanwhile.
  defp growth(fun) do
    MuonTrap.run("true", [])
    :erlang.garbage_collect()
    before = memory()
    task = Task.async(fun)
    most = watch(task, before, {0, 0})
    {most, Task.await(task, :infinity)}
  end

  defp memory do
    own = String.to_integer(System.pid())
    {:erlang.memory(:binary), 1024 * Counts.resident_kib(own)}
  end

  defp watch(task, {binary, resident} = before, {most_binary, most_resident} = most) do
    if Process.alive?(task.pid) do
      {now_binary, now_resident} = memory()
      most = {max(most_binary, now_binary - binary), max(most_resident, now_resident - resident)}
      receive(after: (20 -> watch(task, before, most)))
    else
      most
    end
  end

  defp assert_flat({binary, resident}) do
    assert binary < 10 * @mib
    # The heaps of processes come and go.
    assert resident < 100 * @mib
  end

  defp run_of_stream(command, args, opts) do
    {output, [{:exit, result}]} =
      command |> MuonTrap.stream(args, opts) |> Enum.split_while(&is_binary/1)

    %{result | output: IO.iodata_to_binary(output)}
  end
end
