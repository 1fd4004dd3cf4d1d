# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Command do
  @moduledoc false
  # The owner's side of one command: starts it, hands out its events one by one, and ends it.
  #
  # The process that starts a command owns it. Events come as `{:muontrap, ref, event}`; exactly one of
  # them is terminal (`{:ended, _}`, `{:failed, _}`, `{:lost, _, _}`), and it is the last.

  alias MuonTrap.{Error, Handle, Mailbox, Native, Nif, Remote, Signal, Telemetry}
  alias MuonTrap.Command.Request
  alias MuonTrap.Input.Feeder
  require Logger

  @enforce_keys [:ref, :grace_ms, :program, :args, :since]
  defstruct [
    :handle,
    :ref,
    :grace_ms,
    :program,
    :args,
    :since,
    :cgroup,
    :interrupt,
    :node,
    announced?: true,
    unacknowledged: 0
  ]

  # handle: nil before it is started; since: monotonic time of the start, in native units; announced?: whether
  # the start was heard of, if that was asked for: nothing comes before it; interrupt: a message that ends waiting;
  # node: another than this one
  @type t :: %__MODULE__{
          handle: Handle.t() | nil,
          ref: reference(),
          grace_ms: non_neg_integer(),
          program: String.t(),
          args: [String.t()],
          since: integer(),
          cgroup: MuonTrap.Cgroup.Plan.t() | nil,
          interrupt: term(),
          node: node() | nil,
          announced?: boolean(),
          unacknowledged: non_neg_integer()
        }

  @type terminal ::
          {:ended, map()} | {:failed, failure()} | {:lost, failure(), [integer()]}
  # Another node tells it explained.
  @typep failure :: Nif.failure() | Error.t()
  @type event ::
          {:stdout | :stderr, binary()}
          | {:stdout | :stderr, [binary()], non_neg_integer()}
          | {:started, pos_integer()}
          | :writable
          | {:input, MuonTrap.Input.Feeder.event()}
          | terminal()

  defguard is_terminal(event)
           when is_tuple(event) and elem(event, 0) in [:ended, :failed, :lost]

  defguard is_output(event) when is_tuple(event) and elem(event, 0) in [:stdout, :stderr]

  @doc """
  Starts a command for the calling process, on the node of its options if they have one. `stdio` is what becomes of
  its three streams; with a terminal, which is all three, what its standard output is and whether somebody types.
  `more`:

    * `:announce` - whether the event `:started` is wanted, before any other
    * `:env` - variables in addition
    * `:lines` - what standard output and standard error come as: `nil` for the bytes, `:raw` for lines that a
      newline ends, `{:raw, kept}` for those and no more kept of one while it has no end, `{:bytes, max}` for those and no longer than that, or the longest line of a text in bytes. Lines come with the size of their chunk, which is what
      is to be acknowledged. They share it, and keep all of it alive.
  """
  @spec start(MuonTrap.Options.t(), tuple(), keyword()) :: {:ok, t()} | {:error, Error.t()}
  def start(options, stdio, more \\ []) do
    command = new(options, more)
    Telemetry.start(command)

    with {:error, error} <- launch(command, options, stdio, more) do
      Telemetry.exception(command, error)
      {:error, error}
    end
  end

  @doc "The same on this node, for an owner whose caller is on another one: telemetry is told there."
  @spec launch(MuonTrap.Options.t(), tuple(), keyword()) :: {:ok, t()} | {:error, Error.t()}
  def launch(options, stdio, more), do: options |> new(more) |> launch(options, stdio, more)

  defp new(options, more) do
    %__MODULE__{
      ref: make_ref(),
      grace_ms: options.delay_to_sigkill,
      program: options.command,
      args: options.args,
      announced?: not Keyword.get(more, :announce, false),
      interrupt: Feeder.interrupt(),
      since: System.monotonic_time(),
      node: other_node(options)
    }
  end

  defp other_node(%{node: node}) when node not in [nil, node()], do: node
  defp other_node(_options), do: nil

  defp launch(%{node: node} = command, options, stdio, more) when node != nil do
    with {:ok, handle} <- Remote.start(node, command.ref, {options, stdio, more}),
         do: {:ok, %{command | handle: handle}}
  end

  defp launch(command, options, stdio, more) do
    with {:ok, cgroup} <- cgroup(options),
         {:ok, handle} <- Native.start(command.ref, Request.new(options, stdio, cgroup, more)),
         do: {:ok, %{command | handle: handle, cgroup: cgroup}}
  end

  defp cgroup(%{cgroup_base: nil, cgroup_path: nil}), do: {:ok, nil}
  defp cgroup(options), do: MuonTrap.Cgroup.plan(options)

  @doc """
  Handles the event before and waits for the next, until a point in monotonic milliseconds or
  `:infinity`. With the terminal event nothing of the command is in the mailbox any more, nor will be.

  `:interrupted` if the calling process pulls the input of another command, and that does not want any more. With
  `idle_at`, `:idle_timeout` if there is no output until then.
  """
  @spec next(t(), integer() | :infinity, integer() | :infinity) ::
          {event() | :timeout | :idle_timeout | :interrupted, t()}
  def next(command, deadline, idle_at \\ :infinity) do
    # First: a program that always has something to say would never let it come to waiting.
    cond do
      late?(command, deadline) -> {:timeout, command}
      silent?(command, idle_at) -> idle(command)
      true -> take(command, deadline, idle_at)
    end
  end

  defp late?(_command, :infinity), do: false

  # The time of a program that has ended is not over, even if the VM was stopped meanwhile and hears of both now.
  defp late?(command, deadline), do: left(deadline) == 0 and not Handle.news?(command.handle)

  defp silent?(_command, :infinity), do: false

  # The same for output that was written before.
  defp silent?(command, idle_at), do: left(idle_at) == 0 and Handle.silent?(command.handle)

  # It may have become a message by now.
  defp idle(%{ref: ref} = command) do
    receive do
      {:muontrap, ^ref, event} when is_output(event) or is_terminal(event) ->
        {event, took(command, event)}
    after
      0 -> {:idle_timeout, command}
    end
  end

  # Not past the message that says so.
  defp take(%{announced?: false} = command, deadline, idle_at),
    do: await(command, deadline, idle_at)

  defp take(command, deadline, idle_at) do
    case pull(command, command.unacknowledged) do
      nil ->
        await(%{command | unacknowledged: 0}, deadline, idle_at)

      event ->
        {event, took(command, event)}
    end
  end

  defp await(command, deadline, idle_at),
    do: await(command, deadline, idle_at, left(min(deadline, idle_at)))

  defp await(%{ref: ref, interrupt: interrupt} = command, deadline, idle_at, wait_ms) do
    receive do
      {:muontrap, ^ref, event} ->
        if is_terminal(event), do: Handle.close(command.handle)
        {event, took(%{command | announced?: true}, event)}

      ^interrupt when interrupt != nil ->
        # Whoever pulls this process's enumerable, of which this command is a part, has to hear of it as well.
        send(self(), interrupt)
        {:interrupted, command}
    after
      wait_ms ->
        cond do
          late?(command, deadline) -> {:timeout, command}
          silent?(command, idle_at) -> idle(command)
          true -> await(command, deadline, idle_at, 1)
        end
    end
  end

  @doc """
  Acknowledges output and takes the next event without waiting for a message, `nil` if there is none.

  The terminal event is the last that the owner hears: what was sent before it was taken is dropped here.
  """
  @spec pull(t(), non_neg_integer()) :: event() | nil
  def pull(%{handle: handle, ref: ref}, bytes) do
    event = Handle.next(handle, bytes)

    if is_terminal(event) do
      Handle.close(handle)
      Mailbox.flush(ref)
    end

    event
  end

  @doc "The command once the owner has this event of it, which is acknowledged with the next."
  @spec took(t(), event()) :: t()
  def took(command, {stream, bytes}) when stream in [:stdout, :stderr],
    do: %{command | unacknowledged: byte_size(bytes)}

  def took(command, {stream, _lines, bytes}) when stream in [:stdout, :stderr],
    do: %{command | unacknowledged: bytes}

  def took(command, _event), do: %{command | unacknowledged: 0}

  defp left(:infinity), do: :infinity
  defp left(deadline), do: max(deadline - System.monotonic_time(:millisecond), 0)

  @doc "Asks the program to stop; the whole tree is killed after the grace."
  @spec stop(t()) :: :ok
  def stop(command), do: Handle.stop(command.handle, command.grace_ms)

  @doc """
  Stops the program and waits for the end of its tree; what it still writes is dropped. `nil` if the owner has had the
  terminal event already.
  """
  @spec abort(t()) :: terminal() | nil
  def abort(command) do
    stop(command)
    # The caller may not know how much it had not acknowledged; more than all of it does no harm.
    command = %{command | unacknowledged: 0x7FFF_FFFF, interrupt: nil}
    if Handle.closed?(command.handle), do: drop_messages(command), else: drop(command)
  end

  # Nothing comes any more that is not there yet.
  defp drop_messages(%{ref: ref} = command) do
    receive do
      {:muontrap, ^ref, event} when is_terminal(event) ->
        report(command, event)
        event

      {:muontrap, ^ref, _event} ->
        drop_messages(command)
    after
      0 -> nil
    end
  end

  defp drop(command) do
    case next(command, :infinity) do
      {event, command} when is_terminal(event) ->
        report(command, event)
        event

      {_event, command} ->
        drop(command)
    end
  end

  @doc "Tells telemetry of a terminal event, and the log as well if something of the command is left."
  @spec report(t(), terminal()) :: :ok
  def report(command, {:ended, outcome}) do
    report_left(command, outcome.survivors, Enum.map(outcome.leftovers, &error/1))
    Telemetry.stop(command, outcome)
  end

  def report(command, {:lost, failure, survivors}) do
    error = error(failure)
    report_left(command, survivors, if(survivors == [], do: [], else: [error]))
    Telemetry.exception(command, error, survivors)
  end

  def report(command, {:failed, failure}), do: Telemetry.exception(command, error(failure))

  defp report_left(_command, [], []), do: :ok

  defp report_left(command, survivors, errors) do
    Telemetry.leftover(command, survivors, errors)
    pids = inspect(survivors, charlists: :as_lists)
    processes = if survivors != [], do: " Processes that cannot be killed: #{pids}."
    errors = Enum.map(errors, &[" muontrap ", Exception.message(&1), "."])
    place = if command.node, do: " on #{command.node}"

    Logger.error([
      "#{command.program} ended#{place}, but something of it is left.",
      processes || "",
      errors
    ])
  end

  @doc "A failure of the native part as an exception."
  @spec error(Nif.failure() | Error.t()) :: Error.t()
  defdelegate error(failure), to: Native

  @doc "A terminal event in the words of another node: with what only this one can tell."
  @spec explained(t(), terminal()) :: terminal()
  def explained(%{handle: handle}, {:ended, outcome}) do
    leftovers = Enum.map(outcome.leftovers, &error/1)
    {:ended, Map.merge(outcome, %{leftovers: leftovers, info: Nif.info(handle)})}
  end

  def explained(command, {:failed, failure}), do: {:failed, start_error(command, failure)}

  def explained(_command, {:lost, failure, survivors}), do: {:lost, error(failure), survivors}

  @doc """
  A failure of this command to start as an exception, with the memory limit named that has left no room for the
  program.
  """
  @spec start_error(t(), Nif.failure() | Error.t()) :: Error.t()
  def start_error(_command, %Error{} = error), do: error

  def start_error(command, failure) do
    env = for {name, value} <- System.get_env(), do: byte_size(name) + byte_size(value)
    bytes = Enum.sum(env) + Enum.sum(Enum.map(command.args, &byte_size/1))
    failure |> error() |> MuonTrap.Cgroup.explain(command.cgroup, bytes)
  end

  @doc "How the program ended, a signal by name if it has one."
  @spec status(map()) :: {:exited, 0..255} | {:signaled, Signal.t()}
  def status(%{status: {:signaled, number}}), do: {:signaled, Signal.name(number)}
  def status(%{status: {:exited, code}}), do: {:exited, code}

  @doc "The time since the start, in native units."
  @spec duration(t()) :: non_neg_integer()
  def duration(command), do: System.monotonic_time() - command.since

  @doc "The status a shell would show: the exit code, or 128 and the signal's number."
  @spec exit_status({:exited | :signaled, integer()}) :: 0..255
  def exit_status({:exited, code}), do: code
  def exit_status({:signaled, number}), do: 128 + number
end
