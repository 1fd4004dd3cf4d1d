# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Trees do
  @moduledoc """
  Process trees for tests, each with a token in its environment by which all of it is found.
  """

  alias MuonTrap.{Cgroups, Command, Leftovers, Options, Session}

  # Bounds are generous: they end a test that fails, and slow machines are no failure.
  @patience_ms 60_000
  @interval_ms 5

  @shapes [
    direct: {"child", []},
    same_group: {"same_group", []},
    own_group: {"own_group", []},
    new_session: {"new_session", []},
    double_fork: {"daemonize", []},
    sigterm_ignorer: {"ignore_sigterm", []},
    stopped: {"stopped", []},
    tree_of_100: {"mixed_tree", ["100"]},
    fork_bomb: {"fork_bomb", ["20"]},
    closed_fds: {"close_fds", []},
    subreaper: {"subreaper", []}
  ]

  # The same on a terminal: one that everybody has open, and one that nobody has.
  @on_terminal [
    tree_on_terminal: {"mixed_tree", ["10"]},
    closed_terminal: {"close_fds", []}
  ]

  @doc "The shapes of trees."
  @spec shapes() :: [atom()]
  def shapes, do: Keyword.keys(@shapes) ++ [:pid_namespace]

  @doc "Those that need `opts/1`, which only MuonTrap itself takes."
  @spec shapes_on_terminal() :: [atom()]
  def shapes_on_terminal, do: Keyword.keys(@on_terminal)

  @doc "The options that a shape needs."
  @spec opts(atom()) :: keyword()
  def opts(shape), do: if(Keyword.has_key?(@on_terminal, shape), do: [pty: true], else: [])

  @doc "The command and the arguments of a shape."
  @spec command(atom()) :: {String.t(), [String.t()]}
  def command(:pid_namespace),
    do: {"unshare", ["--pid", "--fork", program("new_session")]}

  def command(shape) do
    {name, args} = Keyword.fetch!(@shapes ++ @on_terminal, shape)
    {program(name), args}
  end

  @doc "Whether this user may make such a tree here; says so if not."
  @spec possible?(atom()) :: boolean()
  def possible?(:pid_namespace) do
    match?(
      {_output, 0},
      System.cmd("unshare", ["--pid", "--fork", "true"], stderr_to_stdout: true)
    ) or
      Cgroups.announce("no PID namespace can be made")
  end

  def possible?(_shape), do: true

  @doc "The path of a test program."
  @spec program(String.t()) :: Path.t()
  def program(name), do: Application.app_dir(:muontrap, "priv/test_programs/#{name}")

  @doc "Starts a tree for the calling process, and returns once it stands."
  @spec start(atom(), String.t(), keyword()) :: Command.t()
  def start(shape, token, opts \\ []) do
    {command, args} = command(shape)
    opts = Keyword.merge(opts(shape), opts)
    options = Options.validate!(:cmd, command, args, with_token(opts, token))
    {:ok, running} = Command.start(options, {:null, :pipe, :inherit}, announce: true)
    await_ready(running, "", false)
  end

  @doc "Opens a session with a tree for the calling process, and returns once it stands."
  @spec open(atom(), String.t(), keyword()) :: Session.t()
  def open(shape, token, opts \\ []) do
    {command, args} = command(shape)
    {:ok, session} = MuonTrap.open(command, args, with_token(opts, token))
    {:ok, _before, _match} = Session.expect(session, "ready", @patience_ms)
    session
  end

  defp with_token(opts, token),
    do: Keyword.merge([delay_to_sigkill: 50, env: [{"MUONTRAP_TOKEN", token}]], opts)

  defp await_ready(running, output, started?) do
    if started? and output =~ "ready" do
      running
    else
      case Command.next(running, System.monotonic_time(:millisecond) + @patience_ms) do
        {{:started, _pid}, running} -> await_ready(running, output, true)
        {{:stdout, bytes}, running} -> await_ready(running, output <> bytes, started?)
      end
    end
  end

  @doc "A token that nothing else carries."
  @spec token() :: String.t()
  def token,
    do: "token-#{Leftovers.mark_of_this_vm()}#{System.unique_integer([:positive])}-end"

  @doc "The processes that carry a token, zombies not among them."
  @spec carrying(String.t()) :: [pos_integer()]
  def carrying(token), do: for({pid, _environment} <- environments(token), do: pid)

  @doc "The same with their environments."
  @spec environments(String.t()) :: [{pos_integer(), String.t()}]
  def environments(token) do
    for name <- File.ls!("/proc"),
        {pid, ""} <- [Integer.parse(name)],
        environment = environment(pid),
        String.contains?(environment, token),
        do: {pid, environment}
  end

  @doc """
  The environment of a process; `""` if it is gone, or not ours, or a zombie.

  In the midst of execve(2) a process has its new memory and nothing in it yet. So what shows no environment although it
  executes a file is asked again, for some milliseconds: it may have none. A helper has none, and is not asked again.
  """
  @spec environment(pos_integer(), non_neg_integer()) :: String.t()
  def environment(pid, attempts \\ 20) do
    case File.read("/proc/#{pid}/environ") do
      {:ok, ""} when attempts > 0 ->
        case File.read_link("/proc/#{pid}/exe") do
          {:ok, file} ->
            if helper?(pid, file),
              do: "",
              else: receive(after: (1 -> environment(pid, attempts - 1)))

          {:error, _gone_or_of_the_kernel} ->
            ""
        end

      {:ok, environment} ->
        environment

      {:error, _gone_or_not_ours} ->
        ""
    end
  end

  # A child of a shim that executes the same file is a program that is about to be executed.
  defp helper?(pid, file),
    do: String.ends_with?(file, "/priv/muontrap_spawner") and not child_of_shim?(pid)

  defp child_of_shim?(pid) do
    case File.read("/proc/#{pid}/status") do
      {:ok, status} -> File.read("/proc/#{parent_in(status)}/comm") == {:ok, "muontrap-shim\n"}
      {:error, _gone} -> false
    end
  end

  @doc "Waits until a condition holds. False if it does not within the bound."
  @spec eventually((() -> boolean()), pos_integer()) :: boolean()
  def eventually(condition, patience_ms \\ @patience_ms),
    do: until(condition, System.monotonic_time(:millisecond) + patience_ms)

  defp until(condition, deadline) do
    cond do
      condition.() -> true
      System.monotonic_time(:millisecond) > deadline -> false
      true -> receive(after: (@interval_ms -> until(condition, deadline)))
    end
  end

  @doc """
  The programs of all commands, in the order in which those were started. A program that runs may not be heard of yet:
  waits until all are.
  """
  @spec programs() :: [pos_integer()]
  def programs do
    os_pids = MuonTrap.list() |> Enum.sort_by(& &1.id) |> Enum.map(& &1.os_pid)
    if nil in os_pids, do: receive(after: (@interval_ms -> programs())), else: os_pids
  end

  @doc "The parent of a process."
  @spec parent(pos_integer()) :: pos_integer()
  def parent(pid), do: "/proc/#{pid}/status" |> File.read!() |> parent_in()

  defp parent_in(status) do
    [_all, parent] = Regex.run(~r/^PPid:\t(\d+)$/m, status)
    String.to_integer(parent)
  end

  @doc "The children of a process, zombies too."
  @spec children(pos_integer()) :: [pos_integer()]
  def children(pid) do
    case File.read("/proc/#{pid}/task/#{pid}/children") do
      {:ok, list} -> list |> String.split() |> Enum.map(&String.to_integer/1)
      {:error, _gone} -> []
    end
  end

  @doc """
  The children of a spawner that are at work: shims that serve a command, or are about to end, and cleaners. One that
  is ready for a command says so by its name.
  """
  @spec at_work(pos_integer()) :: [pos_integer()]
  def at_work(spawner) do
    Enum.reject(children(spawner), &(File.read("/proc/#{&1}/comm") == {:ok, "muontrap-ready\n"}))
  end

  @doc "Ends the shims that are ready, so that the next command has one forked for it."
  @spec none_ready() :: :ok
  def none_ready do
    spawner = MuonTrap.Nif.spawner_pid()
    ready = fn -> children(spawner) -- at_work(spawner) end
    kill(ready.(), "KILL")
    true = eventually(fn -> MuonTrap.Nif.ready_shims() == 0 and ready.() == [] end)
    :ok
  end

  @doc "Has at least so many shims ready for a command."
  @spec make_ready(pos_integer()) :: :ok
  def make_ready(count) do
    hold = fn ->
      {:ok, command} =
        Command.start(Options.validate!(:cmd, "cat", [], []), {:pipe, :null, :null})

      command
    end

    # All at once, each with a shim of its own.
    commands = for _ <- 1..count, do: hold.()
    for command <- commands, do: {:ended, _outcome} = finish(command)
    true = eventually(fn -> MuonTrap.Nif.ready_shims() >= count end)
    :ok
  end

  defp finish(command) do
    MuonTrap.Nif.close_stdin(command.handle)
    {event, command} = Command.next(command, :infinity)
    if match?({:started, _pid}, event), do: finish(command), else: event
  end

  @doc "Whether a process has ended and was not waited for."
  @spec zombie?(pos_integer()) :: boolean()
  def zombie?(pid) do
    case File.read("/proc/#{pid}/status") do
      {:ok, status} -> status =~ ~r/^State:\tZ/m
      {:error, _gone} -> false
    end
  end

  @doc "A command as the first process of a PID namespace, with a `/proc` of it."
  @spec in_pid_namespace([String.t()]) :: [String.t()]
  def in_pid_namespace(command), do: ["unshare", "--pid", "--fork", "--mount-proc" | command]

  @doc "The program of the direct shape, of the same user but in no tree: it must not notice anything."
  @spec control() :: port()
  def control do
    control = Port.open({:spawn_executable, program("child")}, [:binary, :exit_status])

    receive do
      {^control, {:data, "ready\n"}} -> control
    after
      @patience_ms -> raise "the control process does not start"
    end
  end

  @doc "Ends it. False if something else has."
  @spec end_control(port()) :: boolean()
  def end_control(control) do
    {:os_pid, pid} = Port.info(control, :os_pid) || {:os_pid, nil}

    lives? =
      receive do
        {^control, {:exit_status, _status}} -> false
      after
        0 -> true
      end

    if lives? do
      kill(pid, "KILL")
      receive(do: ({^control, {:exit_status, 137}} -> true))
    else
      false
    end
  end

  @doc """
  Signals processes once the test is over, whatever has happened in it: those that are the same by then. Numbers are
  given again soon where `kernel.pid_max` is 32,768.
  """
  @spec signal_on_exit(pos_integer() | [pos_integer()], String.t()) :: :ok
  def signal_on_exit(pids, signal \\ "KILL") do
    known = for pid <- List.wrap(pids), since = start_time(pid), do: {pid, since}

    ExUnit.Callbacks.on_exit(fn ->
      for {pid, since} <- known, start_time(pid) == since, do: kill(pid, signal)
    end)
  end

  # Field 22, see proc_pid_stat(5); the name before may hold anything.
  defp start_time(pid) do
    case File.read("/proc/#{pid}/stat") do
      {:ok, stat} -> stat |> String.split(") ") |> List.last() |> String.split() |> Enum.at(19)
      {:error, _gone} -> nil
    end
  end

  @doc "Sends a signal to processes at once. Those that are gone already are no failure."
  @spec kill(pos_integer() | [pos_integer()], String.t()) :: :ok
  def kill(pids, signal) do
    pids = pids |> List.wrap() |> Enum.map(&Integer.to_string/1)
    {_output, _status} = System.cmd("kill", ["-#{signal}" | pids], stderr_to_stdout: true)
    :ok
  end
end
