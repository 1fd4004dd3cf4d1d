# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.MessagesTest do
  @moduledoc """
  What muontrap says when something goes wrong, whole and as it is read: each message is provoked here.

  `…` stands for what differs from machine to machine.
  """

  use MuonTrap.Case

  import ExUnit.CaptureLog

  alias MuonTrap.{Cgroups, Command, Daemon, Error, ExitError, Options, Trees}

  @daemon "MuonTrap.Daemon.start_link/3"

  defp said(fun) do
    fun.()
  catch
    :error, reason -> Exception.message(Exception.normalize(:error, reason, __STACKTRACE__))
  else
    result -> flunk("nothing was raised: #{inspect(result)}")
  end

  defp assert_reads(text, expected) do
    pattern = expected |> Regex.escape() |> String.replace("…", ".*")
    assert text =~ ~r/\A#{pattern}\z/s, "expected: #{expected}\nread:     #{text}"
  end

  defp cmd(opts), do: fn -> MuonTrap.cmd("true", [], opts) end
  defp daemon(opts), do: fn -> Daemon.start_link("true", [], opts) end

  test "a call that cannot be right" do
    for {call, message} <- [
          {fn -> MuonTrap.cmd(~c"ls", []) end,
           ~s(MuonTrap.cmd/3 expects a string as the command, such as "ls", got: #{inspect(~c"ls")})},
          {fn -> MuonTrap.cmd(:git, []) end,
           ~S(MuonTrap.cmd/3 expects a string as the command, such as "git", got: :git)},
          {fn -> MuonTrap.run(nil, []) end,
           ~S(MuonTrap.run/3 expects a string as the command, such as "ls", got: nil)},
          {fn -> MuonTrap.cmd("a\0b", []) end,
           "cannot execute MuonTrap.cmd/3 for program with null byte: expected a command without NUL bytes, " <>
             "got: <<97, 0, 98>>"},
          {fn -> MuonTrap.cmd("ls", "-l") end,
           ~S(MuonTrap.cmd/3 expects a list of arguments, such as ["-l", "/tmp"], got: a string)},
          {fn -> MuonTrap.cmd("ls", ["-l", ~c"/tmp"]) end,
           "all arguments for MuonTrap.cmd/3 must be binaries without NUL bytes (strings in double quotes), " <>
             "got: a charlist as argument 2"},
          {fn -> MuonTrap.cmd("sleep", [10]) end,
           "all arguments for MuonTrap.cmd/3 must be binaries without NUL bytes (to_string/1 makes one), " <>
             "got: an integer as argument 1"},
          {fn -> MuonTrap.cmd("ls", [], "x") end,
           "MuonTrap.cmd/3 expects options as a keyword list or a map with atoms as keys, such as " <>
             ~S([cd: "/tmp"], got: a string)},
          {fn -> MuonTrap.cmd("ls", [], %{"cd" => "/"}) end,
           "MuonTrap.cmd/3 expects options as a keyword list or a map with atoms as keys, such as " <>
             ~S([cd: "/tmp"], got: the key "cd")},
          {fn -> MuonTrap.pipe!(["a"], "cat", [], input: "s3cret") end,
           "the program of a pipeline reads what is piped to it: leave :input out, got: a string"}
        ] do
      assert_reads(said(call), message)
    end
  end

  test "an option that the function does not have" do
    for {call, message} <- [
          {cmd(tiemout: 5), "unknown option :tiemout for MuonTrap.cmd/3; did you mean :timeout?"},
          {cmd(xyz: 5),
           "unknown option :xyz for MuonTrap.cmd/3; h MuonTrap.cmd in IEx lists what there is"},
          {cmd(capture_stderr: true),
           "option :capture_stderr is not for MuonTrap.cmd/3; use MuonTrap.run/3, whose result has :stderr, or " <>
             "stderr_to_stdout: true"},
          {cmd(stderr: :null),
           "option :stderr is not for MuonTrap.cmd/3; standard error is the VM's unless stderr_to_stdout: or " <>
             "capture_stderr_only: takes it"},
          {cmd(name: :a),
           "option :name is not for MuonTrap.cmd/3; MuonTrap.Daemon.start_link/3 takes it"},
          {daemon(timeout: 5),
           "option :timeout is not for #{@daemon}; a Daemon runs until it is stopped; start_timeout: limits its " <>
             "start, watchdog: its silence"},
          {daemon(into: []),
           "option :into is not for #{@daemon}; use log_output: or logger_fun: for the output"},
          {fn -> MuonTrap.stream!("true", [], into: []) end,
           "option :into is not for MuonTrap.stream/3; use Enum.into/2 on the stream"}
        ] do
      assert_reads(said(call), message)
    end
  end

  test "an option with a value that it does not take" do
    for {call, what, expected} <- [
          {cmd(cd: ~c"/"), ":cd", "expected a string, got: #{inspect(~c"/")}"},
          {cmd(cd: "a\0"), ":cd", "expected a string without NUL bytes, got: <<97, 0>>"},
          {cmd(clear_env: 1), ":clear_env", "expected true or false, got: 1"},
          {cmd(env: ["A=1"]), ":env",
           "expected {name, value} pairs in a list, a map or another enumerable, got: a string"},
          {cmd(env: [{"A=B", "s3cret"}]), ":env",
           ~S(expected names that are neither empty nor hold "=", and names and values without NUL bytes, ) <>
             ~S(got: {"A=B", a string})},
          {cmd(timeout: 0), ":timeout",
           "expected milliseconds (an integer, 1 or more) or :infinity, got: 0"},
          {cmd(timeout: 5_000_000_000), ":timeout",
           "expected milliseconds or :infinity, at most 4294967295, got: 5000000000"},
          {cmd(stdio_window: 0), ":stdio_window",
           "expected bytes (an integer, 1 or more), got: 0"},
          {cmd(stdin: "s3cret"), ":stdin",
           "expected :null or :open (use input: for something to read), got: a string"},
          {cmd(input: %{a: 1}), ":input",
           "expected iodata or an enumerable of iodata, got: a map"},
          {cmd(into: nil), ":into",
           "expected a Collectable, such as a string or a list, got: nil"},
          {cmd(lines: true), ":lines", "expected an integer, 1 or more, got: true"},
          {cmd(stop_signal: :term), ":stop_signal",
           "expected a signal name such as :sigterm, or a number from 1 to 64; did you mean :sigterm?, got: :term"},
          {cmd(uid: "root"), ":uid",
           "expected a user other than root, as a name or an id; without this option the program runs as the VM " <>
             ~S(does, got: "root")},
          {cmd(umask: 0o1000), ":umask", "expected an integer from 0o000 to 0o777, got: 512"},
          {cmd(nice: 20), ":nice", "expected an integer from -20 to 19, got: 20"},
          {cmd(rlimits: [files: 1]), ":rlimits",
           "expected one of the resources :as, …, :stack, got: {:files, 1}"},
          {cmd(rlimits: [nofile: {2, 1}]), ":rlimits",
           "expected a soft limit that is not over the hard one, got: {:nofile, {2, 1}}"},
          {cmd(rlimits: [nofile: -1]), ":rlimits",
           "expected a limit or {soft, hard}, each :infinity or an integer from 0 to 2^64 - 2, got: {:nofile, …}"},
          {cmd(cgroup_path: "a/../b"), ":cgroup_path",
           ~S(expected a path below the mount point, without . and .., got: "a/../b")},
          {cmd(cgroup_path: "/sys/fs/cgroup/a"), ":cgroup_path",
           ~S(expected a path relative to the mount point /sys/fs/cgroup, write "a" instead, got: "/sys/fs/cgroup/a")},
          {cmd(cgroup_base: "a", cgroup: [memory_maks: 1]), ":cgroup",
           "unknown cgroup config field, did you mean :memory_max?, got: :memory_maks"},
          {cmd(cgroup_base: "a", cgroup: %{memory_max: "1 GB"}), ":cgroup",
           "invalid value for cgroup key :memory_max, expected bytes, such as 1048576 or \"100M\", or :max, " <>
             ~S(got: "1 GB")},
          {cmd(cgroup_base: "a", cgroup: 5), ":cgroup",
           ~S(expected a map or keyword list of limits, such as %{memory_max: "100M"}, got: 5)},
          {daemon(log_output: :loud), ":log_output",
           "expected one of :emergency, :alert, :critical, :error, :warning, :notice, :info, :debug, got: :loud"},
          {daemon(wait_for: :db), ":wait_for", "expected a function without arguments, got: :db"},
          {daemon(ready: {:tcp, 0}), ":ready",
           "expected {:output, regex}, {:tcp, port}, {:fun, function} with a function without arguments, or " <>
             ":notify, got: {:tcp, 0}"}
        ] do
      text = said(call)
      function = if text =~ "Daemon", do: @daemon, else: "MuonTrap.cmd/3"
      assert_reads(text, "invalid option #{what} for #{function}: #{expected}")
    end

    assert_reads(
      said(cmd(groups: ["audio", :video])),
      "invalid :groups entry for MuonTrap.cmd/3: expected a group other than root's, as a name or an id, got: :video"
    )
  end

  test "options that exclude or need each other" do
    for {call, message} <- [
          {cmd(use_stdio: false, input: "s3cret"),
           "MuonTrap.cmd/3 cannot take :use_stdio together with :input: with use_stdio: false the program has the " <>
             "VM's own input and output, got: [use_stdio: false, input: a string]"},
          {daemon(stderr: :null, log_stderr: :info),
           "#{@daemon} cannot take :stderr together with :log_stderr: the first drops what the second is to log, " <>
             "got: [stderr: :null, log_stderr: :info]"},
          {cmd(cgroup: %{pids_max: 5}),
           "MuonTrap.cmd/3 requires a :cgroup_path or :cgroup_base for limits (cgroup_base: :self is the VM's own " <>
             "group), got: [cgroup: %{pids_max: 5}]"},
          {daemon(watchdog: 5),
           "#{@daemon} needs ready: :notify for :watchdog, got: [watchdog: 5, ready: nil]"}
        ] do
      assert_reads(said(call), message)
    end
  end

  test "a program that cannot be started, by run/3" do
    missing = "no such file or directory (enoent)"

    for {call, message} <- [
          {fn -> MuonTrap.run("no-such-program", []) end,
           ~s(cannot find the program "no-such-program": #{missing}; give the absolute path, or check PATH)},
          {fn -> MuonTrap.run("ls -l", []) end,
           ~s|cannot find the program "ls -l": #{missing}; arguments go into a list: MuonTrap.cmd("ls", ["-l"]), | <>
             "and lines of shell to MuonTrap.shell/2"},
          {fn -> MuonTrap.run("/no/such", []) end,
           ~s(cannot execute "/no/such": #{missing}; the file is missing, or the interpreter in its first line, or ) <>
             "its dynamic loader"},
          {fn -> MuonTrap.run("/etc/passwd", []) end,
           ~S|cannot execute "/etc/passwd": permission denied (eacces); it must be a file that may be executed, in | <>
             "directories that may be entered"},
          {fn -> MuonTrap.run("true", [String.duplicate("s", 140_000)]) end,
           ~S|cannot execute "…true": argument list too long (e2big); pass less by arguments and environment, or use | <>
             "input:; in a cgroup, its memory limit may be too low"},
          {fn -> MuonTrap.run("true", [], cd: "/no/such") end,
           ~s(cannot change to directory "/no/such": #{missing}; make the directory first, or check cd:)},
          {fn -> MuonTrap.run("true", [], cd: "/etc/passwd") end,
           ~S|cannot change to directory "/etc/passwd": not a directory (enotdir); cd: needs a directory|},
          {fn -> MuonTrap.run("true", [], uid: "no-such-user") end,
           ~S|cannot change to user "no-such-user": no such user (unknown_user); getent passwd lists the users; an | <>
             "id works without an entry"},
          {fn -> MuonTrap.run("true", [], groups: ["no-such-group"]) end,
           ~S|cannot set the supplementary groups "no-such-group": no such group (unknown_group); getent group | <>
             "lists the groups; an id works without an entry"},
          {fn -> MuonTrap.run("true", [], rlimits: [nofile: :infinity]) end,
           ~S|cannot set the resource limit "nofile": operation not permitted (eperm); raising a hard limit needs | <>
             "CAP_SYS_RESOURCE; nofile stops at fs.nr_open"},
          {fn -> MuonTrap.run("sh", ["-c", "kill -9 $PPID; sleep 1000"]) end,
           "cannot supervise the program: the helper died (died); start the program again"}
        ] do
      assert_reads(said(call), message)
    end
  end

  test "the same by cmd/3, behind the errno of System.cmd/3" do
    assert_reads(
      said(cmd(cd: "/no/such")),
      ~S|Erlang error: :enoent: cannot change to directory "/no/such": no such file or directory (enoent); | <>
        "make the directory first, or check cd:"
    )
  end

  @tag :cgroup
  test "a cgroup that is refused" do
    if Cgroups.offers?([]) do
      base = Cgroups.base()

      for {opts, message} <- [
            {[cgroup_base: base, cgroup_controllers: ["no_such"]],
             ~S|cannot enable the cgroup controller "no_such": the controller is not available (no_controller); no | <>
               "mounted hierarchy has it: boot with cgroup_enable=no_such, or give the container the controller; " <>
               "/proc/cgroups lists what this kernel has"}
          ] do
        assert_reads(said(cmd(opts)), message)
      end
    end
  end

  test "a Daemon that cannot be started" do
    Process.flag(:trap_exit, true)
    port = MuonTrap.Daemons.free_port()
    {:ok, taken} = :gen_tcp.listen(port, ip: {127, 0, 0, 1})

    for {script, opts, message} <- [
          {"exit 3", [ready: {:output, ~r/up/}],
           ~S|cannot see "sh" become ready: it ended first (exited); exit status 3|},
          {"sleep 1000", [ready: {:output, ~r/up/}, start_timeout: 50],
           ~S|cannot wait longer for "sh" to become ready: it took too long (timeout); look at what it logs, or raise | <>
             "start_timeout:"},
          {"sleep 1000", [ready: {:tcp, port}, start_timeout: 50],
           ~s|cannot wait for the program on the TCP port "#{port}": address already in use (eaddrinuse); another | <>
             "process accepts connections on it already; stop it, or choose another port"}
        ] do
      assert {:error, %Error{} = error} = Daemon.start_link("sh", ["-c", script], opts)
      assert_reads(Exception.message(error), message)
      # From OTP 26 on the start takes it out of the mailbox itself.
      if String.to_integer(System.otp_release()) < 26,
        do: assert_receive({:EXIT, _pid, _reason}, 60_000)
    end

    :gen_tcp.close(taken)
    refute_receive _, 0
  end

  test "a program that does not succeed" do
    for {call, message} <- [
          {fn -> MuonTrap.run!("sh", ["-c", "echo why >&2; exit 2"], capture_stderr: true) end,
           "sh exited with status 2. The end of its standard error:\nwhy"},
          {fn -> MuonTrap.cmd!("sh", ["-c", "kill -9 $$"]) end, "sh was ended by SIGKILL"},
          {fn -> MuonTrap.cmd!("sh", ["-c", "kill -40 $$"]) end, "sh was ended by signal 40"},
          {fn -> MuonTrap.cmd!("sleep", ["1000"], timeout: 50) end,
           "sleep did not end in time and was stopped"}
        ] do
      assert_reads(said(call), message)
    end

    result = MuonTrap.run("sh", ["-c", "kill -9 $$"])
    error = %ExitError{command: "sh", result: %{result | oom_killed: true}}
    assert_reads(Exception.message(error), "sh ran out of memory and was killed")
  end

  test "what is wrong with an input or a stream" do
    assert_reads(
      said(fn -> MuonTrap.cmd("cat", [], input: Stream.map([1], fn _ -> :s3cret end)) end),
      "every element of :input must be iodata, such as a string, got: an atom"
    )

    suspend = fn element, _acc -> {:suspend, element} end

    {:suspended, "y" <> _more, go_on} =
      Enumerable.reduce(MuonTrap.stream!("yes", []), {:cont, nil}, suspend)

    elsewhere = Task.async(fn -> said(fn -> go_on.({:cont, nil}) end) end)

    assert_reads(
      Task.await(elsewhere, :infinity),
      "the enumeration of a program's output goes on only in the process that began it, #{inspect(self())}, got: …"
    )

    assert {:halted, nil} = go_on.({:halt, nil})
  end

  test "what is logged" do
    Process.flag(:trap_exit, true)
    options = Options.validate!(:cmd, "backup", [], [])
    command = %Command{ref: nil, grace_ms: 0, program: options.command, args: [], since: 0}
    left = {:cgroup_remove, "/sys/fs/cgroup/a", :ebusy}
    outcome = %{survivors: [4711], leftovers: [left]}

    log =
      capture_log(fn ->
        Command.report(command, {:lost, {:shim, "", :died}, [4712]})
        report_left(command, outcome)
        logger = fn _line -> raise "full" end
        {:ok, pid} = Daemon.start_link("echo", ["hello"], logger_fun: logger)
        MuonTrap.Daemons.stopped(pid)
        {"x", 0} = MuonTrap.cmd("head", ["-c", "1"], input: unreleasable())
      end)

    for line <- [
          "[error] backup ended, but something of it is left. Processes that cannot be killed: [4712]. " <>
            "muontrap cannot supervise the program: the helper died (died)",
          ~S|muontrap cannot remove the cgroup "/sys/fs/cgroup/a": file busy (ebusy).|,
          ~S|[error] a line of "echo" is lost because its logger failed, which is said once: ** (RuntimeError) full|,
          "[error] an enumerable :input failed while it was halted, after its program: ** (RuntimeError) stuck"
        ] do
      assert log =~ line
    end
  end

  defp unreleasable,
    do: Stream.resource(fn -> nil end, &{["x"], &1}, fn _nil -> raise "stuck" end)

  # Without telemetry, which would look at the numbers of a real one.
  defp report_left(command, outcome),
    do: Command.report(command, {:lost, hd(outcome.leftovers), outcome.survivors})

  test "every step and reason, with a subject and without" do
    for step <- Error.Steps.all(), subject <- [nil, "x"] do
      text = Exception.message(%Error{step: step, subject: subject, reason: :eio})
      assert text =~ ~r/^cannot [a-z]/
      refute text =~ ~r/ for:|%|do the step|  /
      if subject, do: assert(text =~ ~S("x")), else: refute(text =~ "nil")
    end

    assert Trees.eventually(fn -> MuonTrap.list() == [] end)
  end
end
