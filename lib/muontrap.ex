# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap do
  @moduledoc """
  Runs OS programs so that none is ever lost.

  `cmd/3` is `System.cmd/3` that contains what it runs: when it returns, and when the calling process or
  the VM ends before in any way, the program and everything it started is gone. Neither root nor cgroups
  are needed for that. `run/3` is the same with a structured result.
  """

  alias MuonTrap.{Collect, Nif, Options, Result}

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

  defp registered_name(pid) do
    case Process.info(pid, :registered_name) do
      {:registered_name, name} when is_atom(name) -> name
      _none_or_dead -> nil
    end
  end
end
