# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.LingerTest do
  @moduledoc "What a program leaves when it ends by itself: filters pass on what they have, and nothing stays."

  use ExUnit.Case

  alias MuonTrap.{Cgroups, Command, Counts, Daemon, Nif, Options, Trees}

  @moduletag timeout: 300_000

  # A default linger that came to its end, on a busy machine too, is far below this; the sleeps are far above.
  @soon_ms 20_000

  setup do: Counts.unchanged()

  setup do
    directory = Path.join(System.tmp_dir!(), Trees.token())
    File.mkdir!(directory)
    on_exit(fn -> File.rm_rf!(directory) end)
    %{directory: directory, token: Trees.token()}
  end

  # What was lost when the rest of the tree was killed with its program: all of it, nearly each time.
  @perl ~S"""
  open(STDOUT, "|-") // die || do { print "f: $_" while <STDIN>; exit };
  $| = 1;
  print "starting\n";
  kill 'KILL', $$
  """
  # As an interpreter that starts, or `sort`, which has read all before it writes.
  @work "awk 'BEGIN {for (i = 0; i < 3000000; i++) n += i}'"
  @filters [
    {"a process substitution for all output", "bash",
     "exec > >(tee -a $LOG) 2>&1; echo starting; exit 3", [], {"starting\n", 3}},
    {"a chain of filters", "bash",
     "exec > >(tr a-z A-Z | tee -a $LOG | cat) 2>&1; echo starting; exit 3", [],
     {"STARTING\n", 3}},
    {"a filter for standard error only", "bash",
     "exec 2> >(sed s/^/E:/ >&2); echo starting >&2; exit 3", [capture_stderr_only: true],
     {"E:starting\n", 3}},
    {"a filter of which nothing comes but a file", "bash",
     "exec > >(cat >$LOG) 2>&1; echo starting; exit 3", [], {"", 3}},
    {"a pipe to a filter in the background", "sh",
     "mkfifo $LOG.fifo; tee $LOG <$LOG.fifo & exec >$LOG.fifo; echo starting; exit 3", [],
     {"starting\n", 3}},
    {"a filter that takes its time for each line", "bash",
     "exec > >(while read -r line; do sleep 0.02; echo \"$line\"; done); " <>
       "for i in 1 2 3 4 5 6 7 8; do echo $i; done; exit 3", [delay_to_sigkill: 10_000],
     {"1\n2\n3\n4\n5\n6\n7\n8\n", 3}},
    {"a filter that works before it says something", "bash",
     "exec > >(#{@work}; cat); echo starting; exit 3", [delay_to_sigkill: 60_000],
     {"starting\n", 3}},
    {"a chain of filters that work", "bash",
     "exec > >((#{@work}; cat) | (#{@work}; cat)); echo starting; exit 3",
     [delay_to_sigkill: 60_000], {"starting\n", 3}},
    {"a filter behind a FIFO that works", "sh",
     "mkfifo $LOG.fifo; (#{@work}; tee $LOG) <$LOG.fifo & exec >$LOG.fifo; echo starting; exit 3",
     [delay_to_sigkill: 60_000], {"starting\n", 3}},
    {"a program that kills itself", "perl", @perl, [], {"f: starting\n", 137}}
  ]

  for {what, shell, script, opts, expected} <- @filters do
    @tag shell: shell, script: script, opts: opts, expected: expected
    test "delivers the whole output of #{what}", context do
      if System.find_executable(context.shell) || Cgroups.announce("there is no #{context.shell}") do
        option = if context.shell == "perl", do: "-e", else: "-c"

        for number <- 1..25 do
          log = Path.join(context.directory, "#{number}")
          opts = Keyword.merge([env: [{"LOG", log}], delay_to_sigkill: 60_000], context.opts)
          assert MuonTrap.cmd(context.shell, [option, context.script], opts) == context.expected
          if context.script =~ "$LOG", do: assert(File.read!(log) =~ ~r/starting/i)
        end
      end
    end
  end

  @tag :cgroup
  test "delivers it from a control group as well" do
    if Cgroups.offers?() and bash?() do
      script = "exec > >(tee /dev/null); echo starting; exit 3"
      opts = [cgroup_base: Cgroups.base()]
      for _ <- 1..10, do: assert({"starting\n", 3} = MuonTrap.cmd("bash", ["-c", script], opts))
    end
  end

  test "delivers it to a Daemon" do
    if bash?() do
      test = self()

      for number <- 1..10 do
        script = "exec > >(tee /dev/null); echo #{number}"
        opts = [logger_fun: &send(test, {:line, &1})]
        {:ok, daemon} = Daemon.start_link("bash", ["-c", script], opts)
        monitor = Process.monitor(daemon)
        assert_receive {:DOWN, ^monitor, :process, ^daemon, _reason}, @soon_ms
        line = "#{number}"
        assert_received {:line, ^line}
      end
    end
  end

  test "kills what says nothing, whatever it holds open and however busy it is", context do
    for rest <- [
          "sleep 1000",
          "sleep 1000 >/dev/null 2>&1",
          "setsid sleep 1000",
          "while :; do :; done",
          "trap '' TERM; while :; do sleep 0.01; done"
        ] do
      assert {"", 0} = left(rest, context.token, delay_to_sigkill: 1_000_000)
      assert Trees.carrying(context.token) == []
    end
  end

  test "kills what does not stop to say something after the delay", context do
    rest = "while :; do echo x; sleep 0.005; done"
    {output, 0} = left(rest, context.token, delay_to_sigkill: 400)
    assert length(String.split(output)) > 5
    assert Trees.carrying(context.token) == []
  end

  test "waits for an owner that takes its time, and loses nothing" do
    # More than window and pipe hold, taken in pieces that together take longer than the delay.
    script = "(yes | head -c 300000) & exit 3"
    options = Options.validate!(:cmd, "sh", ["-c", script], delay_to_sigkill: 300)
    {:ok, command} = Command.start(options, {:null, :pipe, :null})
    assert {300_000, {:exited, 3}} = take_slowly(command, 0)
  end

  defp take_slowly(command, count) do
    case Command.next(command, :infinity) do
      {{:stdout, bytes}, command} ->
        Process.sleep(50)
        take_slowly(command, count + byte_size(bytes))

      {{:ended, outcome}, _command} ->
        {count, outcome.status}
    end
  end

  describe "linger:" do
    test "0 kills at once", context do
      script = "trap '' TERM; (sleep 0.3; echo late) & exit 3"
      assert {"", 3} = run(script, context.token, linger: 0)
      assert Trees.carrying(context.token) == []
    end

    test "is how long what the program left may go on at the most", context do
      assert {"late\n", 3} = run("(sleep 0.3; echo late) & exit 3", context.token, linger: 60_000)

      assert {"", 3} = run("(sleep 1000 && echo late) & exit 3", context.token, linger: 300)
      assert Trees.carrying(context.token) == []
    end

    test ":infinity waits for its end, though it is silent", context do
      file = Path.join(context.directory, "HEAD.lock")
      script = ": >#{file}; (setsid sh -c 'sleep 1; rm #{file}' >/dev/null 2>&1 &) ; exit 3"
      assert {"", 3} = run(script, context.token, linger: :infinity, delay_to_sigkill: 10)
      refute File.exists?(file)
      assert Trees.carrying(context.token) == []
    end

    test "ends with the timeout", context do
      script = "sleep 1000 & exit 3"
      assert {"", :timeout} = run(script, context.token, linger: :infinity, timeout: 100)
      assert Trees.carrying(context.token) == []
    end

    test "ends with the owner, in order", context do
      # What is left hears of it, and has the grace to leave in order.
      file = Path.join(context.directory, "bye")

      script =
        "sh -c 'trap \"touch #{file}; exit\" TERM; echo ready; while :; do sleep 0.01; done' &"

      test = self()

      owner =
        spawn(fn ->
          options =
            Options.validate!(:cmd, "sh", ["-c", script],
              linger: :infinity,
              delay_to_sigkill: 30_000,
              env: [{"MUONTRAP_TOKEN", context.token}]
            )

          {:ok, command} = Command.start(options, {:null, :pipe, :null}, announce: true)
          await_ready(command)
          send(test, :ready)
          receive(do: (:never -> :ok))
        end)

      assert_receive :ready, @soon_ms
      # The program is gone, and its pid may be somebody else's.
      assert Trees.eventually(fn -> match?([%{os_pid: nil}], MuonTrap.list()) end)
      assert Trees.carrying(context.token) != []
      Process.exit(owner, :kill)
      assert Trees.eventually(fn -> MuonTrap.list() == [] end)
      assert Trees.carrying(context.token) == []
      assert File.exists?(file)
    end

    test "ends when the shim is killed", context do
      task = Task.async(fn -> run("sleep 1000 & exit", context.token, linger: :infinity) end)
      assert Trees.eventually(fn -> match?([%{os_pid: nil}], MuonTrap.list()) end)
      assert Trees.eventually(fn -> length(Trees.carrying(context.token)) == 1 end)
      [shim] = Trees.at_work(Nif.spawner_pid())
      Trees.kill(shim, "KILL")
      assert %MuonTrap.Error{step: :shim, reason: :died} = Task.await(task, @soon_ms)
      assert Trees.carrying(context.token) == []
    end

    test "is refused when it is no time" do
      for value <- [-1, 1.5, :forever, nil, "1"] do
        assert_raise ArgumentError,
                     ~r/option :linger .* milliseconds .* or :infinity, got: /,
                     fn ->
                       MuonTrap.cmd("true", [], linger: value)
                     end
      end
    end
  end

  defp bash?, do: System.find_executable("bash") != nil or Cgroups.announce("there is no bash")

  defp left(rest, token, opts), do: run("(#{rest}) & exit 0", token, opts)

  defp run(script, token, opts) do
    opts = [env: [{"MUONTRAP_TOKEN", token}]] ++ opts
    Task.await(Task.async(fn -> try_cmd("sh", ["-c", script], opts) end), @soon_ms)
  end

  defp try_cmd(program, args, opts) do
    MuonTrap.cmd(program, args, opts)
  rescue
    error in MuonTrap.Error -> error
  end

  defp await_ready(command) do
    case Command.next(command, :infinity) do
      {{:stdout, "ready\n"}, command} -> command
      {_other, command} -> await_ready(command)
    end
  end
end
