# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.State do
  @moduledoc false
  # What a Daemon's process knows, and its timers.

  alias MuonTrap.{Command, Error, Input, Late, Nif, Options, Stdin, Text}
  alias MuonTrap.Daemon.{Kept, Notify, Output, Ready, Reload, Report, Waiting}

  # options: without what must not show in a crash report
  # kept: all of them, as long as they are needed again
  # phase: :waiting for wait_for and for room, :starting, :running, :over, :resting before another start
  # socket: on which the program tells of itself
  # os_pid: of the program, also when it has ended
  # since_ms: when it ran first
  # ended: how the program has ended, in words
  # failures: in a row; restarts: starts after the first; waiting: for `MuonTrap.list/0`
  # reloads: who waits for one; rate_timer: when it is told what was dropped
  # starting?: whether start_link/3 waits for init/1
  # logging?: whether a message tells to go on logging
  @enforce_keys [:options, :kept, :output, :stdin]
  defstruct [
    :options,
    :kept,
    :output,
    :stdin,
    :input,
    :command,
    :wait_task,
    :timer,
    :watchdog,
    :rate_timer,
    :socket,
    :notify,
    :waiting,
    :os_pid,
    :since_ms,
    :ended,
    ready: :ready,
    phase: :waiting,
    failures: 0,
    restarts: 0,
    reloads: [],
    starting?: false,
    logging?: false
  ]

  @type t :: %__MODULE__{
          options: Options.t(),
          kept: Kept.t() | nil,
          output: Output.t(),
          stdin: Stdin.t(),
          input: Input.t(),
          command: Command.t() | nil,
          wait_task: {:wait_for | :room, Task.t()} | nil,
          timer: reference() | nil,
          watchdog: reference() | nil,
          rate_timer: reference() | nil,
          socket: port() | nil,
          notify: Notify.t() | nil,
          waiting: Waiting.t() | nil,
          os_pid: pos_integer() | nil,
          since_ms: integer() | nil,
          ended: String.t() | nil,
          ready: Ready.t(),
          phase: :waiting | :starting | :running | :over | :resting,
          failures: non_neg_integer(),
          restarts: non_neg_integer(),
          reloads: [Reload.t()],
          starting?: boolean(),
          logging?: boolean()
        }

  @doc "That of a Daemon that has not begun."
  @spec new(Options.t()) :: t()
  def new(options) do
    %__MODULE__{
      options: visible(options),
      kept: Kept.new(options),
      output: Output.new(options),
      stdin: Stdin.new(options.stdin)
    }
  end

  @doc "Options without what must not be shown."
  @spec visible(Options.t()) :: Options.t()
  def visible(options), do: Map.drop(options, [:env, :input])

  @doc """
  What a crash report and `:sys.get_status/1` show: how it is with the program, in words. The options may hold what is
  secret, and so may input and output.
  """
  @spec shown(t()) :: String.t()
  def shown(%{ended: ended}) when ended != nil, do: ended
  def shown(state), do: "#{Text.repair(state.options.command)}: #{how(state)}"

  defp how(%{phase: :waiting}), do: "Process not started yet"
  defp how(%{phase: :starting}), do: "Process being started"

  defp how(%{phase: :running} = state) do
    ready = if state.ready == :ready, do: "", else: ", not ready yet"
    "Process #{state.os_pid} running for #{Report.duration(now_ms() - state.since_ms)}#{ready}"
  end

  defp how(%{phase: :over}), do: "Process ended"

  defp how(%{phase: :resting, timer: timer}),
    do: "Process starting again in #{Report.duration(:erlang.read_timer(timer) || 0)}"

  @doc "The program is as ready as this says. What is ready from now on is watched."
  @spec ready(t(), Ready.t()) :: t()
  def ready(%{ready: before} = state, :ready) when before != :ready do
    _left = state.timer && :erlang.cancel_timer(state.timer)
    watchdog = Late.start(state.options.watchdog, :watchdog)
    %{state | timer: nil, ready: :ready, watchdog: watchdog}
  end

  def ready(state, ready), do: %{state | ready: ready}

  @doc "A message `{:timeout, timer, about}` after that time, or never."
  @spec start_timer(non_neg_integer() | :infinity | nil, term()) :: reference() | nil
  def start_timer(unlimited, _about) when unlimited in [nil, :infinity], do: nil
  def start_timer(timeout_ms, about), do: :erlang.start_timer(timeout_ms, self(), about)

  @doc "An error of this Daemon's program."
  @spec error(t(), Error.step(), Error.reason()) :: Error.t()
  def error(state, step, reason),
    do: %Error{step: step, subject: state.options.command, reason: reason}

  @doc "The native part's hold on the program; nil before it is started."
  @spec handle(t()) :: Nif.handle() | nil
  def handle(state), do: state.command && state.command.handle

  @doc "The time that timers and deadlines go by."
  @spec now_ms() :: integer()
  def now_ms, do: System.monotonic_time(:millisecond)
end
