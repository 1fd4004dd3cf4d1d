# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap do
  @moduledoc """
  Runs OS programs so that none is ever lost.

  `cmd/3` is `System.cmd/3` that contains what it runs: when it returns, and when the calling process or
  the VM ends before in any way, the program and everything it started is gone. Neither root nor cgroups
  are needed for that. `run/3` is the same with a structured result, `stream!/3` hands out the output as it comes, and
  `pipe!/4` joins programs to pipelines. `cmd!/3` and `run!/3` raise what is no success.
  """

  alias MuonTrap.{Collect, Defaults, Doctor, Live, Nif, Options, Result}

  @doc """
  Runs a program and returns its output and exit status, as `System.cmd/3` does.

  `command` is an absolute path or a name looked up in `PATH`, `args` are handed over as they are. The
  calling process waits until the program has ended and nothing of what it started is left. It is never
  killed by what happens inside and finds no message of it in its mailbox.

  Returns `{collectable, exit_status}`: the output in `:into`, and the exit code, or 128 and the number of
  the signal that ended the program (137 for SIGKILL), or `:timeout`.

  When the calling process ends, the program gets `:stop_signal`, and after `:delay_to_sigkill` everything
  that is left gets SIGKILL. When the program ends by itself, what it leaves in the background may pass on the
  output that it has, then it gets SIGKILL; `:linger` says how long it may go on instead.

  ## Options

  #{Options.docs(:cmd)}
  ## Errors

    * `ArgumentError` - an argument or option that makes no sense
    * `ErlangError` with the errno, as `System.cmd/3` raises it - the program cannot be executed, `:cd`
      cannot be entered, or the system is out of something: `:enoent`, `:eacces`, `:e2big`, `:emfile`, ...
    * `MuonTrap.Error` - an option that the system refuses: user, limit, cgroup; the program has not run. Or a
      helper was killed, and the program with it: the step is `:shim`. Or the native library is missing: `:nif`

  A program that the memory limit of its cgroup has no room for returns `{"", 137}`, as when the OOM killer has ended
  it, and the limit is logged as an error.

  Processes that cannot be killed, those of another user or stuck in the kernel, are not waited for beyond
  some seconds. They are logged as an error, and the call returns. `run/3` names them in its result.

  ## Examples

      iex> MuonTrap.cmd("echo", ["hello"])
      {"hello\\n", 0}

      iex> MuonTrap.cmd("sh", ["-c", "echo one; echo two; exit 3"], lines: 1024, into: [])
      {["one", "two"], 3}

      iex> MuonTrap.cmd("sleep", ["1000"], timeout: 50)
      {"", :timeout}

      iex> MuonTrap.cmd("tr", ["a-z", "A-Z"], input: "hello")
      {"HELLO", 0}
  """
  @spec cmd(binary(), [binary()], keyword() | map()) :: {Collectable.t(), 0..255 | :timeout}
  def cmd(command, args, opts \\ []) do
    result = Collect.run(Options.validate!(:cmd, command, args, opts))
    {result.output, if(result.timed_out, do: :timeout, else: result.exit_status)}
  end

  @doc """
  Runs a program as `cmd/3` does, and returns all that is known of its end.

  Arguments, errors and guarantees are those of `cmd/3`, and so are the options, with `:capture_stderr` in
  addition. Blocks as long. How the program ended is never an error, nor is a tree that could not be killed: it
  is in the `MuonTrap.Result`. A helper that was killed raises `MuonTrap.Error` as in `cmd/3`, because then nobody
  knows how the program ended.

  ## Options

  #{Options.docs(:run)}
  ## Errors

  Those of `cmd/3`.

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
    do: Collect.run(Options.validate!(:run, command, args, opts))

  @doc """
  Runs a program as `cmd/3` does, returns its output, and raises unless it exits with 0.

  Arguments, options and guarantees are those of `cmd/3`, and it blocks as long. Standard error is passed on to that
  of the VM, piece by piece, and the end of it is in the message of what is raised; with `:stderr_to_stdout`,
  `:capture_stderr_only` or `use_stdio: false` it goes where they say.

  ## Errors

  Those of `cmd/3`, and

    * `MuonTrap.ExitError` - another status than 0, a signal, or the end of `:timeout`

  ## Examples

      iex> MuonTrap.cmd!("echo", ["hello"])
      "hello\\n"
  """
  @spec cmd!(binary(), [binary()], keyword() | map()) :: Collectable.t()
  def cmd!(command, args, opts \\ []),
    do: Collect.run!(Options.validate!(:cmd, command, args, opts)).output

  @doc """
  Runs a program as `run/3` does, and raises unless it exits with 0.

  Arguments, options and guarantees are those of `run/3`, and it blocks as long. Standard error is treated as by
  `cmd!/3`, and collected with `:capture_stderr`.

  ## Errors

  Those of `cmd!/3`.

  ## Examples

      iex> MuonTrap.run!("sh", ["-c", "echo hello"]).status
      {:exited, 0}
  """
  @spec run!(binary(), [binary()], keyword() | map()) :: Result.t()
  def run!(command, args, opts \\ []),
    do: Collect.run!(Options.validate!(:run, command, args, opts))

  @doc """
  Runs a line of shell as `System.shell/2` does, contained.

  The line is run by `/bin/sh -c`. Options, return value, errors and guarantees are those of `cmd/3`, and it blocks as
  long. Standard input is `/dev/null` unless `:input` or `:stdin` say something else; `:close_stdin` is accepted for
  `System.shell/2`, without effect.

  Put nothing into the line that comes from elsewhere: hand it over in `:env`, and write `"$NAME"`.

  ## Examples

      iex> MuonTrap.shell("echo one; echo two >&2", stderr_to_stdout: true)
      {"one\\ntwo\\n", 0}

      iex> MuonTrap.shell(~S(echo "$WHO"), env: [{"WHO", "$(reboot)"}])
      {"$(reboot)\\n", 0}
  """
  @spec shell(binary(), keyword() | map()) :: {Collectable.t(), 0..255 | :timeout}
  def shell(line, opts \\ []),
    do: cmd("/bin/sh", ["-c", line], Enum.reject(opts, &match?({:close_stdin, _}, &1)))

  @doc """
  Returns the output of a program as a lazy enumerable, which raises at its end unless the program exits with 0.

  Nothing is started before it is enumerated; `MuonTrap.Stream` says what an enumeration does, and where. Elements
  are binaries as they come, with `:lines` whole lines, with `:capture_stderr` tagged: `{:stdout, bytes}` and
  `{:stderr, bytes}`. Without it standard error is passed on to that of the VM, and its end is in the message of what
  is raised.

  ## Options

  #{Options.docs(:stream)}
  ## Errors

    * `ArgumentError` - an argument or option that makes no sense; at once
    * what `cmd/3` raises for a program that cannot be started - when it is enumerated
    * `MuonTrap.ExitError` - after the last element: another status than 0, a signal, or the end of `:timeout`

  ## Examples

      iex> MuonTrap.stream!("sh", ["-c", "echo one; echo two"], lines: 1024) |> Enum.to_list()
      ["one", "two"]

      iex> MuonTrap.stream!("yes", [], lines: 1024) |> Enum.take(2)
      ["y", "y"]
  """
  @spec stream!(binary(), [binary()], keyword() | map()) :: MuonTrap.Stream.t()
  def stream!(command, args, opts \\ []),
    do: MuonTrap.Stream.new(Options.validate!(:stream, command, args, opts), :raise)

  @doc """
  Returns the output of a program as `stream!/3` does, with its result as the last element: `{:exit, result}`.

  However the program ends, that is no error; the `MuonTrap.Result` says how. Standard error is that of the VM unless
  an option takes it.

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
    do: MuonTrap.Stream.new(Options.validate!(:stream, command, args, opts), :result)

  @doc """
  Returns the output of a program that reads an enumerable: a filter, to be used in a pipeline.

  As `stream!/3` with `:input`: the enumerable is pulled in a process of its own while this one is enumerated, as
  fast as the program reads. Another program's stream is contained in that process: it ends with this enumeration,
  and before it returns. A program that ends without having read everything, as `head` does, ends those before it as
  well, and that is no error. One before it that fails, is raised here.

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
    do: MuonTrap.Stream.new(filter(enumerable, command, args, opts), :raise)

  @doc """
  Returns the output of a program that reads an enumerable as `pipe!/4` does, with its result as the last element.

  It is the result of this program alone, as `stream/3` gives it. Of a `stream/3` or `pipe/4` that it reads, the result
  is dropped; a `stream!/3` raises here.

  ## Options

  Those of `pipe!/4`.

  ## Errors

  Those of `pipe!/4`, but `MuonTrap.ExitError` only of what it reads.

  ## Examples

      iex> [lines, {:exit, result}] = ["b\\n", "a\\n"] |> MuonTrap.pipe("sort", []) |> Enum.to_list()
      iex> {lines, result.status}
      {"a\\nb\\n", {:exited, 0}}
  """
  @spec pipe(Enumerable.t(), binary(), [binary()], keyword() | map()) :: MuonTrap.Stream.t()
  def pipe(enumerable, command, args, opts \\ []),
    do: MuonTrap.Stream.new(filter(enumerable, command, args, opts), :result)

  defp filter(enumerable, command, args, opts) do
    for {key, value} <- opts, key in [:input, :stdin] do
      raise ArgumentError,
            "the program of a pipeline reads what is piped to it, and takes no #{inspect(key)}, got: #{inspect(value)}"
    end

    input = {:input, MuonTrap.Stream.as_input(enumerable)}
    Options.validate!(:stream, command, args, [input | Enum.to_list(opts)])
  end

  @doc """
  Returns the absolute path of the program `muontrap`, which contains one command without this library.

  A port that is opened on it has a program that ends with the port, and so with its owner and the VM:

      Port.open({:spawn_executable, MuonTrap.muontrap_path()}, [
        :binary,
        :exit_status,
        args: ["--capture-output", "--", "tail", "-f", "/var/log/syslog"]
      ])

  What it takes, and how output is acknowledged (`MuonTrap.Port.report_bytes_handled/2`), is in
  [the guide of the command line](command-line.md). New code is better off with `cmd/3`, `run/3` or
  `MuonTrap.Daemon`. Does not block, starts nothing, and does not look whether the file is there.
  """
  @spec muontrap_path() :: Path.t()
  def muontrap_path, do: Defaults.program_path()

  @doc """
  Lists the commands of this VM that are not over.

  Each is a map: `:id`, `:owner` (a pid), `:name` (under which the owner is registered, or nil), `:command`
  (program and arguments), `:os_pid` (nil before the program runs and after it), `:uptime_ms`, `:stdout_bytes`,
  `:stderr_bytes`, `:unacknowledged_bytes` of `:window_bytes`, `:containment` (`:cgroup` or `:subreaper`),
  `:cgroup` (directories), `:stopping`, `:orphaned` (the owner is gone) and `:done` (the tree is gone, output is
  left). Does not block a scheduler. A program that ends within some milliseconds may never show an `:os_pid`.
  Helpers that wait for a command (`muontrap-ready` in `ps`) serve none, and are not listed.
  """
  @spec list() :: [map()]
  def list do
    for command <- Nif.list() do
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

  Returns `:ok`, or `{:error, :esrch}` if there is no such command or its tree is gone already.

  ## Examples

      iex> task = Task.async(fn -> MuonTrap.run("sleep", ["1000"]) end)
      iex> find = fn find -> Enum.find(MuonTrap.list(), &(&1.owner == task.pid && &1.os_pid)) || find.(find) end
      iex> MuonTrap.stop(find.(find))
      :ok
      iex> Task.await(task).status
      {:signaled, :sigterm}
  """
  @spec stop(%{:id => pos_integer(), optional(atom()) => term()} | pos_integer()) ::
          :ok | {:error, :esrch}
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
          %{:id => pos_integer(), optional(atom()) => term()} | pos_integer(),
          MuonTrap.Signal.t()
        ) :: :ok | {:error, :file.posix()}
  def signal(command, signal),
    do: command |> id() |> Nif.signal_by_id(MuonTrap.Signal.number!(signal))

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
