# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon do
  @moduledoc """
  An OS program as a child in a supervision tree.

      children = [
        {MuonTrap.Daemon, ["tunnel", ["--to", "example.com"], [log_output: :info]]}
      ]

      Supervisor.start_link(children, strategy: :one_for_one)

  The Daemon ends when its program ends, and when the Daemon ends, the program and everything that it
  started is gone before the supervisor goes on. After a `:brutal_kill` the next start of the same command
  waits for that.

  ## Options

  #{MuonTrap.Options.docs(:daemon)}
  Standard output and standard error that nothing asks for go to `/dev/null`. `:logger_fun` as
  `{module, function, args}` is called with the line before `args`. A logger that raises loses its line,
  and is complained about once.

  With `:wait_for`, `start_link/3` does not wait for anything. The program is started, and becomes ready or
  not, afterwards, and what fails then is the reason that the Daemon stops with.

  ## Stop reasons

    * `:normal` - exit status 0
    * `:error_exit_status`, or what `:exit_status_to_reason` returns - any other; 128 and the number of the
      signal that ended the program
    * `{:oom_killed, status}` - the kernel killed it for its memory
    * `MuonTrap.Error` - it could not be started, was not ready in time, or its helper was lost

  Processes that cannot be killed change neither the reason nor the end of the Daemon. They are logged as an error.
  """

  use GenServer

  alias MuonTrap.{Cgroup, Command, Defaults, Error, Input, Nif, Options, Signal}
  alias MuonTrap.Daemon.{Log, Ready, Stdin}

  require Logger

  # The kernel needs time to tear a big tree down.
  @margin_ms 10_000

  # options: without what must not show in a crash report.
  # phase: :waiting for wait_for, :starting, :running, :over
  defstruct [
    :options,
    :log,
    :stdin,
    :input,
    :command,
    :wait_task,
    :timer,
    ready: :ready,
    phase: :waiting
  ]

  @doc """
  Returns the child specification for `[command, args]` or `[command, args, opts]`.

  The `:shutdown` is what a stop can take: `:delay_to_sigkill` and #{@margin_ms} ms. Change it, `:id` or
  `:restart` with `Supervisor.child_spec/2`.
  """
  @spec child_spec([term()]) :: Supervisor.child_spec()
  def child_spec([command, args]), do: child_spec([command, args, []])

  def child_spec([_command, _args, opts] = start) do
    %{
      id: __MODULE__,
      start: {__MODULE__, :start_link, start},
      restart: :permanent,
      type: :worker,
      shutdown: Keyword.get(opts, :delay_to_sigkill, Defaults.delay_to_sigkill()) + @margin_ms
    }
  end

  @doc """
  Starts a program and a process that is responsible for it.

  Returns when the program runs, and with `:ready` when it is ready. The caller is linked, so one that does
  not trap exits ends with a failed start, as with any GenServer.

  ## Errors

    * `ArgumentError` - an argument or option that makes no sense
    * `{:error, %MuonTrap.Error{}}` - the program cannot be started, or was not ready in time
    * `{:error, {:already_started, pid}}` - the name is taken
  """
  @spec start_link(binary(), [binary()], keyword()) :: GenServer.on_start()
  def start_link(command, args, opts \\ []) do
    options = Options.validate!(:daemon, command, args, opts)
    name = if options.name, do: [name: options.name], else: []

    # A reason of this form gives no crash report.
    with {:error, {:shutdown, %Error{} = error}} <-
           GenServer.start_link(__MODULE__, options, name),
         do: {:error, error}
  end

  @doc "The program's process id; `nil` before it runs."
  @spec os_pid(GenServer.server()) :: pos_integer() | nil
  def os_pid(server), do: GenServer.call(server, :os_pid)

  @doc """
  Sends the program itself a signal, by name or number. `{:error, :esrch}` if it does not run.
  """
  @spec signal(GenServer.server(), Signal.t()) :: :ok | {:error, :file.posix()}
  def signal(server, signal), do: GenServer.call(server, {:signal, Signal.number!(signal)})

  @doc """
  Gives the program something to read from its standard input. Needs `stdin: :pipe`.

  Answers at once; what the program has no room for is kept and written when it has. `{:error, :eagain}`:
  a megabyte is waiting already, and nothing was taken. `{:error, :epipe}`: the input is closed.
  """
  @spec write(GenServer.server(), iodata()) :: :ok | {:error, :eagain | :epipe}
  def write(server, data), do: GenServer.call(server, {:write, IO.iodata_to_binary(data)})

  @doc "Ends the program's standard input after everything that was written to it."
  @spec close_stdin(GenServer.server()) :: :ok
  def close_stdin(server), do: GenServer.call(server, :close_stdin)

  @doc """
  What is known of the program so far.

  `:os_pid`, `:uptime_ms`, `:stdout_bytes`, `:stderr_bytes`, `:output_byte_count` (both),
  `:unacknowledged_bytes` of `:window_bytes`, `:cpu_time_us` and `:memory_peak_bytes` (of the cgroup, without
  one of the program alone with the CPU time of those of its children that it waited for; `nil` if unknown)
  and `:cgroup`, see `MuonTrap.Cgroup.statistics/1`.
  """
  @spec statistics(GenServer.server()) :: map()
  def statistics(server) do
    {info, plan} = GenServer.call(server, :info)
    cgroup = Cgroup.statistics(plan)

    info
    |> Map.take([:os_pid, :uptime_ms, :stdout_bytes, :stderr_bytes])
    |> Map.merge(Map.take(info, [:unacknowledged_bytes, :window_bytes]))
    |> Map.merge(%{
      output_byte_count: info.stdout_bytes + info.stderr_bytes,
      cpu_time_us: cgroup[:cpu_stat][:usage_usec] || cpu_time_us(info.os_pid),
      memory_peak_bytes: cgroup[:memory_peak] || memory_peak_bytes(info.os_pid),
      cgroup: cgroup
    })
  end

  @doc "Reads a file of the program's cgroup, see `MuonTrap.Cgroup.get/2`."
  @spec cgget(GenServer.server(), String.t()) :: {:ok, String.t()} | {:error, File.posix()}
  def cgget(server, file), do: Cgroup.get(plan(server), file)

  @doc "The same with the controller named."
  @spec cgget(GenServer.server(), String.t(), String.t()) ::
          {:ok, String.t()} | {:error, File.posix()}
  def cgget(server, controller, file), do: Cgroup.get(plan(server), controller, file)

  @doc "Writes a file of the program's cgroup, see `MuonTrap.Cgroup.set/3`."
  @spec cgset(GenServer.server(), String.t(), String.t() | integer()) ::
          :ok | {:error, File.posix()}
  def cgset(server, file, value), do: Cgroup.set(plan(server), file, value)

  @doc "The same with the controller named."
  @spec cgset(GenServer.server(), String.t(), String.t(), String.t() | integer()) ::
          :ok | {:error, File.posix()}
  def cgset(server, controller, file, value),
    do: Cgroup.set(plan(server), controller, file, value)

  @doc "The settings of the program's cgroup, see `MuonTrap.Cgroup.config/1`."
  @spec cgroup_config(GenServer.server()) :: map()
  def cgroup_config(server), do: Cgroup.config(plan(server))

  @doc "The path of the program's cgroup, relative to its hierarchy; `nil` without one."
  @spec cgroup_path(GenServer.server()) :: String.t() | nil
  def cgroup_path(server), do: Cgroup.path(plan(server))

  # The caller does the reading and writing, which the kernel may make it wait for.
  defp plan(server), do: server |> GenServer.call(:info) |> elem(1)

  @impl GenServer
  def init(options) do
    Process.flag(:trap_exit, true)

    state = %__MODULE__{
      options: options,
      log: Log.new(options),
      stdin: Stdin.new(options.stdin)
    }

    if options.wait_for do
      {:ok, state, {:continue, :wait_for}}
    else
      with {:ok, state} <- launch(state), {:ok, state} <- await(state) do
        {:ok, state}
      else
        {:error, error} -> {:stop, {:shutdown, error}}
        {:stop, %Error{} = error, state} -> fail_init({:shutdown, error}, state)
        {:stop, reason, state} -> fail_init(reason, state)
      end
    end
  end

  # terminate/2 is not called then.
  defp fail_init(reason, state) do
    terminate(reason, state)
    {:stop, reason}
  end

  @impl GenServer
  def handle_continue(:wait_for, state),
    do: {:noreply, %{state | wait_task: Task.async(state.options.wait_for)}}

  @impl GenServer
  def handle_call(:os_pid, _from, state), do: {:reply, info(state).os_pid, state}

  def handle_call(:info, _from, state),
    do: {:reply, {info(state), state.command && state.command.cgroup}, state}

  def handle_call({:signal, _number}, _from, %{command: nil} = state),
    do: {:reply, {:error, :esrch}, state}

  def handle_call({:signal, number}, _from, state),
    do: {:reply, Nif.signal(state.command.handle, number), state}

  def handle_call({:write, bytes}, _from, state) do
    case Stdin.put(state.stdin, bytes) do
      {:ok, stdin} ->
        # Written now, so that a pipe that nobody reads any more is known to the next caller.
        {:reply, :ok, %{state | stdin: Stdin.write(stdin, handle(state))}}

      {:error, _reason} = error ->
        {:reply, error, state}
    end
  end

  def handle_call(:close_stdin, _from, state) do
    stdin = state.stdin |> Stdin.close() |> Stdin.write(handle(state))
    {:reply, :ok, %{state | stdin: stdin}}
  end

  @impl GenServer
  def handle_info({:muontrap, ref, event}, %{command: %{ref: ref}} = state),
    do: event(event, state)

  def handle_info({ref, _result}, %{wait_task: %Task{ref: ref}} = state) do
    Process.demonitor(ref, [:flush])

    case launch(%{state | wait_task: nil}) do
      {:ok, state} -> {:noreply, state}
      {:error, error} -> {:stop, error, %{state | wait_task: nil}}
    end
  end

  # Without a result, as after exit(:normal).
  def handle_info({:DOWN, ref, _type, _pid, reason}, %{wait_task: %Task{ref: ref}} = state),
    do: {:stop, reason, state}

  def handle_info({ref, _result}, state) when is_reference(ref),
    do: {:noreply, ready(state, Ready.returned(state.ready, ref))}

  def handle_info({:udp, socket, _address, _port, data}, state),
    do: {:noreply, ready(state, Ready.datagram(state.ready, socket, data))}

  def handle_info({:timeout, timer, :start_timeout}, %{timer: timer} = state),
    do: {:stop, %Error{step: :start_timeout, subject: subject(state), reason: :timeout}, state}

  def handle_info({:EXIT, _pid, :normal}, state), do: {:noreply, state}
  # What is linked to a Daemon ends with it, and the other way round.
  def handle_info({:EXIT, _pid, reason}, state), do: {:stop, reason, state}
  def handle_info(_message, state), do: {:noreply, state}

  @impl GenServer
  def terminate(_reason, state) do
    if state.wait_task, do: Task.shutdown(state.wait_task, :brutal_kill)
    Ready.stop(state.ready)
    if state.phase in [:starting, :running], do: stop(state)
    :ok
  end

  defp launch(%{options: options} = state) do
    wait_for_predecessors(options)

    with {:ok, ready} <- Ready.new(options),
         {:ok, command} <- Command.start(options, stdio(options), start_options(ready)) do
      timer = if ready != :ready, do: start_timer(options.start_timeout)
      input = options.input |> Input.new() |> Input.write(command.handle)
      stdin = Stdin.write(state.stdin, command.handle)
      state = %{state | command: command, phase: :starting, input: input, stdin: stdin}
      options = Map.drop(options, [:env, :input])
      {:ok, %{state | options: options, ready: ready, timer: timer}}
    end
  end

  defp start_options(ready), do: [announce: true, env: Ready.env(ready)]

  defp stdio(options) do
    {stdout, stderr} = Log.outputs(options)
    stdin = if options.stdin == :pipe or options.input, do: :pipe, else: :null
    {stdin, stdout, stderr}
  end

  defp start_timer(:infinity), do: nil
  defp start_timer(timeout_ms), do: :erlang.start_timer(timeout_ms, self(), :start_timeout)

  # A Daemon that was killed could not wait for the end of its program. The native part may not have
  # noticed yet that it died.
  defp wait_for_predecessors(%{command: command, args: args} = options) do
    timeout_ms = options.delay_to_sigkill + @margin_ms
    deadline = System.monotonic_time(:millisecond) + timeout_ms

    for %{id: id, command: [^command | ^args], done: false} = running <- Nif.list(),
        running.orphaned or not Process.alive?(running.owner),
        Nif.notify_gone(id) do
      receive do
        {:muontrap_gone, ^id} -> :ok
      after
        max(deadline - System.monotonic_time(:millisecond), 0) ->
          Logger.error(
            "#{inspect(command)} of a Daemon that was killed is still there, starting anyway"
          )
      end
    end
  end

  # Calls stay in the mailbox until init/1 has returned.
  defp await(%{phase: :running, ready: :ready} = state), do: {:ok, state}

  defp await(%{command: %{ref: command_ref}} = state) do
    message =
      receive do
        {:muontrap, ^command_ref, _event} = message ->
          message

        {:EXIT, pid, reason} ->
          {:EXIT, pid, if(pid == parent(), do: {:shutdown, reason}, else: reason)}

        {:udp, _socket, _address, _port, _data} = message ->
          message

        {:timeout, _timer, :start_timeout} = message ->
          message

        {task_ref, _result} = message when is_reference(task_ref) ->
          message
      end

    with {:noreply, state} <- handle_info(message, state), do: await(state)
  end

  defp parent do
    case Process.get(:"$ancestors") do
      [pid | _rest] when is_pid(pid) -> pid
      [name | _rest] when is_atom(name) -> Process.whereis(name)
      _none -> nil
    end
  end

  defp event({:started, _pid}, state),
    do: {:noreply, %{state | phase: :running, ready: Ready.started(state.ready)}}

  # Takes what comes next without the detour by a message, as long as nobody else waits to be answered.
  defp event({stream, bytes}, state) when stream in [:stdout, :stderr] do
    case Process.info(self(), :message_queue_len) do
      {:message_queue_len, 0} ->
        state = log(stream, bytes, state)

        case Nif.next(state.command.handle, byte_size(bytes)) do
          nil -> {:noreply, state}
          event -> event(event, state)
        end

      _waiting ->
        {:noreply, output(stream, bytes, state)}
    end
  end

  defp event(:writable, state) do
    handle = state.command.handle
    input = Input.write(state.input, handle)
    {:noreply, %{state | input: input, stdin: Stdin.write(state.stdin, handle)}}
  end

  defp event(terminal, state) do
    Command.report(state.command, terminal)
    ready_before? = state.ready == :ready
    state = over(state)
    {:stop, reason(terminal, ready_before? or state.ready == :ready, state), state}
  end

  defp output(stream, bytes, state) do
    state = log(stream, bytes, state)
    Nif.ack(state.command.handle, byte_size(bytes))
    state
  end

  defp log(stream, bytes, state) do
    {lines, log} = Log.push(state.log, stream, bytes)
    ready(%{state | log: log}, Ready.lines(state.ready, lines))
  end

  defp over(state) do
    Input.close(state.input)
    {lines, log} = Log.flush(state.log)
    ready(%{state | log: log, phase: :over, input: nil}, Ready.lines(state.ready, lines))
  end

  defp ready(%{timer: timer} = state, :ready) when timer != nil do
    _ = :erlang.cancel_timer(timer)
    %{state | timer: nil, ready: :ready}
  end

  defp ready(state, ready), do: %{state | ready: ready}

  defp reason({:ended, outcome}, ready?, state) do
    status = Command.exit_status(outcome.status)

    cond do
      outcome.oom_killed and status != 0 ->
        {:oom_killed, status}

      not ready? ->
        %Error{
          step: :ready,
          subject: subject(state),
          reason: :exited,
          hint: "exit status #{status}"
        }

      status == 0 ->
        :normal

      state.options.exit_status_to_reason ->
        state.options.exit_status_to_reason.(status)

      true ->
        :error_exit_status
    end
  end

  defp reason({:failed, failure}, _ready?, _state), do: Command.error(failure)
  defp reason({:lost, failure, _survivors}, _ready?, _state), do: Command.error(failure)

  # What the program says while it stops is logged as well.
  defp stop(%{command: command} = state) do
    Command.stop(command)
    drain(state)
  catch
    kind, reason ->
      Command.abort(command)
      :erlang.raise(kind, reason, __STACKTRACE__)
  end

  defp drain(%{command: %{ref: ref} = command} = state) do
    receive do
      {:muontrap, ^ref, {stream, bytes}} when stream in [:stdout, :stderr] ->
        drain(output(stream, bytes, state))

      {:muontrap, ^ref, {:started, _pid}} ->
        drain(state)

      {:muontrap, ^ref, :writable} ->
        drain(state)

      {:muontrap, ^ref, terminal} ->
        Command.report(command, terminal)
        over(state)
    after
      # Only after a crash between an event and its acknowledgement.
      command.grace_ms + @margin_ms -> Command.abort(command)
    end
  end

  defp subject(state), do: state.options.command
  defp handle(state), do: state.command && state.command.handle

  defp info(%{command: nil, options: options}) do
    %{
      os_pid: nil,
      uptime_ms: 0,
      stdout_bytes: 0,
      stderr_bytes: 0,
      unacknowledged_bytes: 0,
      window_bytes: options.stdio_window
    }
  end

  defp info(%{command: command}), do: Nif.info(command.handle)

  # proc(5). The unit is USER_HZ, 100 on every architecture that muontrap runs on.
  defp cpu_time_us(nil), do: nil

  defp cpu_time_us(pid) do
    with {:ok, stat} <- File.read("/proc/#{pid}/stat") do
      # The name in parentheses may hold anything, these included.
      fields = stat |> String.split(")") |> List.last() |> String.split()

      fields
      |> Enum.slice(11, 4)
      |> Enum.map(&String.to_integer/1)
      |> Enum.sum()
      |> Kernel.*(10_000)
    else
      {:error, _gone} -> nil
    end
  end

  defp memory_peak_bytes(nil), do: nil

  defp memory_peak_bytes(pid) do
    with {:ok, status} <- File.read("/proc/#{pid}/status"),
         [_all, kib] <- Regex.run(~r/^VmHWM:\s+(\d+) kB/m, status) do
      String.to_integer(kib) * 1024
    else
      _gone -> nil
    end
  end
end
