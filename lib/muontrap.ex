# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap do
  @moduledoc """
  Runs OS programs so that none is ever lost.

      iex> MuonTrap.cmd("echo", ["hello"])
      {"hello\\n", 0}

  When a call returns, the program and everything that it started is gone. The same holds if the calling process or the
  VM ends first, for whatever reason. You need neither root nor cgroups for that.

  | you want to | call | it returns |
  |---|---|---|
  | replace `System.cmd/3` | `cmd/3` | output and exit status |
  | know how a program ended | `run/3` | a `MuonTrap.Result` |
  | raise unless the status is 0 | `cmd!/3`, `run!/3` | the output, or the result |
  | replace `System.shell/2` | `shell/2` | output and exit status |
  | handle output as it comes | `stream!/3`, `stream/3` | a lazy enumerable |
  | filter an enumerable by programs | `pipe!/4`, `pipe/4` | a lazy enumerable |
  | join programs in the kernel | `pipeline/2`, `pipeline!/2` | a `MuonTrap.Result` |
  | talk to a program | `open/3` | a `MuonTrap.Session` |
  | keep a program running | `MuonTrap.Daemon` | a child of your supervisor |

  With `:node` the program runs on another node. Sessions and pipelines do not take that option.
  """

  alias MuonTrap.{Collect, Defaults, Doctor, Live, Options, Pipeline, Result, Session}

  @typedoc "A program of a pipeline: command, arguments, and options of its own."
  @type program :: {binary(), [binary()]} | {binary(), [binary()], keyword() | map()}

  @typedoc "An entry of `list/0`, or its `:id`."
  @type command :: %{:id => pos_integer() | nil, optional(atom()) => term()} | pos_integer()

  @doc """
  Runs a program and returns its output and exit status, as `System.cmd/3` does.

  `command` is an absolute path, or a name to look up in `PATH`. `args` reach the program unchanged; there is no shell.
  The call blocks until the program has ended, and nothing is left of what it started. It never ends the calling
  process, and leaves no message in its mailbox.

  Returns `{output, exit_status}`. The output is what `:into` made of it. The status is the exit code, or 128 plus the
  number of the signal that ended the program (137 for SIGKILL), or the first bound that it reached: `:timeout`,
  `:idle_timeout` or `:max_output`. If `:max_output` only cuts output off, the status does not change.

  If the calling process ends first, the program gets `:stop_signal`, and after `:delay_to_sigkill` everything that is
  left gets SIGKILL. If the program ends first, its background processes may finish writing their output, and are then
  killed; `:linger` gives them more time.

  ## Options

  #{Options.docs(:cmd)}
  ## Errors

    * `ArgumentError` - a mistake in the call: an unknown option, a value of the wrong kind
    * `ErlangError` with the errno in `:original` (`:enoent`, `:eacces`, `:e2big`, `:emfile`, …), as from
      `System.cmd/3` - the program cannot be found or executed, `:cd` cannot be entered, or the system is short of
      something. IEx and crash logs say which; after `rescue`, `Exception.format/3` with `error.original` and
      `__STACKTRACE__` does. `run/3` raises a `MuonTrap.Error` to match on instead
    * `MuonTrap.Error` - the system refused an option (user, limit, cgroup), and the program did not run; a helper was
      killed, and the program with it (the step is `:shim`); the native library is missing (`:nif`); or the other node
      cannot be reached, or was lost (`:node`)

  If the memory limit of its cgroup is too small even to start the program, you get `{"", 137}`, as if the OOM killer
  had ended it, and the log names the limit.

  The call waits some seconds for processes that cannot be killed: those of another user, or stuck in the kernel. Then it
  logs an error and returns; `run/3` names them in its result.

  ## Examples

      iex> MuonTrap.cmd("echo", ["hello"])
      {"hello\\n", 0}

      iex> MuonTrap.cmd("sh", ["-c", "echo one; echo two; exit 3"], lines: 1024, into: [])
      {["one", "two"], 3}

      iex> MuonTrap.cmd("sleep", ["1000"], timeout: 50)
      {"", :timeout}

      iex> MuonTrap.cmd("yes", [], max_output: {4, :stop})
      {"y\\ny\\n", :max_output}

      iex> MuonTrap.cmd("tr", ["a-z", "A-Z"], input: "hello")
      {"HELLO", 0}
  """
  @spec cmd(binary(), [binary()], keyword() | map()) ::
          {Collectable.t(), 0..255 | Result.bound()}
  def cmd(command, args, opts \\ []) do
    result = Collect.run(Options.validate!(:cmd, command, args, opts), :posix)
    {result.output, result.stopped_by || result.exit_status}
  end

  @doc """
  Runs a program as `cmd/3` does, and returns a `MuonTrap.Result`.

  Options, blocking and guarantees are those of `cmd/3`; `:capture_stderr` is there, too. The end of the program is never
  an error, whatever it is: the result describes it, and names processes that could not be killed.

  ## Options

  #{Options.docs(:run)}
  ## Errors

    * `ArgumentError` - a mistake in the call
    * `MuonTrap.Error` - the program could not be started, or a helper was killed (the step is `:shim`), so that the
      end of the program is unknown; `t:MuonTrap.Error.step/0` lists the steps

  ## Examples

      iex> result = MuonTrap.run("sh", ["-c", "echo hello; exit 3"])
      iex> {result.status, result.output}
      {{:exited, 3}, "hello\\n"}

      iex> MuonTrap.run("sh", ["-c", "kill -TERM $$"]).status
      {:signaled, :sigterm}

      iex> result = MuonTrap.run("sh", ["-c", "echo out; echo err >&2"], capture_stderr: true)
      iex> {result.output, result.stderr}
      {"out\\n", "err\\n"}

      iex> MuonTrap.run("sleep", ["1000"], timeout: 50).status
      :timeout
  """
  @spec run(binary(), [binary()], keyword() | map()) :: Result.t()
  def run(command, args, opts \\ []),
    do: Collect.run(Options.validate!(:run, command, args, opts), :error)

  @doc """
  Runs a program as `cmd/3` does, returns its output, and raises unless it exits with 0.

  Options, blocking and guarantees are those of `cmd/3`. Standard error goes to that of the VM, unless an option sends it
  elsewhere, and the message of the exception has the end of it.

  ## Errors

  Those of `cmd/3`, and

    * `MuonTrap.ExitError` - the program exited with another status than 0, a signal ended it, or a bound stopped it:
      `:timeout`, `:idle_timeout`, `:max_output`

  ## Examples

      iex> MuonTrap.cmd!("echo", ["hello"])
      "hello\\n"
  """
  @spec cmd!(binary(), [binary()], keyword() | map()) :: Collectable.t()
  def cmd!(command, args, opts \\ []),
    do: Collect.run!(Options.validate!(:cmd, command, args, opts), :posix).output

  @doc """
  Runs a program as `run/3` does, and raises unless it exits with 0.

  Options, blocking and guarantees are those of `run/3`. Standard error is treated as by `cmd!/3`, and with
  `:capture_stderr` it is in the result, too.

  ## Errors

  Those of `run/3`, and `MuonTrap.ExitError` as `cmd!/3` raises it.

  ## Examples

      iex> MuonTrap.run!("sh", ["-c", "echo hello"]).status
      {:exited, 0}
  """
  @spec run!(binary(), [binary()], keyword() | map()) :: Result.t()
  def run!(command, args, opts \\ []),
    do: Collect.run!(Options.validate!(:run, command, args, opts), :error)

  @doc """
  Runs a line of shell as `System.shell/2` does, contained.

  `/bin/sh -c` runs the line. Options, return value, errors, blocking and guarantees are those of `cmd/3`. `:close_stdin`
  of `System.shell/2` has no effect: standard input is `/dev/null`, unless `:input` or `:stdin` say otherwise.

  Never put text from outside into the line. Pass it in `:env`, and write `"$NAME"` in the line.

  ## Examples

      iex> MuonTrap.shell("echo one; echo two >&2", stderr_to_stdout: true)
      {"one\\ntwo\\n", 0}

      iex> MuonTrap.shell(~S(echo "$WHO"), env: [{"WHO", "$(reboot)"}])
      {"$(reboot)\\n", 0}
  """
  @spec shell(binary(), keyword() | map()) :: {Collectable.t(), 0..255 | Result.bound()}
  def shell(line, opts \\ []),
    do: cmd("/bin/sh", ["-c", line], Enum.reject(opts, &match?({:close_stdin, _}, &1)))

  @doc """
  Returns the output of a program as a lazy enumerable that raises at its end unless the program exits with 0.

  The program starts when the stream is enumerated; `MuonTrap.Stream` describes an enumeration. Elements are binaries as
  they arrive, or whole lines with `:lines`. With `:capture_stderr` they are `{:stdout, bytes}` and `{:stderr, bytes}`;
  without it, standard error goes to that of the VM, and the message of the exception has the end of it.

  ## Options

  #{Options.docs(:stream)}
  ## Errors

    * `ArgumentError`, at once - a mistake in the call
    * `MuonTrap.Error`, during the enumeration - as from `run/3`
    * `MuonTrap.ExitError`, after the last element - as from `cmd!/3`

  ## Examples

      iex> MuonTrap.stream!("sh", ["-c", "echo one; echo two"], lines: 1024) |> Enum.to_list()
      ["one", "two"]

      iex> MuonTrap.stream!("yes", [], lines: 1024) |> Enum.take(2)
      ["y", "y"]
  """
  @spec stream!(binary(), [binary()], keyword() | map()) :: MuonTrap.Stream.t()
  def stream!(command, args, opts \\ []),
    do: MuonTrap.Stream.new(Options.validate!(:stream, command, args, opts), :raise, opts)

  @doc """
  Returns the output of a program as `stream!/3` does, with its result as the last element: `{:exit, result}`.

  The end of the program is never an error; the `MuonTrap.Result` describes it. Options and errors are those of `stream!/3`,
  without `MuonTrap.ExitError`.

  ## Examples

      iex> [line, {:exit, result}] =
      ...>   MuonTrap.stream("sh", ["-c", "echo one; exit 3"], lines: 1024) |> Enum.to_list()
      iex> {line, result.status}
      {"one", {:exited, 3}}
  """
  @spec stream(binary(), [binary()], keyword() | map()) :: MuonTrap.Stream.t()
  def stream(command, args, opts \\ []),
    do: MuonTrap.Stream.new(Options.validate!(:stream, command, args, opts), :result, opts)

  @doc """
  Returns the output of a program that reads an enumerable: a filter, to be used in a pipeline.

  It is `stream!/3` with the enumerable as `:input`, and takes the same options, without `:input` and `:stdin`. Another
  process pulls the enumerable during the enumeration, as fast as the program reads. If the enumerable is the stream of
  another program, that program has ended as well when this enumeration returns.

  If a program ends without reading everything, as `head` does, the programs before it end, too. That is not an error. If a
  program before it fails, this one raises. Other errors are those of `stream!/3`, and what the enumerable raises.

  ## Examples

      iex> ["b\\n", "a\\n"] |> MuonTrap.pipe!("sort", []) |> Enum.join()
      "a\\nb\\n"

      iex> MuonTrap.stream!("yes", []) |> MuonTrap.pipe!("head", ["-2"]) |> Enum.join()
      "y\\ny\\n"
  """
  @spec pipe!(Enumerable.t(), binary(), [binary()], keyword() | map()) :: MuonTrap.Stream.t()
  def pipe!(enumerable, command, args, opts \\ []),
    do: MuonTrap.Stream.filter(enumerable, {command, args, opts}, :raise)

  @doc """
  Returns the output of a program that reads an enumerable as `pipe!/4` does, with its result as the last element.

  The result is that of this program only, as from `stream/3`. If the program reads a `stream/3` or `pipe/4`, the result of
  that is dropped; if it reads a `stream!/3` that fails, this one raises. Options and errors are otherwise those of `pipe!/4`.

  ## Examples

      iex> [lines, {:exit, result}] = ["b\\n", "a\\n"] |> MuonTrap.pipe("sort", []) |> Enum.to_list()
      iex> {lines, result.status}
      {"a\\nb\\n", {:exited, 0}}
  """
  @spec pipe(Enumerable.t(), binary(), [binary()], keyword() | map()) :: MuonTrap.Stream.t()
  def pipe(enumerable, command, args, opts \\ []),
    do: MuonTrap.Stream.filter(enumerable, {command, args, opts}, :result)

  @doc """
  Starts a program to talk to, and returns a session for the functions of `MuonTrap.Session`.

  Returns when the program runs. The calling process owns the session: when the process ends, the program and everything
  that it started ends, too.

  ## Options

  #{Options.docs(:session)}
  ## Errors

    * `ArgumentError` - an argument or option that makes no sense
    * `{:error, %MuonTrap.Error{}}` - the program cannot be started, and has not run

  ## Examples

      iex> {:ok, session} = MuonTrap.open("tr", ["a-z", "A-Z"])
      iex> MuonTrap.Session.write(session, "hello")
      iex> MuonTrap.Session.close_stdin(session)
      iex> MuonTrap.Session.read(session)
      {:ok, "HELLO"}
      iex> {:ok, result} = MuonTrap.Session.await(session)
      iex> result.status
      {:exited, 0}
  """
  @spec open(binary(), [binary()], keyword() | map()) ::
          {:ok, Session.t()} | {:error, MuonTrap.Error.t()}
  def open(command, args, opts \\ []),
    do: Session.open(Options.validate!(:session, command, args, opts))

  @doc """
  Runs programs joined by pipes, as `a | b | c` in a shell, and returns one result for all.

  `programs` is a list of `{command, args}` or `{command, args, options}`. The output of one goes to the next through a pipe
  of the kernel, never through the VM. `:input` goes to the first, and the output of the last is the `:output` of the
  `MuonTrap.Result`. `:programs` there has the result of each. `:status` and `:exit_status` are those of the last program
  that failed, see `:pipefail`.

  Blocks until all have ended. As in a shell, a program whose reader has ended gets SIGPIPE when it writes; one that never
  writes runs on until `:timeout`. All guarantees of `run/3` hold for each program. If a bound is reached, or one of them
  cannot be started, all are stopped. Background processes get `:linger` to end, whatever is still in the pipes then.

  ## Options

  Only for the whole pipeline: `:into`, `:lines`, `:input`, `:stdin`, `:timeout`, `:idle_timeout`, `:max_output`,
  `:capture_stderr` and `:pipefail`. Only for one program, in its own options: `:arg0`, `:cgroup_path` and
  `:stderr_to_stdout`, which sends standard error to the next program. All others are for both: a program's own value
  wins, and `:env` of both is merged. `:cgroup_base` gives each program its own group.

  #{Options.docs(:pipeline)}
  ## Errors

    * `ArgumentError` - a mistake in the call
    * `MuonTrap.Error` - a program cannot be started (it is the subject), or a helper was killed

  ## Examples

      iex> MuonTrap.pipeline([{"printf", ["b\\na\\n"]}, {"sort", []}]).output
      "a\\nb\\n"

      iex> result = MuonTrap.pipeline([{"yes", []}, {"head", ["-n1"]}])
      iex> {result.status, Enum.map(result.programs, & &1.status)}
      {{:exited, 0}, [{:signaled, :sigpipe}, {:exited, 0}]}

      iex> MuonTrap.pipeline([{"sh", ["-c", "exit 3"]}, {"cat", []}]).status
      {:exited, 3}
  """
  @spec pipeline([program()], keyword() | map()) :: Result.t()
  def pipeline(programs, opts \\ []), do: programs |> Pipeline.validate!(opts) |> Pipeline.run()

  @doc """
  Runs programs as `pipeline/2` does, and raises unless the status is `{:exited, 0}`.

  Options and errors are those of `pipeline/2`. Standard error of each program goes to that of the VM, or is captured with
  `:capture_stderr`. `MuonTrap.ExitError` names the program that failed, with the end of its standard error, or the bound
  that stopped them.

  ## Examples

      iex> MuonTrap.pipeline!([{"echo", ["hello"]}, {"tr", ["a-z", "A-Z"]}]).output
      "HELLO\\n"
  """
  @spec pipeline!([program()], keyword() | map()) :: Result.t()
  def pipeline!(programs, opts \\ []), do: programs |> Pipeline.validate!(opts) |> Pipeline.run!()

  @doc """
  Returns the absolute path of the program `muontrap`, which contains one command without this library.

  A program run by it ends with the port, and so with the port's owner and the VM:

      Port.open({:spawn_executable, MuonTrap.muontrap_path()}, [
        :binary,
        :exit_status,
        args: ["--capture-output", "--", "tail", "-f", "/var/log/syslog"]
      ])

  [Its guide](command-line.md) lists the options, and says how to acknowledge output
  (`MuonTrap.Port.report_bytes_handled/2`). New code should use `cmd/3`, `run/3` or `MuonTrap.Daemon`. Does not block, starts
  nothing, and does not check that the file is there.
  """
  @spec muontrap_path() :: Path.t()
  def muontrap_path, do: Defaults.program_path()

  @doc """
  Lists the commands of this VM whose processes are not all gone. Does not block.

  Each entry is a map:

    * `:id`, `:command` - a unique number; the program and its arguments
    * `:owner`, `:name` - the pid of the process that started it, and the name it is registered under, or `nil`
    * `:os_pid` - the process id of the program; `nil` before it runs, and after it. A program that ends within some
      milliseconds may never show one
    * `:uptime_ms`, `:stdout_bytes`, `:stderr_bytes` - time since the start, and how much of its output was read
    * `:unacknowledged_bytes`, `:window_bytes` - how much output is on its way to the owner, and how much may be
    * `:containment`, `:cgroup` - `:cgroup` or `:subreaper`; the directories of its cgroups
    * `:stopping`, `:orphaned`, `:done` - whether it was asked to stop, its owner is gone, or only output is left
    * `:waiting`, `:next_start_ms` - whether this is a Daemon that waits for its `:restart_backoff`, and for how many
      milliseconds more. Its `:id` is `nil` meanwhile
  """
  @spec list() :: [map()]
  def list, do: Live.list()

  @doc """
  Stops a command. Any process may do that, not only its owner.

  The program gets its `:stop_signal`, and after `:delay_to_sigkill` everything that is left gets SIGKILL. Blocks until
  everything is gone: for that delay at most, and some seconds more if a process cannot be killed.

  For the owner it looks as if the program had ended by itself: `cmd/3` and `run/3` return, a stream ends, and a
  `MuonTrap.Daemon` ends, so its supervisor may restart it. To end a Daemon for good, ask its supervisor.

  Returns `:ok`, or `{:error, :esrch}` if there is no such command, or nothing of it is left.

  ## Examples

      iex> task = Task.async(fn -> MuonTrap.run("sleep", ["1000"]) end)
      iex> find = fn find -> Enum.find(MuonTrap.list(), &(&1.owner == task.pid && &1.os_pid)) || find.(find) end
      iex> MuonTrap.stop(find.(find))
      :ok
      iex> Task.await(task).status
      {:signaled, :sigterm}
  """
  @spec stop(command()) :: :ok | {:error, :esrch}
  def stop(command), do: Live.stop(command)

  @doc """
  Sends a signal to the program of a command. Any process may do that, not only its owner. Does not block.

  `signal` is a name or number, see `MuonTrap.Signal`. Only the program gets it, not the processes that it started.

  ## Errors

    * `{:error, :esrch}` - there is no such command, or its program is not running
    * `{:error, :eperm}` - it runs as another user, whom the VM may not signal
    * `ArgumentError` - no such signal
  """
  @spec signal(command(), MuonTrap.Signal.t()) :: :ok | {:error, :file.posix()}
  def signal(command, signal), do: Live.signal(command, MuonTrap.Signal.number!(signal))

  @doc """
  Checks this machine, user and installation, and prints what is missing for muontrap, and how to fix it.

  Returns the worst status: `:ok`, `:degraded` or `:missing`. `MuonTrap.Doctor` returns all findings as data. Works without
  Mix, before the application has started, and without the native library: `bin/my_app eval "MuonTrap.doctor()"`. Blocks
  for some hundredths of a second.
  """
  @spec doctor() :: Doctor.status()
  def doctor do
    findings = Doctor.examine()
    IO.write(Doctor.text(findings))
    Doctor.overall(findings)
  end
end
