# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session do
  @moduledoc """
  A conversation with a program: write to it, read what it answers, wait for what you expect.

  `MuonTrap.open/3` starts the program and returns a session. The process that opened it owns it: when that process
  ends, in whatever way, the program and everything that it started is ended, by its stop signal and then by SIGKILL.
  Any process may use it. `controlling_process/2` makes another one the owner.

  The program waits for those that talk to it. Output is taken when somebody reads it, and not before: a program that
  writes on is stopped by its full pipe, with one `:stdio_window` in the VM. A write returns when the program has room
  for all of it. Meanwhile what the program writes is taken out of its way, up to `:max_buffer`, so that neither
  waits for the other.

  ## Reading, or being told

  A session is read by calls, `read/2`, `read_line/2`, `read_bytes/3` and `expect/3`, each with a time in milliseconds
  that it may take. One that returns `{:error, :timeout}` has taken nothing. Calls of several processes are
  answered in the order in which they came.

  Or its owner, a GenServer for example, is sent events, those of the option `:active` or `set_active/2`:

    * `{:muontrap, session, {:stdout, bytes}}`, and `{:stderr, bytes}` with `:capture_stderr` - output, one line of it
      with `:lines`
    * `{:muontrap, session, :passive}` - this was the last of a number of events
    * `{:muontrap, session, {:exit, result}}` - the program has ended and nothing of it is left; the last event.
      `result` is a `MuonTrap.Result`
    * `{:muontrap, session, {:error, error}}` - as well the last: the helper of the program was killed, and everything
      with it, or another node is lost. `error` is a `MuonTrap.Error`

  ## Standard error

  It is that of the VM, unless an option takes it. Many programs prompt there: with `:stderr_to_stdout` both come as
  one, in the order in which they were written, as on a terminal. With `:capture_stderr` they are apart: `read/2`
  and events tag what they give, `read_line/2` and `read_bytes/3` are of standard output, and `expect/3` of the
  one that its pattern names. With `:capture_stderr_only` all of them are of standard error.

  ## The end

  A session is over when its result was handed out: by `await/2`, by `stop/2`, or by the event `{:exit, result}`. From
  then on every call returns `{:error, :closed}`. One whose result nobody has asked for stays, with what can
  still be read, until its owner ends.

  The session is a process, in `session.pid`, which `MuonTrap.list/0` shows as the owner of the command. An owner is
  not linked to it. To hear if it is killed, monitor that pid; the program ends with it.

  ## On another node

  With `:node` the program runs there and the session is here, for an owner here. It ends with the owner, the session, the
  connection and either VM. When the connection or that VM is lost, calls and events say so with a `MuonTrap.Error` of
  the step `:node`; what it means is in [the guide on many machines](cluster.md). A write returns when the
  program has room for all but the last 128 KiB of what is on its way. `signal/2` and `resize/3` wait for the
  answer of that node.
  """

  alias MuonTrap.{Error, Pty, Result, Signal}
  alias MuonTrap.Options.{Type, Words}
  alias MuonTrap.Session.Server

  @default_ms 5_000

  @enforce_keys [:pid]
  defstruct [:pid]

  @typedoc "A session. Any process may have it; one of them is its owner."
  @type t :: %__MODULE__{pid: pid()}

  @typedoc "What comes to the owner as messages, see `set_active/2`."
  @type active :: boolean() | :once | pos_integer()

  @typedoc "What is waited for: a regular expression, or these bytes; of standard output if nothing else is said."
  @type pattern :: Regex.t() | binary() | {:stdout | :stderr, Regex.t() | binary()}

  @typedoc """
  Why nothing was read:

    * `:timeout` - the time was over first
    * `:full` - `:max_buffer` bytes are there, and not what was waited for. `read/2` takes them
    * `:active` - the owner gets events now
    * `:closed` - the session is over, or is being stopped
    * `MuonTrap.Error` - all that came is read, and there may have been more: the helper of the program was killed, or
      another node, or the connection to it, is lost
  """
  @type unread :: :timeout | :full | :active | :closed | Error.t()

  @doc false
  @spec open(MuonTrap.Options.t()) :: {:ok, t()} | {:error, Error.t()}
  def open(options) do
    case GenServer.start(Server, {options, self()}, hibernate_after: 1_000) do
      {:ok, pid} -> {:ok, %__MODULE__{pid: pid}}
      {:error, {:shutdown, %Error{} = error}} -> {:error, error}
    end
  end

  @doc """
  Writes iodata to the program's standard input.

  Returns when all of it is in the program's pipe, which holds 64 KiB and more only as the program reads; so it may wait for as
  long as the program does not read, or `timeout` milliseconds. Writes of several processes do not mix. What a process
  has begun to write is written to its end if it is killed.

  ## Errors

    * `:closed` - the program does not read any more, the input was closed, there is none because of
      `stdin: :null`, or the session is over
    * `{:timeout, written}` - the time was over: so many bytes are written, and the others never will be

  ## Examples

      iex> {:ok, cat} = MuonTrap.open("cat", [])
      iex> MuonTrap.Session.write(cat, "hello")
      :ok
      iex> MuonTrap.Session.read(cat)
      {:ok, "hello"}
  """
  @spec write(t(), iodata(), timeout()) ::
          :ok | {:error, :closed | {:timeout, written :: non_neg_integer()}}
  def write(session, data, timeout \\ :infinity),
    do: call(session, {:write, IO.iodata_to_binary(data), timeout!(timeout)})

  @doc """
  Ends the program's standard input after everything that was written to it. Does not wait.
  """
  @spec close_stdin(t()) :: :ok | {:error, :closed}
  def close_stdin(session), do: call(session, :close_stdin)

  @doc """
  Returns what the program has written and nobody has taken, as soon as there is something.

  Waits for `timeout` milliseconds at the most. `:eof`: the program has ended, and all that it wrote is read. With
  `:capture_stderr` it is `{:ok, {:stdout, bytes}}` or `{:ok, {:stderr, bytes}}`, with `:lines` one line.
  """
  @spec read(t(), timeout()) ::
          {:ok, binary() | {:stdout | :stderr, binary()}} | :eof | {:error, unread()}
  def read(session, timeout \\ @default_ms), do: read_with(session, :read, timeout)

  @doc """
  Returns the next line without its `\\n`; at the end also one that has none.

  Waits for `timeout` milliseconds at the most. What has come of a line stays there when that is over, and so it does
  for a line that is longer than `:max_buffer`, which is `{:error, :full}`.

  ## Examples

      iex> {:ok, session} = MuonTrap.open("printf", [~S(one\\ntwo)])
      iex> for _ <- 1..3, do: MuonTrap.Session.read_line(session)
      [{:ok, "one"}, {:ok, "two"}, :eof]
  """
  @spec read_line(t(), timeout()) :: {:ok, binary()} | :eof | {:error, unread()}
  def read_line(session, timeout \\ @default_ms), do: read_with(session, :line, timeout)

  @doc """
  Returns exactly so many bytes: the body of a message whose length was told.

  Waits for `timeout` milliseconds at the most. Fewer are left for `read/2`, also at the end, which is `:eof`. More
  than `:max_buffer` may be asked for.
  """
  @spec read_bytes(t(), pos_integer(), timeout()) :: {:ok, binary()} | :eof | {:error, unread()}
  def read_bytes(session, count, timeout \\ @default_ms) when is_integer(count) and count > 0,
    do: read_with(session, {:exactly, count}, timeout)

  @doc """
  Waits for output that matches, and returns what came before and the match.

  `pattern` is a regular expression or a string, or `{:stderr, pattern}` with `:capture_stderr`. The match is a list as
  of `Regex.run/2`: the whole, then its groups. Both are taken; what comes after the match stays. A match is
  looked for as soon as there is something new: one that could become longer, as of `~r/\\d+/`, may be found when half of it has come.

  Waits for `timeout` milliseconds at the most. `:eof`: the program has ended without it. In each case but a match
  everything is left for `read/2`.

  ## Examples

      iex> {:ok, sh} = MuonTrap.open("sh", ["-c", "echo in; echo x=42; exec sleep 1000"])
      iex> MuonTrap.Session.expect(sh, ~r/x=(\\d+)\\n/)
      {:ok, "in\\n", ["x=42\\n", "42"]}
      iex> MuonTrap.Session.expect(sh, "more", 10)
      {:error, :timeout}
  """
  @spec expect(t(), pattern(), timeout()) ::
          {:ok, before :: binary(), match :: [binary(), ...]} | :eof | {:error, unread()}
  def expect(session, pattern, timeout \\ @default_ms)

  def expect(session, {stream, pattern}, timeout) when stream in [:stdout, :stderr],
    do: read_with(session, {:expect, stream, pattern!(pattern)}, timeout)

  def expect(session, pattern, timeout),
    do: read_with(session, {:expect, nil, pattern!(pattern)}, timeout)

  @doc """
  Says what comes to the owner as messages from here on. Any process may do so.

    * `false` - nothing; the session is read by calls
    * `:once` - one event
    * a number - so many events, then `:passive`
    * `true` - events as long as no more than `:stdio_window` bytes of them wait to be acknowledged, each by `ack/2`

  An event holds up to `:stdio_window` bytes, or one line. Its end is an event as well, and comes when an event is
  wanted. Does not wait.
  """
  @spec set_active(t(), active()) :: :ok | {:error, :closed}
  def set_active(session, mode) do
    case Type.cast(:active, mode) do
      {:ok, mode} ->
        call(session, {:set_active, mode})

      {:error, mode} ->
        raise ArgumentError,
              "expected #{Words.describe(:active)}, got: #{inspect(mode)}"
    end
  end

  @doc """
  Says that the owner has handled so many events of output, with `active: true`. Does not wait.
  """
  @spec ack(t(), pos_integer()) :: :ok
  def ack(session, events \\ 1) when is_integer(events) and events > 0 do
    send(session.pid, {:handled, events})
    :ok
  end

  @doc """
  Makes another process the owner. Only the owner may do that; others get `{:error, :not_owner}`.

  From the return on the end of the new owner ends the program, and that of the old one does not. If the new one is
  not alive, the program ends. Events that were sent to the old one stay there.
  """
  @spec controlling_process(t(), pid()) :: :ok | {:error, :not_owner | :closed}
  def controlling_process(session, pid) when is_pid(pid),
    do: call(session, {:controlling_process, pid})

  @doc """
  Sends the program itself a signal, by name or number, see kill(2). `{:error, :esrch}` if it has ended.
  """
  @spec signal(t(), Signal.t()) :: :ok | {:error, :closed | File.posix()}
  def signal(session, signal), do: call(session, {:signal, Signal.number!(signal)})

  @doc """
  Gives the terminal of a program that was started with `:pty` another size, in characters. The kernel tells the program
  by SIGWINCH.

  Answers at once. `{:error, :enotty}`: there is no terminal. `{:error, :esrch}`: nothing of the program is left. Raises
  `ArgumentError` for what is no size (1 to 65,535). See `TIOCSWINSZ` in `ioctl_tty(2)`.
  """
  @spec resize(t(), pos_integer(), pos_integer()) :: :ok | {:error, :enotty | :esrch | :closed}
  def resize(session, rows, cols), do: call(session, {:resize, Pty.size!(rows, cols)})

  @doc """
  The process id that the program has, or had if it has ended.
  """
  @spec os_pid(t()) :: {:ok, pos_integer()} | {:error, :closed}
  def os_pid(session), do: call(session, :os_pid)

  @doc """
  Waits until the program has ended and nothing is left of its tree, and returns the result; the session is over then.

  Waits for `timeout` milliseconds at the most. A program ends when all its output is taken. If nobody but the caller
  has read from the session, what is left is dropped: read before what you want to see. Output that another
  process reads, or gets as events, waits for that process.

  ## Errors

    * `:timeout` - it has not ended by then
    * `:closed` - the session is over
    * `MuonTrap.Error` - the helper of the program was killed, and everything with it, or another node is lost

  ## Examples

      iex> {:ok, session} = MuonTrap.open("sh", ["-c", "read line; exit $line"])
      iex> MuonTrap.Session.write(session, "3\\n")
      iex> {:ok, result} = MuonTrap.Session.await(session)
      iex> result.status
      {:exited, 3}
      iex> MuonTrap.Session.await(session)
      {:error, :closed}
  """
  @spec await(t(), timeout()) :: {:ok, Result.t()} | {:error, :timeout | :closed | Error.t()}
  def await(session, timeout \\ @default_ms), do: call(session, {:await, timeout!(timeout)})

  @doc """
  Asks the program to stop, waits until nothing is left of its tree, and returns the result; the session is over then.

  It gets `:stop_signal`, and what is left after `delay_to_sigkill` milliseconds SIGKILL; that is the option of the same
  name if nothing else is said. Waits for as long, and some seconds more for what cannot be killed. What is not read is
  dropped. Of an owner no event is in the mailbox when this returns.

  ## Errors

  Those of `await/2` but `:timeout`.

  ## Examples

      iex> {:ok, session} = MuonTrap.open("sleep", ["1000"])
      iex> {:ok, result} = MuonTrap.Session.stop(session)
      iex> result.status
      {:signaled, :sigterm}
  """
  @spec stop(t(), non_neg_integer() | nil) :: {:ok, Result.t()} | {:error, :closed | Error.t()}
  def stop(session, delay_to_sigkill \\ nil)
      when delay_to_sigkill == nil or (is_integer(delay_to_sigkill) and delay_to_sigkill >= 0) do
    answer = call(session, {:stop, delay_to_sigkill})
    flush(session)
    answer
  end

  defp flush(session) do
    receive do
      {:muontrap, ^session, _event} -> flush(session)
    after
      0 -> :ok
    end
  end

  defp read_with(session, request, timeout) do
    case call(session, {:read, request, timeout!(timeout)}) do
      {:error, :lines} ->
        raise ArgumentError, "a session with :lines is read by read/2 and read_line/2 alone"

      answer ->
        answer
    end
  end

  # Without what was asked: it may be secret. The time is counted in the session.
  defp call(%__MODULE__{pid: pid}, request) do
    GenServer.call(pid, request, :infinity)
  catch
    :exit, _gone -> {:error, :closed}
  end

  defp pattern!(%Regex{} = regex), do: regex
  defp pattern!(text) when is_binary(text) and text != "", do: text

  defp pattern!(other) do
    raise ArgumentError,
          "expected a regular expression or a string that is not empty, got: #{inspect(other)}"
  end

  defp timeout!(timeout) do
    if timeout == :infinity or timeout in 0..0xFFFF_FFFF,
      do: timeout,
      else: raise(ArgumentError, "expected milliseconds or :infinity, got: #{inspect(timeout)}")
  end
end
