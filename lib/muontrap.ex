# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap do
  @moduledoc """
  Runs OS programs so that none is ever lost.

      iex> MuonTrap.cmd("echo", ["hello"])
      {"hello\\n", 0}

  When a call returns, the program and everything that it started is gone. The same holds when the calling process or
  the VM ends before, in whatever way. That needs neither root nor cgroups.

  | to | call | it returns |
  |---|---|---|
  | replace `System.cmd/3` | `cmd/3` | output and exit status |
  | know all about the end | `run/3` | a `MuonTrap.Result` |
  | fail unless the status is 0 | `cmd!/3`, `run!/3` | the output, or the result |
  | replace `System.shell/2` | `shell/2` | output and exit status |
  | handle output as it comes | `stream!/3`, `stream/3` | a lazy enumerable |
  | filter an enumerable by programs | `pipe!/4`, `pipe/4` | a lazy enumerable |
  | join programs in the kernel | `pipeline/2`, `pipeline!/2` | a `MuonTrap.Result` |
  | talk to a program | `open/3` | a `MuonTrap.Session` |
  | keep a program running | `MuonTrap.Daemon` | a child of your supervisor |

  The calls can have their program on another node, with `:node`, except for sessions and pipelines.
  """

  alias MuonTrap.{Collect, Defaults, Doctor, Live, Nif, Options, Pipeline, Result, Session}
  alias MuonTrap.Daemon.Waiting
  alias MuonTrap.Options.Words

  @doc """
  Runs a program and returns its output and exit status, as `System.cmd/3` does.

  `command` is an absolute path or a name to look up in `PATH`; `args` reach the program as they are, no shell is
  involved. The call blocks until the program has ended and nothing of what it started is left. It never ends the calling
  process, and leaves its mailbox empty of messages of its own.

  Returns `{output, exit_status}`. The output is what `:into` made of it. The status is the exit code, or 128 and the
  number of the signal that ended the program (137 for SIGKILL), or the bound
  that it was stopped by, the first that it reached: `:timeout`, `:idle_timeout` or `:max_output`. Output that
  `:max_output` has cut off is no failure; `run/3` says so in its result.

  If the calling process ends first, the program gets `:stop_signal`, and after `:delay_to_sigkill` everything that is
  left gets SIGKILL. If the program ends first, the background processes that it leaves may pass on the output that
  they have, and are then killed; `:linger` gives them longer.

  ## Options

  #{Options.docs(:cmd)}
  ## Errors

    * `ArgumentError` - a mistake in the call: an unknown option, a value of the wrong kind
    * `ErlangError` with the errno in `:original` (`:enoent`, `:eacces`, `:e2big`, `:emfile`, …), as `System.cmd/3`
      raises it - the program cannot be found or executed, `:cd` cannot be entered, or the system is short of something.
      What is printed together with the stack trace, as by IEx and in crash logs, says which of them it was; after
      `rescue`, `Exception.format/3` with `error.original` and `__STACKTRACE__` does. `run/3` raises a `MuonTrap.Error`
      to match on instead
    * `MuonTrap.Error` - the system refused an option (user, limit, cgroup), and the program did not run; a helper was
      killed, and the program with it (the step is `:shim`); the native library is missing (`:nif`); or the other node
      cannot be reached, or was lost (`:node`)

  A program that its cgroup's memory limit leaves no room for returns `{"", 137}`, as if the OOM killer had ended it,
  and the log names the limit.

  Processes that cannot be killed, another user's or those stuck in the kernel, are waited for some seconds. They are
  then logged as an error, and the call returns; `run/3` names them in its result.

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
  Runs a program as `cmd/3` does, and returns all that is known of its end.

  It blocks as long, gives the same guarantees and takes the same options, and `:capture_stderr` as well. However the
  program ends, that is no error but a `MuonTrap.Result`; so are processes that could not be killed.

  ## Options

  #{Options.docs(:run)}
  ## Errors

    * `ArgumentError` - a mistake in the call
    * `MuonTrap.Error` - the program could not be started, or a helper was killed (the step is `:shim`) and nobody
      knows how the program ended; `t:MuonTrap.Error.step/0` lists what to match on

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

  It takes the options of `cmd/3`, blocks as long and gives the same guarantees. Standard error is passed on to the VM's
  piece by piece, and its end becomes part of the message that is raised. With `:stderr_to_stdout`,
  `:capture_stderr_only` or `use_stdio: false` it goes where they say.

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

  It takes the options of `run/3`, blocks as long and gives the same guarantees. Standard error goes where that of `cmd!/3`
  goes, and with `:capture_stderr` into the result.

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

  `/bin/sh -c` runs the line. Options, return value, errors and guarantees are those of `cmd/3`, and it blocks as long.
  Standard input is `/dev/null` unless `:input` or `:stdin` say otherwise; `:close_stdin` is accepted for
  `System.shell/2`, without effect.

  Never build the line from text that comes from elsewhere. Pass such text in `:env`, and write `"$NAME"` in the line.

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

  Nothing is started before it is enumerated; `MuonTrap.Stream` says what an enumeration does, where, and what ends it.
  Elements are binaries as they come, with `:lines` whole lines, and with `:capture_stderr` tagged: `{:stdout, bytes}` and
  `{:stderr, bytes}`. Without that option standard error is passed on to the VM's, and its end becomes part of the
  message that is raised.

  ## Options

  #{Options.docs(:stream)}
  ## Errors

    * `ArgumentError` - a mistake in the call; at once
    * `MuonTrap.Error` - the program could not be started, as by `run/3`; when it is enumerated
    * `MuonTrap.ExitError` - the program exited with another status than 0, a signal ended it, or a bound stopped it;
      after the last element

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

  However the program ends, that is no error: the `MuonTrap.Result` says how. Standard error is the VM's unless an option
  takes it.

  ## Options

  Those of `stream!/3`.

  ## Errors

  Those of `stream!/3`, without `MuonTrap.ExitError`.

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

  It is `stream!/3` with the enumerable as `:input`. A process of its own pulls the enumerable while this one is
  enumerated, as fast as the program reads. If the enumerable is another program's stream, that program ends with this
  enumeration, and before it returns.

  A program that ends without having read everything, as `head` does, ends those before it as well; that is no error. A
  program before it that fails raises here.

  ## Options

  Those of `stream!/3`, without `:input` and `:stdin`.

  ## Errors

  Those of `stream!/3`, and what the enumerable raises.

  ## Examples

      iex> ["b\\n", "a\\n"] |> MuonTrap.pipe!("sort", []) |> Enum.join()
      "a\\nb\\n"

      iex> MuonTrap.stream!("yes", []) |> MuonTrap.pipe!("head", ["-2"]) |> Enum.join()
      "y\\ny\\n"
  """
  @spec pipe!(Enumerable.t(), binary(), [binary()], keyword() | map()) :: MuonTrap.Stream.t()
  def pipe!(enumerable, command, args, opts \\ []),
    do: MuonTrap.Stream.new(filter(enumerable, command, args, opts), :raise, opts)

  @doc """
  Returns the output of a program that reads an enumerable as `pipe!/4` does, with its result as the last element.

  The result is that of this program alone, as `stream/3` gives it. If the program reads a `stream/3` or `pipe/4`, the
  result of that is dropped; a `stream!/3` that fails raises here.

  ## Options

  Those of `pipe!/4`.

  ## Errors

  Those of `pipe!/4`, but `MuonTrap.ExitError` only for what the program reads.

  ## Examples

      iex> [lines, {:exit, result}] = ["b\\n", "a\\n"] |> MuonTrap.pipe("sort", []) |> Enum.to_list()
      iex> {lines, result.status}
      {"a\\nb\\n", {:exited, 0}}
  """
  @spec pipe(Enumerable.t(), binary(), [binary()], keyword() | map()) :: MuonTrap.Stream.t()
  def pipe(enumerable, command, args, opts \\ []),
    do: MuonTrap.Stream.new(filter(enumerable, command, args, opts), :result, opts)

  defp filter(enumerable, command, args, opts) do
    for {key, value} <- opts, key in [:input, :stdin] do
      raise ArgumentError,
            "the program of a pipeline reads what is piped to it: leave #{inspect(key)} out, " <>
              "got: #{Words.kind(value)}"
    end

    input = {:input, MuonTrap.Stream.as_input(enumerable)}
    Options.validate!(:stream, command, args, [input | Enum.to_list(opts)])
  end

  @doc """
  Starts a program to talk to, and returns a session: `MuonTrap.Session` has what can be done with it.

  Returns when the program runs. The calling process owns the session: when it ends, the program and everything it
  started ends as well.

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
  Runs programs whose output and input are joined, as `a | b | c` in a shell, and returns one result for all.

  `programs` is a list of `{command, args}` or `{command, args, options}`. What one writes goes to the next by a pipe of
  the kernel and never through the VM; `:input` goes to the first, and what the last writes is the `:output` of the
  `MuonTrap.Result`. In `:programs` there it has the result of each, which tells how that ended by itself, with its own
  `:usage`. Its `:status` and `:exit_status` are those of the last program that failed, see `:pipefail`.

  Blocks until all have ended, as a shell does: one whose reader ends early gets SIGPIPE when it writes, and one that
  never writes goes on until `:timeout`. What holds for `run/3` holds for each program: nothing of any is left when this
  returns, and when the calling process or the VM ends, or a bound is reached, all of them are stopped. If one cannot be
  started the others are stopped as well.

  What a program leaves in the background has `:linger` to end. That cannot know what is on its way in a pipe between
  programs.

  ## Options

  For all of it, `:into`, `:lines`, `:input`, `:stdin`, `:timeout`, `:idle_timeout`, `:max_output`, `:capture_stderr`
  and `:pipefail`. For one program alone, in its own options, `:arg0`, `:cgroup_path` and `:stderr_to_stdout`, which
  sends it to the next program. All others may be given for each program, or as what holds for each that does not say
  something else; variables of both `:env` are set. A `:cgroup_base` gives each program a group of its own.

  #{Options.docs(:pipeline)}
  ## Errors

    * `ArgumentError` - a program or option that makes no sense
    * `MuonTrap.Error` - a program that cannot be started, with its name as the subject; or a helper was killed

  ## Examples

      iex> MuonTrap.pipeline([{"printf", ["b\\na\\n"]}, {"sort", []}]).output
      "a\\nb\\n"

      iex> result = MuonTrap.pipeline([{"yes", []}, {"head", ["-n1"]}])
      iex> {result.status, Enum.map(result.programs, & &1.status)}
      {{:exited, 0}, [{:signaled, :sigpipe}, {:exited, 0}]}

      iex> MuonTrap.pipeline([{"sh", ["-c", "exit 3"]}, {"cat", []}]).status
      {:exited, 3}
  """
  @spec pipeline([Pipeline.program()], keyword() | map()) :: Result.t()
  def pipeline(programs, opts \\ []), do: programs |> Pipeline.validate!(opts) |> Pipeline.run()

  @doc """
  Runs programs as `pipeline/2` does, and raises unless the status is `{:exited, 0}`.

  Standard error of each is passed on to that of the VM, or captured with `:capture_stderr`. What is raised names the
  program that failed, with the end of what that said.

  ## Options

  Those of `pipeline/2`.

  ## Errors

  Those of `pipeline/2`, and

    * `MuonTrap.ExitError` - a program that failed, or a bound that they were stopped by

  ## Examples

      iex> MuonTrap.pipeline!([{"echo", ["hello"]}, {"tr", ["a-z", "A-Z"]}]).output
      "HELLO\\n"
  """
  @spec pipeline!([Pipeline.program()], keyword() | map()) :: Result.t()
  def pipeline!(programs, opts \\ []), do: programs |> Pipeline.validate!(opts) |> Pipeline.run!()

  @doc """
  Returns the absolute path of the program `muontrap`, which contains one command without this library.

  A program run by it ends with the port, and so with the port's owner and the VM:

      Port.open({:spawn_executable, MuonTrap.muontrap_path()}, [
        :binary,
        :exit_status,
        args: ["--capture-output", "--", "tail", "-f", "/var/log/syslog"]
      ])

  [The guide of the command line](command-line.md) says what it takes, and how to acknowledge output
  (`MuonTrap.Port.report_bytes_handled/2`). New code does better with `cmd/3`, `run/3` or `MuonTrap.Daemon`. Does not
  block, starts nothing, and does not check that the file is there.
  """
  @spec muontrap_path() :: Path.t()
  def muontrap_path, do: Defaults.program_path()

  @doc """
  Lists the commands of this VM that are not over.

  Each is a map:

    * `:id`, `:command` - a number of its own, program and arguments
    * `:owner`, `:name` - the pid of the process that started it, and the name that is registered for it, or `nil`
    * `:os_pid` - the program's process id; `nil` before it runs and after it. A program that ends within some
      milliseconds may never show one
    * `:uptime_ms`, `:stdout_bytes`, `:stderr_bytes` - since the start, and what was read of its output
    * `:unacknowledged_bytes`, `:window_bytes` - how much output is on its way, and how much may be
    * `:containment`, `:cgroup` - `:cgroup` or `:subreaper`, and the directories of its cgroups
    * `:stopping`, `:orphaned`, `:done` - whether it was asked to stop, its owner is gone, or only output is left
    * `:waiting`, `:next_start_ms` - whether this is a Daemon that waits for its `:restart_backoff`, and for how many
      milliseconds more. It has no command meanwhile, and `nil` for `:id`

  Does not block a scheduler. Helpers that wait for a command (`muontrap-ready` in `ps`) are not listed.
  """
  @spec list() :: [map()]
  def list do
    commands = Enum.map(Nif.list(), &Map.merge(&1, %{waiting: false, next_start_ms: nil}))
    waiting = Enum.map(Waiting.list(), &Map.put(&1, :waiting, true))

    for command <- commands ++ waiting do
      containment = if command.cgroup == [], do: :subreaper, else: :cgroup
      Map.merge(command, %{name: registered_name(command.owner), containment: containment})
    end
  end

  @doc """
  Stops a command from outside: any process may, not its owner alone.

  `command` is an entry of `list/0` or its `:id`. The program gets its `:stop_signal`, and after the command's
  `:delay_to_sigkill` everything that is left gets SIGKILL. The calling process waits until the tree is gone: for as
  long as that delay at the most, and some seconds more if there is something that cannot be killed. It is left no
  message, and need not be the owner nor live on.

  The owner goes on: `cmd/3` and `run/3` return the output so far and how the program ended (by the signal, or as it
  pleased), a stream ends as if the program had ended by itself, a `MuonTrap.Daemon` ends as when its program does, so
  that its supervisor may start it again. To end a Daemon for good, ask its supervisor.

  Returns `:ok`, or `{:error, :esrch}` if there is no such command or its tree is gone already. A Daemon that waits for
  its `:restart_backoff` has none.

  ## Examples

      iex> task = Task.async(fn -> MuonTrap.run("sleep", ["1000"]) end)
      iex> find = fn find -> Enum.find(MuonTrap.list(), &(&1.owner == task.pid && &1.os_pid)) || find.(find) end
      iex> MuonTrap.stop(find.(find))
      :ok
      iex> Task.await(task).status
      {:signaled, :sigterm}
  """
  @spec stop(%{:id => pos_integer() | nil, optional(atom()) => term()} | pos_integer()) ::
          :ok | {:error, :esrch}
  def stop(%{id: nil}), do: {:error, :esrch}
  def stop(command), do: command |> id() |> Live.stop()

  @doc """
  Sends the program of a command a signal from outside: any process may, not its owner alone.

  `command` is an entry of `list/0` or its `:id`, `signal` a name or number, see `MuonTrap.Signal`. It goes to the
  program itself, not to what that has started. Does not block. The owner hears of it only by what the program does.

  ## Errors

    * `{:error, :esrch}` - there is no such command, or its program does not run (any more, or yet)
    * `{:error, :eperm}` - it runs as another user, whom the VM may not signal
    * `ArgumentError` - what is no signal
  """
  @spec signal(
          %{:id => pos_integer() | nil, optional(atom()) => term()} | pos_integer(),
          MuonTrap.Signal.t()
        ) :: :ok | {:error, :file.posix()}
  def signal(command, signal) do
    number = MuonTrap.Signal.number!(signal)

    if match?(%{id: nil}, command),
      do: {:error, :esrch},
      else: Nif.signal_by_id(id(command), number)
  end

  defp id(%{id: id}), do: id(id)
  defp id(id) when is_integer(id) and id > 0, do: id

  defp id(other) do
    raise ArgumentError,
          "expected an entry of MuonTrap.list/0 or its :id, got: #{inspect(other)}"
  end

  @doc """
  Prints what this machine, user and installation offer to muontrap, what they lack, and what mends that.

  Returns the worst status: `:ok`, `:degraded` or `:missing`, see `MuonTrap.Doctor`, which also returns it as data.
  Works without Mix, without the application having started, and without the native library:
  `bin/my_app eval "MuonTrap.doctor()"`. Blocks for some hundredths of a second.
  """
  @spec doctor() :: Doctor.status()
  def doctor do
    findings = Doctor.examine()
    IO.write(Doctor.text(findings))
    Doctor.overall(findings)
  end

  defp registered_name(pid) do
    case Process.info(pid, :registered_name) do
      {:registered_name, name} when is_atom(name) -> name
      _none_or_dead -> nil
    end
  end
end
