# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session do
  @moduledoc """
  A conversation with a program: write to it, read its answers, wait for the output that you expect.

  `MuonTrap.open/3` starts the program and returns a session. The process that opened it owns it. When that process ends
  for any reason, the program and everything that it started end, too: they get the stop signal, then SIGKILL. Any
  process may use the session. `controlling_process/2` makes another process the owner.

  Output is taken only when somebody reads it. If nobody does, the pipe of the program fills up, and the program waits;
  the VM then holds one `:stdio_window` of its output. A write returns when the program has room for all of it. While a
  write waits, up to `:max_buffer` bytes of output are taken, so that program and writer do not wait for each other.

  ## Reading, or being told

  You can read a session by calls: `read/2`, `read_line/2`, `read_bytes/3` and `expect/3`. Each call has a timeout in
  milliseconds. A call that returns `{:error, :timeout}` has taken nothing. Calls of several processes are answered in
  the order in which they came.

  Or the owner, a GenServer for example, gets events. The option `:active` or `set_active/2` turns them on:

    * `{:muontrap, session, {:stdout, bytes}}`, and `{:stderr, bytes}` with `:capture_stderr` - output, one line of it
      with `:lines`
    * `{:muontrap, session, :passive}` - this was the last of a number of events
    * `{:muontrap, session, {:exit, result}}` - the program has ended and nothing of it is left; the last event.
      `result` is a `MuonTrap.Result`
    * `{:muontrap, session, {:error, error}}` - also a last event: the helper of the program was killed, and everything
      with it, or another node is lost. `error` is a `MuonTrap.Error`

  ## Standard error

  It goes to that of the VM, unless an option sends it elsewhere. Many programs write their prompts there. With
  `:stderr_to_stdout` you get both streams as one, in the order in which they were written, as on a terminal. With
  `:capture_stderr` they stay apart: `read/2` and events say which stream the bytes come from, `read_line/2` and
  `read_bytes/3` read standard output, and `expect/3` reads the stream that its pattern names. With
  `:capture_stderr_only` all of them read standard error.

  ## The end

  A session is over when somebody has its result: from `await/2`, from `stop/2`, or from the event `{:exit, result}`.
  After that every call returns `{:error, :closed}`. If nobody asks for the result, the session stays until its owner
  ends, and you can read the rest of the output.

  The session is a process. `session.pid` is its pid, which `MuonTrap.list/0` shows as the owner of the command. The
  owner of the session is not linked to it. If that process is killed, the program ends; monitor the pid to notice.

  ## On another node

  With `:node` the program runs on that node, while the session and its owner are on this one. The program ends when the
  owner, the session, the connection, or either VM ends. When the connection or the other VM is lost, calls and events
  report a `MuonTrap.Error` with the step `:node`; [the guide on many machines](cluster.md) explains it. A write returns
  when all of its data but the last 128 KiB is in the pipe of the program. `signal/2` and `resize/3` wait for the answer
  of the other node.
  """

  alias MuonTrap.{Error, Pty, Result, Signal}
  alias MuonTrap.Options.{Type, Words}
  alias MuonTrap.Session.Server

  @default_ms 5_000

  @enforce_keys [:pid]
  defstruct [:pid]

  @typedoc "A session. Any process may use it; one process owns it."
  @type t :: %__MODULE__{pid: pid()}

  @typedoc "Which events the owner gets as messages, see `set_active/2`."
  @type active :: boolean() | :once | pos_integer()

  @typedoc "What to wait for: a regular expression or a string, in standard output by default."
  @type pattern :: Regex.t() | binary() | {:stdout | :stderr, Regex.t() | binary()}

  @typedoc """
  Why nothing was read:

    * `:timeout` - the time is over
    * `:full` - `:max_buffer` bytes have come without a match or the end of a line. `read/2` takes them
    * `:active` - the owner gets events now
    * `:closed` - the session is over, or is being stopped
    * `MuonTrap.Error` - all output that came is read, but some may be missing: the helper of the program was killed, or
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

  Returns when all of it is in the program's pipe. The pipe holds 64 KiB. If there is more to write, the call waits
  until the program has read enough, or for `timeout` milliseconds. Writes of several processes do not mix. If a process
  is killed during a write, the write goes on to its end.

  ## Errors

    * `:closed` - the program has closed its input, `close_stdin/1` was called, there is no input because of
      `stdin: :null`, or the session is over
    * `{:timeout, written}` - the time is over. `written` bytes are written; the others will not be

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
  Closes the program's standard input, after all that was written before. Does not wait.
  """
  @spec close_stdin(t()) :: :ok | {:error, :closed}
  def close_stdin(session), do: call(session, :close_stdin)

  @doc """
  Returns the output that nobody has taken yet, as soon as there is some.

  Waits at most `timeout` milliseconds. `:eof` means that the program has ended and all of its output is read. With
  `:capture_stderr` returns `{:ok, {:stdout, bytes}}` or `{:ok, {:stderr, bytes}}`. With `:lines` returns one line.
  """
  @spec read(t(), timeout()) ::
          {:ok, binary() | {:stdout | :stderr, binary()}} | :eof | {:error, unread()}
  def read(session, timeout \\ @default_ms), do: read_with(session, :read, timeout)

  @doc """
  Returns the next line without its `\\n`. The last line may have none.

  Waits at most `timeout` milliseconds. After a timeout the part of a line that has come can still be read. The same
  holds for a line that is longer than `:max_buffer`: the call returns `{:error, :full}`.

  ## Examples

      iex> {:ok, session} = MuonTrap.open("printf", [~S(one\\ntwo)])
      iex> for _ <- 1..3, do: MuonTrap.Session.read_line(session)
      [{:ok, "one"}, {:ok, "two"}, :eof]
  """
  @spec read_line(t(), timeout()) :: {:ok, binary()} | :eof | {:error, unread()}
  def read_line(session, timeout \\ @default_ms), do: read_with(session, :line, timeout)

  @doc """
  Returns exactly `count` bytes, such as the body of a message whose length is known.

  Waits at most `timeout` milliseconds. If fewer bytes come, they are left for `read/2`; if the program has ended, the
  call returns `:eof`. `count` may be larger than `:max_buffer`.
  """
  @spec read_bytes(t(), pos_integer(), timeout()) :: {:ok, binary()} | :eof | {:error, unread()}
  def read_bytes(session, count, timeout \\ @default_ms) when is_integer(count) and count > 0,
    do: read_with(session, {:exactly, count}, timeout)

  @doc """
  Waits for output that matches, and returns the output before the match, and the match.

  `pattern` is a regular expression or a string, or `{:stderr, pattern}` with `:capture_stderr`. The match is a list as
  from `Regex.run/2`: the whole match, then its groups. The match and the output before it are taken; the output after
  it stays. Each time new output comes, the pattern is tried. So `~r/\\d+/` may match when only half of a number has
  come.

  Waits at most `timeout` milliseconds. `:eof` means that the program has ended without a match. Unless there is a
  match, all output is left for `read/2`.

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
  Sets which events the owner gets as messages from now on. Any process may call it.

    * `false` - none; you read the session by calls
    * `:once` - one event
    * a number - this many events, then `:passive`
    * `true` - all events. Acknowledge each event of output with `ack/2`; with `:stdio_window` bytes unacknowledged, no
      more output is sent

  An event holds up to `:stdio_window` bytes, or one line. The end of the program is an event as well, and is sent when
  an event is wanted. Does not wait.
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
  Acknowledges events of output that the owner has handled, with `active: true`. Does not wait.
  """
  @spec ack(t(), pos_integer()) :: :ok
  def ack(session, events \\ 1) when is_integer(events) and events > 0 do
    send(session.pid, {:handled, events})
    :ok
  end

  @doc """
  Makes another process the owner. Only the owner may do that; other processes get `{:error, :not_owner}`.

  When the call returns, the program ends with the new owner, and no longer with the old one. If the new owner is not
  alive, the program ends. Events that were sent to the old owner stay in its mailbox.
  """
  @spec controlling_process(t(), pid()) :: :ok | {:error, :not_owner | :closed}
  def controlling_process(session, pid) when is_pid(pid),
    do: call(session, {:controlling_process, pid})

  @doc """
  Sends a signal to the program itself, by name or number, see kill(2). Returns `{:error, :esrch}` if it has ended.
  """
  @spec signal(t(), Signal.t()) :: :ok | {:error, :closed | File.posix()}
  def signal(session, signal), do: call(session, {:signal, Signal.number!(signal)})

  @doc """
  Sets the size of the terminal of a program that was started with `:pty`, in characters. The kernel then sends SIGWINCH
  to the program.

  Returns at once. `{:error, :enotty}` means that there is no terminal, `{:error, :esrch}` that nothing of the program
  is left. Raises `ArgumentError` if `rows` or `cols` is not from 1 to 65,535. See `TIOCSWINSZ` in `ioctl_tty(2)`.
  """
  @spec resize(t(), pos_integer(), pos_integer()) :: :ok | {:error, :enotty | :esrch | :closed}
  def resize(session, rows, cols), do: call(session, {:resize, Pty.size!(rows, cols)})

  @doc """
  Returns the process id of the program, also after the program has ended.
  """
  @spec os_pid(t()) :: {:ok, pos_integer()} | {:error, :closed}
  def os_pid(session), do: call(session, :os_pid)

  @doc """
  Waits until the program has ended and nothing of its tree is left, and returns the result. The session is over then.

  Waits at most `timeout` milliseconds. A program can end only when all of its output is taken. If nobody but the caller
  has read from the session, the rest of the output is dropped: read what you need before you call `await/2`. Output
  that another process reads, or gets as events, waits for that process.

  ## Errors

    * `:timeout` - the program has not ended in time
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
  Asks the program to stop, waits until nothing of its tree is left, and returns the result. The session is over then.

  The program gets `:stop_signal`. What is left after `delay_to_sigkill` milliseconds gets SIGKILL; the default is the
  option of the same name. The call waits that long at most, or some seconds longer if something cannot be killed.
  Unread output is dropped. When it returns, the mailbox of the caller holds no event of the session.

  ## Errors

  Those of `await/2`, except `:timeout`.

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
