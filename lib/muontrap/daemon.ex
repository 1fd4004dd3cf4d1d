# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon do
  @moduledoc """
  An OS program as a citizen of the supervision tree.

      children = [
        {MuonTrap.Daemon, ["tunnel", ["--to", "example.org"], [log_output: :info]]}
      ]

      Supervisor.start_link(children, strategy: :one_for_one)

  The process that `start_link/3` starts owns the program: they end together. When it ends first, in any
  way, the program gets `:stop_signal` and, after `:delay_to_sigkill`, everything it started gets SIGKILL.
  A Daemon that its supervisor terminates is gone only when that whole tree is gone. One that was killed
  (`:brutal_kill`) cannot wait for it; the next Daemon with the same command line does, before it starts
  its program.

  When the program exits with status 0 the Daemon stops with `:normal`, otherwise with what
  `:exit_status_to_reason` says, by default `:error_exit_status`, or `:oom_killed` when the kernel killed
  something in its cgroup for want of memory. So `restart: :transient` restarts after failures only.

  Without one of the log options nothing is captured: standard output goes to `/dev/null` and standard
  error to the VM's own.
  """

  use GenServer

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Cgroup, Command, Error, Input, Nif, Options, Signal}
  alias MuonTrap.Daemon.{Output, Readiness}
  require Logger

  # What a stop may take beyond the grace: killing the tree, removing cgroups, a slow machine.
  @shutdown_margin_ms 10_000

  defstruct [:options, :command, :output, :ready, :input, :os_pid, :waiting]

  @doc """
  The child specification for `[command, args]` or `[command, args, options]`.

  `:restart` is `:permanent` and `:shutdown` the grace plus #{@shutdown_margin_ms} ms; change them, or the
  `:id`, by `Supervisor.child_spec/2`.
  """
  @spec child_spec([term()]) :: Supervisor.child_spec()
  def child_spec([command, args]), do: child_spec([command, args, []])

  def child_spec([command, args, opts]) do
    options = Options.validate!(:daemon, command, args, opts)

    %{
      id: __MODULE__,
      start: {__MODULE__, :start_link, [command, args, opts]},
      type: :worker,
      restart: :permanent,
      shutdown: options.delay_to_sigkill + @shutdown_margin_ms
    }
  end

  @doc """
  Starts a program and a process that owns it.

  Returns when the program runs and, with `:ready`, is ready; with `:wait_for` at once, and the program
  starts later. Blocks for up to `:start_timeout`.

  ## Options

  #{Options.docs(:daemon)}
  ## Errors

    * `{:error, %MuonTrap.Error{}}` - the program cannot be started, or did not become ready
    * `{:error, {:already_started, pid}}` - the `:name` is taken
    * `ArgumentError` is raised for an argument or option that makes no sense
  """
  @spec start_link(binary(), [binary()], keyword()) :: GenServer.on_start()
  def start_link(command, args, opts \\ []) do
    options = Options.validate!(:daemon, command, args, opts)
    name = if options.name, do: [name: options.name], else: []
    ref = make_ref()

    # A failed start is no crash: it is told by a message, and nothing is logged.
    case GenServer.start_link(__MODULE__, {options, self(), ref}, name) do
      :ignore -> receive(do: ({^ref, error} -> {:error, error}))
      started -> started
    end
  end

  @doc """
  The process id of the program itself; nil while `:wait_for` runs.
  """
  @spec os_pid(GenServer.server()) :: pos_integer() | nil
  def os_pid(server), do: GenServer.call(server, :os_pid)

  @doc """
  Sends the program a signal, `:sighup` or a number from 1 to 64. Does not wait for its effect.

  `{:error, :esrch}` when the program is not there.
  """
  @spec signal(GenServer.server(), atom() | 1..64) :: :ok | {:error, File.posix()}
  def signal(server, signal), do: GenServer.call(server, {:signal, Signal.number!(signal)})

  @doc """
  Writes iodata to the program's standard input; with `stdin: :pipe`.

  Answers at once: what the pipe does not take now is written as the program reads. Until then another
  write gets `{:error, :eagain}` and nothing of it is taken. `{:error, :epipe}`: the program has closed
  its input, or it never was open.
  """
  @spec write(GenServer.server(), iodata()) :: :ok | {:error, :eagain | :epipe}
  def write(server, data), do: GenServer.call(server, {:write, IO.iodata_to_binary(data)})

  @doc """
  Closes the program's standard input, after what is still to be written. Answers at once.
  """
  @spec close_stdin(GenServer.server()) :: :ok
  def close_stdin(server), do: GenServer.call(server, :close_stdin)

  @doc """
  Numbers about the program: `:uptime_ms`, `:stdout_bytes`, `:stderr_bytes` (captured so far),
  `:unacknowledged_bytes` of `:window_bytes`, `:cpu_time_ms` and `:peak_memory_bytes` of the program's own
  process (proc(5); nil when it is gone), and `:cgroup`, see `MuonTrap.Cgroup.statistics/1`.
  """
  @spec statistics(GenServer.server()) :: map()
  def statistics(server), do: GenServer.call(server, :statistics)

  @doc "Reads a file of the program's cgroup; see `MuonTrap.Cgroup.get/2`."
  @spec cgget(GenServer.server(), String.t()) :: {:ok, String.t()} | {:error, File.posix()}
  def cgget(server, file), do: GenServer.call(server, {:cgroup, :get, [file]})

  @doc "Reads a file of the program's cgroup under a controller; see `MuonTrap.Cgroup.get/3`."
  @spec cgget(GenServer.server(), String.t(), String.t()) ::
          {:ok, String.t()} | {:error, File.posix()}
  def cgget(server, controller, file),
    do: GenServer.call(server, {:cgroup, :get, [controller, file]})

  @doc "Writes a file of the program's cgroup; see `MuonTrap.Cgroup.set/3`."
  @spec cgset(GenServer.server(), String.t(), String.t() | integer()) ::
          :ok | {:error, File.posix()}
  def cgset(server, file, value), do: GenServer.call(server, {:cgroup, :set, [file, value]})

  @doc "Writes a file of the program's cgroup under a controller; see `MuonTrap.Cgroup.set/4`."
  @spec cgset(GenServer.server(), String.t(), String.t(), String.t() | integer()) ::
          :ok | {:error, File.posix()}
  def cgset(server, controller, file, value),
    do: GenServer.call(server, {:cgroup, :set, [controller, file, value]})

  @doc "The limits of the program's cgroup in the form of the `:cgroup` option."
  @spec cgroup_config(GenServer.server()) :: map()
  def cgroup_config(server), do: GenServer.call(server, {:cgroup, :config, []})

  @doc "The path of the program's cgroup relative to its hierarchy; nil without one."
  @spec cgroup_path(GenServer.server()) :: String.t() | nil
  def cgroup_path(server), do: GenServer.call(server, {:cgroup, :path, []})

  @impl GenServer
  def init({options, starter, ref}) do
    Process.flag(:trap_exit, true)
    state = %__MODULE__{options: options, output: Output.new(options)}

    if options.wait_for do
      {:ok, %{state | waiting: Task.async(options.wait_for)}}
    else
      case launch(state) do
        {:ok, state} ->
          {:ok, state}

        {:error, error} ->
          send(starter, {ref, error})
          :ignore
      end
    end
  end

  @impl GenServer
  def handle_call(:os_pid, _from, state), do: {:reply, state.os_pid, state}

  def handle_call(_request, _from, %{command: nil} = state), do: {:reply, {:error, :esrch}, state}

  def handle_call({:signal, number}, _from, state),
    do: {:reply, Nif.signal(state.command.handle, number), state}

  def handle_call({:write, bytes}, _from, state) do
    case state.input do
      {"", :open} -> {:reply, :ok, feed(%{state | input: {bytes, :open}})}
      {_pending, :open} -> {:reply, {:error, :eagain}, state}
      _closed -> {:reply, {:error, :epipe}, state}
    end
  end

  def handle_call(:close_stdin, _from, state) do
    case state.input do
      {pending, :open} -> {:reply, :ok, feed(%{state | input: {pending, nil}})}
      _closed -> {:reply, :ok, state}
    end
  end

  def handle_call(:statistics, _from, state) do
    keys = [:uptime_ms, :stdout_bytes, :stderr_bytes, :unacknowledged_bytes, :window_bytes]

    statistics =
      Nif.info(state.command.handle)
      |> Map.take(keys)
      |> Map.merge(process_statistics(state.os_pid))
      |> Map.put(:cgroup, Cgroup.statistics(state.command.cgroup))

    {:reply, statistics, state}
  end

  def handle_call({:cgroup, name, args}, _from, state),
    do: {:reply, apply(Cgroup, name, [state.command.cgroup | args]), state}

  @impl GenServer
  def handle_info({ref, _result}, %{waiting: %Task{ref: ref}} = state) do
    Process.demonitor(ref, [:flush])

    case launch(%{state | waiting: nil}) do
      {:ok, state} -> {:noreply, state}
      {:error, error} -> {:stop, {:shutdown, error}, state}
    end
  end

  def handle_info({:DOWN, ref, :process, _pid, reason}, %{waiting: %Task{ref: ref}} = state),
    do: {:stop, reason, state}

  def handle_info({:muontrap, ref, event}, %{command: %{ref: ref}} = state)
      when is_terminal(event),
      do: {:stop, reason(event, state.options), over(state)}

  def handle_info({:muontrap, ref, event}, %{command: %{ref: ref}} = state),
    do: {:noreply, handle(event, state)}

  # A linked process crashed: this one goes down with it, as it would without trapping exits.
  def handle_info({:EXIT, _pid, reason}, state) when reason != :normal, do: {:stop, reason, state}

  def handle_info(_message, state), do: {:noreply, state}

  @impl GenServer
  def terminate(_reason, %{command: nil, waiting: %Task{} = task}) do
    Task.shutdown(task, :brutal_kill)
  end

  def terminate(_reason, %{command: nil}), do: :ok
  def terminate(_reason, state), do: stop(state)

  # Stops the program and logs what it still has to say, until its tree is gone.
  defp stop(state) do
    Command.stop(state.command)
    drain(state)
  end

  defp drain(%{command: %{ref: ref}} = state) do
    receive do
      {:muontrap, ^ref, event} when is_terminal(event) -> over(state)
      {:muontrap, ^ref, event} -> drain(handle(event, state))
    end
  end

  defp over(state) do
    Input.close(
      if is_tuple(state.input) and elem(state.input, 1) == :open, do: nil, else: state.input
    )

    %{state | command: nil, os_pid: nil, output: Output.flush(state.output)}
  end

  defp launch(%{options: options} = state) do
    deadline = deadline(options.start_timeout)
    await_predecessors([options.command | options.args], options.delay_to_sigkill)
    {ready, env} = Readiness.prepare(options.ready)
    {stdout, stderr} = Output.streams(options)
    stdin = if options.stdin == :pipe or options.input, do: :pipe, else: :null

    with {:ok, command} <-
           Command.start(options, {stdin, stdout, stderr}, announce: true, env: env) do
      input = if options.stdin == :pipe, do: {"", :open}, else: Input.new(options.input)

      feed(%{state | command: command, input: input, ready: {:prepared, ready}})
      |> await_ready(deadline)
    end
  end

  # The trees of Daemons that were killed: their ports and files are free when they are gone.
  defp await_predecessors(words, grace_ms) do
    for %{command: ^words, orphaned: true, done: false, id: id} <- Nif.list(),
        Nif.notify_gone(id) do
      receive do
        {:muontrap_gone, ^id} -> :ok
      after
        grace_ms + @shutdown_margin_ms -> :ok
      end
    end
  end

  defp await_ready(%{ready: :ready, os_pid: pid} = state, _deadline) when pid != nil,
    do: {:ok, state}

  defp await_ready(%{command: %{ref: ref}} = state, deadline) do
    parent = List.first(Process.get(:"$ancestors", []))

    receive do
      {:muontrap, ^ref, event} when is_terminal(event) ->
        over(state)
        {:error, start_error(event)}

      {:muontrap, ^ref, event} ->
        await_ready(handle(event, state), deadline)

      {:EXIT, pid, reason} when reason != :normal ->
        stop(state)
        if pid == parent, do: exit(reason)
        {:error, %Error{step: :ready, reason: :crashed, subject: inspect(reason)}}

      {:EXIT, _pid, :normal} ->
        await_ready(state, deadline)

      {ref, :ready} when is_reference(ref) ->
        await_ready(%{state | ready: Readiness.message(state.ready, {ref, :ready})}, deadline)

      {:udp, _socket, _address, _port, _text} = message ->
        await_ready(%{state | ready: Readiness.message(state.ready, message)}, deadline)
    after
      left(deadline) ->
        stop(state)
        {:error, %Error{step: :start_timeout, subject: state.options.command, reason: :timeout}}
    end
  end

  defp start_error({:ended, outcome}) do
    status = Command.exit_status(outcome.status)
    %Error{step: :ready, subject: "exit status #{status}", reason: :exited}
  end

  defp start_error({:failed, failure}), do: Command.error(failure)
  defp start_error({:lost, failure, _survivors}), do: Command.error(failure)

  defp handle({:started, pid}, %{ready: {:prepared, ready}} = state),
    do: %{state | os_pid: pid, ready: Readiness.begin(ready)}

  defp handle({:started, pid}, state), do: %{state | os_pid: pid}

  defp handle({stream, bytes}, state) when stream in [:stdout, :stderr] do
    {lines, output} = Output.push(state.output, stream, bytes)
    Nif.ack(state.command.handle, byte_size(bytes))
    %{state | output: output, ready: ready_by(state.ready, lines)}
  end

  defp handle(:writable, state), do: feed(state)

  # Output may come before the word that the program runs.
  defp ready_by({:prepared, {:output, _regex} = ready}, lines) do
    case Readiness.lines(ready, lines) do
      :ready -> {:prepared, nil}
      ready -> {:prepared, ready}
    end
  end

  defp ready_by(ready, lines), do: Readiness.lines(ready, lines)

  # With `stdin: :pipe` what is left is bytes, and the pipe stays open after them.
  defp feed(%{input: {"", :open}} = state), do: state

  defp feed(%{input: {bytes, :open}, command: command} = state) do
    case Nif.write(command.handle, bytes) do
      {:ok, written} ->
        rest = binary_part(bytes, written, byte_size(bytes) - written)
        feed(%{state | input: {rest, :open}})

      {:error, :eagain} ->
        state

      {:error, _nobody_reads} ->
        %{state | input: nil}
    end
  end

  defp feed(state), do: %{state | input: Input.write(state.input, state.command.handle)}

  defp reason({:ended, outcome}, options) do
    status = Command.exit_status(outcome.status)
    to_reason = options.exit_status_to_reason

    if outcome.survivors != [] do
      Logger.error(
        "#{options.command}: processes that cannot be killed: #{inspect(outcome.survivors)}"
      )
    end

    cond do
      status == 0 -> :normal
      to_reason != nil -> to_reason.(status)
      outcome.oom_killed -> :oom_killed
      true -> :error_exit_status
    end
  end

  defp reason({:failed, failure}, _options), do: {:shutdown, Command.error(failure)}
  defp reason({:lost, failure, _survivors}, _options), do: Command.error(failure)

  # Clock ticks are hundredths of a second for everybody who reads /proc, see proc(5).
  @tick_ms 10

  defp process_statistics(pid) do
    with {:ok, stat} <- File.read("/proc/#{pid}/stat"),
         {:ok, status} <- File.read("/proc/#{pid}/status"),
         [_, peak] <- Regex.run(~r/^VmHWM:\s*(\d+) kB/m, status) do
      # Fields 14 and 15; the name, which ends at the last parenthesis, is the second.
      fields = stat |> String.split(")") |> List.last() |> String.split()
      ticks = Enum.slice(fields, 11, 2) |> Enum.map(&String.to_integer/1) |> Enum.sum()
      %{cpu_time_ms: ticks * @tick_ms, peak_memory_bytes: String.to_integer(peak) * 1024}
    else
      _gone -> %{cpu_time_ms: nil, peak_memory_bytes: nil}
    end
  end

  defp deadline(:infinity), do: :infinity
  defp deadline(timeout_ms), do: System.monotonic_time(:millisecond) + timeout_ms

  defp left(:infinity), do: :infinity
  defp left(deadline), do: max(deadline - System.monotonic_time(:millisecond), 0)
end
