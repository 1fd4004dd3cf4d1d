# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon do
  @moduledoc """
  An OS program as a child in a supervision tree.

      children = [
        {MuonTrap.Daemon, ["tunnel", ["--to", "example.com"], [log_output: :info]]}
      ]

      Supervisor.start_link(children, strategy: :one_for_one)

  The Daemon ends when its program ends. When the Daemon ends, the program and everything that it started is gone before
  the supervisor goes on. After a `:brutal_kill`, the next start of the same command waits for that.

  ## Options

  #{MuonTrap.Options.docs(:daemon)}
  Standard output goes to `/dev/null` unless an option uses it, standard error to that of the VM. `:logger_fun` as
  `{module, function, args}` is called with the line before `args`. If the logger raises, the line is lost, and the
  first time an error is logged.

  ## What is logged

  When the program ends by itself, its end is logged: `"command: Process exited successfully"` as info, or
  `"command: Process exited with status 137 (SIGKILL), pid 4711, after 2.3 s"` as an error, where the signal is named if
  there was one, followed by the end of what was read of its standard error, see `:tail_bytes`. Standard error that is
  inherited is not read, so nothing of it is there to be shown.

  With a stop reason other than `:normal`, a GenServer also reports its state. The state of a Daemon is shown as that
  same line, without options and output.

  The events of a Daemon, lines of output too, are those of the module `MuonTrap.Daemon` and the application `:muontrap`
  to `Logger.put_module_level/2`, `Logger.put_application_level/2` and `:compile_time_purge_matching`.

  With `:wait_for`, `start_link/3` does not wait for anything. The program is started, and becomes ready or
  not, afterwards, and what fails then is the reason that the Daemon stops with.

  ## Starting again

  With `:restart_backoff` the Daemon stays when its program ends, is lost, misses its watchdog, or cannot be started or
  become ready once more: what is left of it is ended, and it is started again after a while, `:wait_for` and
  `:ready` as at the first time, with the whole `:input` again. The supervisor hears nothing of it, so children that
  come after it are not restarted by `:rest_for_one`.

  Only the first start is the affair of `start_link/3`: what fails there is returned, unless there is a `:wait_for`.
  While nothing runs, `os_pid/1` is `:error`, `signal/2` and `reload/2` are `{:error, :esrch}`, `write/2` is
  `{:error, :epipe}`, and a stop is over at once; `MuonTrap.list/0` and `statistics/1` say how long that
  lasts. A program that missed its `:watchdog` or `:start_timeout` is stopped as by a supervisor, and calls wait for
  that.

  ## Stop reasons

    * `:normal` - exit status 0
    * `:error_exit_status`, or what `:exit_status_to_reason` returns - any other; 128 and the number of the
      signal that ended the program
    * `{:exit_status, %MuonTrap.Result{}}` - any other, with `exit_status_to_reason: :result`
    * `{:oom_killed, status}` - the kernel killed it for its memory, and there is no `:exit_status_to_reason`
    * `MuonTrap.Error` - it could not be started, was not ready in time, missed its `:watchdog`, or its helper was
      lost
    * what an enumerable `:input` raised

  With `:restart_backoff` the only reasons are `:normal` and what an `:input` raised, and with `on: :end` only the
  latter.

  Processes that cannot be killed do not change the stop reason, and do not keep the Daemon alive. They are logged as an
  error.
  """

  require Logger

  alias MuonTrap.Daemon.{Launch, Server, Statistics, StopSteps}
  alias MuonTrap.{Cgroup, Defaults, Error, Late, Options, Pty, Signal}

  @margin_ms Launch.margin_ms()
  # A Daemon that has nothing to do keeps next to no memory: 4 KB, and 38 after its start.
  @hibernate_after_ms 1_000

  @doc """
  Returns the child specification for `[command, args]` or `[command, args, opts]`; options are a keyword list or a
  map.

  The `:shutdown` is what a stop can take: `:delay_to_sigkill`, or the pauses of `:stop`, and #{@margin_ms} ms; `:infinity` if that is
  more than 49 days. Change it, `:id` or `:restart` with `Supervisor.child_spec/2`. Raises `ArgumentError` for anything else.

  Supervisors show the child specification in their reports (`handle_sasl_reports: true` of Logger), arguments and
  `:env` with it.
  """
  @spec child_spec([term()]) :: Supervisor.child_spec()
  def child_spec([command, args]) when is_list(args), do: child_spec([command, args, []])

  def child_spec([_command, args, opts] = start)
      when is_list(args) and (is_list(opts) or is_map(opts)) do
    %{
      id: __MODULE__,
      start: {__MODULE__, :start_link, start},
      restart: :permanent,
      type: :worker,
      shutdown: shutdown(opts)
    }
  end

  def child_spec(other) do
    raise ArgumentError,
          "MuonTrap.Daemon expects [command, args] or [command, args, opts] as a child, with the arguments in a list " <>
            "and the options in another, as in {MuonTrap.Daemon, [\"sleep\", [\"10\"], [log_output: :info]]}, got: " <>
            shape(other)
  end

  # The arguments may hold a secret.
  defp shape([command | more]) when is_binary(command) and is_list(more),
    do: "[" <> Enum.join([inspect(command) | Enum.map(more, &kind/1)], ", ") <> "]"

  defp shape(other), do: kind(other)

  defp kind({key, _value}) when is_atom(key), do: "#{key}: ..."
  defp kind(list) when is_list(list), do: "[...]"
  defp kind(string) when is_binary(string), do: "a string"
  defp kind(_other), do: "..."

  # What makes no sense is refused by the start, with words.
  defp shutdown(opts) do
    grace_ms =
      case Access.fetch(opts, :delay_to_sigkill) do
        {:ok, ms} when is_integer(ms) and ms >= 0 -> ms
        _default -> Defaults.delay_to_sigkill()
      end

    stop_ms =
      with {:ok, stop} <- Access.fetch(opts, :stop),
           {:ok, steps} <- StopSteps.cast(stop),
           do: StopSteps.duration_ms(steps, grace_ms),
           else: (_none -> grace_ms)

    shutdown_ms = stop_ms + @margin_ms
    # A supervisor waits as long as a process can wait for a message, or for ever.
    if shutdown_ms == Late.at_once_ms(shutdown_ms), do: shutdown_ms, else: :infinity
  end

  @doc """
  Starts a program, and the process that owns it.

  Returns when the program runs, and with `:ready` when it is ready. The caller is linked, so one that does
  not trap exits ends with a failed start, as with any GenServer.

  ## Errors

    * `ArgumentError` - an argument or option that makes no sense
    * `{:error, %MuonTrap.Error{}}` - the program cannot be started, or was not ready in time
    * `{:error, {:already_started, pid}}` - the name is taken
  """
  @spec start_link(binary(), [binary()], keyword() | map()) :: GenServer.on_start()
  def start_link(command, args, opts \\ []) do
    options = Options.validate!(:daemon, command, args, opts)
    name = if options.name, do: [name: options.name], else: []

    # A reason of this form gives no crash report.
    with {:error, {:shutdown, %Error{} = error}} <-
           GenServer.start_link(Server, options, [hibernate_after: @hibernate_after_ms] ++ name),
         do: {:error, error}
  end

  @doc """
  The program's process id; `:error` before it runs, while `:wait_for` does, and while a restart is waited for.

  When the program has ended it is the one that it had. A Daemon lives for 10 ms at the least, so that the id
  of a program that ends at once can be asked for after `start_link/3`. Exits as any call does when the Daemon is
  gone.
  """
  @spec os_pid(GenServer.server()) :: pos_integer() | :error
  def os_pid(server), do: GenServer.call(server, :os_pid)

  @doc """
  Sends the program itself a signal, by name or number. `{:error, :esrch}` if it does not run.
  """
  @spec signal(GenServer.server(), Signal.t()) :: :ok | {:error, :file.posix()}
  def signal(server, signal), do: GenServer.call(server, {:signal, Signal.number!(signal)})

  @doc """
  Asks the program to read its configuration again, by the signal in `:reload`, SIGHUP if nothing else is said.

  Most signals end a program that does not expect them. Without a timeout, returns when the signal is sent. With a
  timeout, in milliseconds, waits until the program has reloaded. That needs `ready: :notify`: the program says
  `RELOADING=1` and then `READY=1`, see sd_notify(3), and systemd.service(5) under `Type=notify-reload`.

  ## Errors

    * `{:error, :esrch}` - the program does not run, or has ended meanwhile
    * `{:error, :timeout}` - it has not said so in time; it may still do it
    * `ArgumentError` - a timeout for a program without `ready: :notify`, which would never say so
  """
  @spec reload(GenServer.server(), pos_integer() | nil) ::
          :ok | {:error, :file.posix() | :timeout}
  def reload(server, timeout_ms \\ nil)
      when timeout_ms == nil or (is_integer(timeout_ms) and timeout_ms > 0) do
    with {:error, :not_notify} <- GenServer.call(server, {:reload, timeout_ms}, :infinity) do
      raise ArgumentError,
            "MuonTrap.Daemon.reload/2 needs ready: :notify to wait for the program, got: #{timeout_ms}"
    end
  end

  @doc """
  Writes to the standard input of the program.

  Answers at once; what the program has no room for is kept and written when it has. `{:error, :eagain}`:
  a megabyte is waiting already, and nothing was taken. `{:error, :epipe}`: the input is closed, or there is none
  because of `stdin: :null` or `:input`.
  """
  @spec write(GenServer.server(), iodata()) :: :ok | {:error, :eagain | :epipe}
  def write(server, data), do: GenServer.call(server, {:write, IO.iodata_to_binary(data)})

  @doc """
  Ends the program's standard input after everything that was written to it.

  On a terminal (`:pty`) that is the end-of-file character, Ctrl-D, and nothing can be typed after it.
  """
  @spec close_stdin(GenServer.server()) :: :ok
  def close_stdin(server), do: GenServer.call(server, :close_stdin)

  @doc """
  Gives the program's terminal another size, in characters. The kernel tells the program by SIGWINCH.

  Answers at once. `{:error, :enotty}`: it was started without `:pty`. `{:error, :esrch}`: the program is not there yet,
  or nothing is left of it. Raises `ArgumentError` for what is no size (1 to 65,535). See `TIOCSWINSZ` in
  `ioctl_tty(2)`.
  """
  @spec resize(GenServer.server(), pos_integer(), pos_integer()) ::
          :ok | {:error, :enotty | :esrch}
  def resize(server, rows, cols), do: GenServer.call(server, {:resize, Pty.size!(rows, cols)})

  @doc """
  What is known of the program so far.

  `:os_pid`, `:uptime_ms`, `:stdout_bytes`, `:stderr_bytes`, `:output_byte_count` (of both, as far as it is logged),
  `:dropped_lines` (by `:log_rate`, since the Daemon began), `:unacknowledged_bytes` of `:window_bytes`, `:cpu_time_us` and `:memory_peak_bytes` (of the cgroup, without
  one of the program alone with the CPU time of those of its children that it waited for; `nil` if unknown)
  and `:cgroup`, see `MuonTrap.Cgroup.statistics/1`. With `:restart_backoff`, `:restarts` is how often the program
  was started again, and `:next_start_ms` the milliseconds until the next time, or nil while it runs; all other numbers are those of
  the program that runs. With `ready: :notify`, `:notify` is what the program has told
  of itself, see `sd_notify(3)`: `:status`, `:main_pid`, `:stopping`, `:reloading`, each nil before it said so.
  """
  @spec statistics(GenServer.server()) :: map()
  def statistics(server) do
    {info, plan} = GenServer.call(server, :info)
    Statistics.of(info, plan)
  end

  @doc """
  Reads a file of the program's cgroup, see `MuonTrap.Cgroup.get/2`. `{:error, :no_cgroup}` if it has none.
  """
  @spec cgget(GenServer.server(), String.t()) ::
          {:ok, String.t()} | {:error, File.posix() | :no_cgroup}
  def cgget(server, file), do: Cgroup.get(plan(server), file)

  @doc "The same with the controller named."
  @spec cgget(GenServer.server(), String.t(), String.t()) ::
          {:ok, String.t()} | {:error, File.posix() | :no_cgroup}
  def cgget(server, controller, file), do: Cgroup.get(plan(server), controller, file)

  @doc """
  Writes a file of the program's cgroup, see `MuonTrap.Cgroup.set/3`. `{:error, :no_cgroup}` if it has none.
  """
  @spec cgset(GenServer.server(), String.t(), String.t() | integer()) ::
          :ok | {:error, File.posix() | :no_cgroup}
  def cgset(server, file, value), do: Cgroup.set(plan(server), file, value)

  @doc "The same with the controller named."
  @spec cgset(GenServer.server(), String.t(), String.t(), String.t() | integer()) ::
          :ok | {:error, File.posix() | :no_cgroup}
  def cgset(server, controller, file, value),
    do: Cgroup.set(plan(server), controller, file, value)

  @doc "The settings of the program's cgroup, see `MuonTrap.Cgroup.config/1`."
  @spec cgroup_config(GenServer.server()) :: map()
  def cgroup_config(server), do: Cgroup.config(plan(server))

  @doc "The path of the program's cgroup, relative to its hierarchy; `nil` without one, and before the first start (`:wait_for`)."
  @spec cgroup_path(GenServer.server()) :: String.t() | nil
  def cgroup_path(server), do: Cgroup.path(plan(server))

  # Logger goes by the module of the call: for levels, and for what is left out when it is compiled. So everything
  # that a Daemon logs of its program is logged here, and each level by a call of its own.
  for level <- [:emergency, :alert, :critical, :error, :warning, :notice, :info, :debug] do
    @doc false
    def log(unquote(level), message), do: Logger.log(unquote(level), message)
  end

  # The caller does the reading and writing, which the kernel may make it wait for.
  defp plan(server), do: server |> GenServer.call(:info) |> elem(1)
end
