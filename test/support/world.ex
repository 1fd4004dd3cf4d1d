# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.World do
  @moduledoc """
  Programs that nobody here wrote, as Daemons: started, used, and ended in each way that a Daemon can end.

  A program is a map:

    * `:command`, `:args`, `:opts` - as `MuonTrap.Daemon.start_link/3` takes them
    * `:use` - uses it; true once that has worked. Called again until then
    * `:in_order` - asserts that its own files are as an orderly stop leaves them; optional

  What is left is looked for in two ways, since servers change their environment: by a token in it, and by the
  processes that were below the program before its end.
  """

  import ExUnit.Assertions

  alias MuonTrap.{Cgroups, Daemon, Trees}

  # For an orderly stop on a machine that is busy.
  @grace_ms 60_000
  @patience_ms 120_000

  @type program :: %{
          required(:command) => String.t(),
          required(:args) => [String.t()],
          optional(:opts) => keyword(),
          required(:use) => (() -> boolean()),
          optional(:in_order) => (() -> term())
        }

  @doc "The ways in which a Daemon ends."
  @spec endings() :: [atom()]
  def endings, do: [:stopped, :owner_killed, :vm_killed]

  @doc """
  Whether a program is installed: `bin/setup --world` does it. Where it is not, that is announced, and is a
  failure in continuous integration.
  """
  @spec installed?(String.t()) :: boolean()
  def installed?(program) do
    found? = find(program) != nil
    if System.get_env("CI") && not found?, do: flunk("#{program} is not installed")
    found? or Cgroups.announce("#{program} is not installed, see bin/setup --world")
  end

  @doc "Where a program is. Servers are not in everybody's path."
  @spec find(String.t()) :: Path.t() | nil
  def find(program) do
    folders = ["/usr/sbin" | Path.wildcard("/usr/lib/postgresql/*/bin")]
    in_folders = folders |> Enum.map(&Path.join(&1, program)) |> Enum.find(&File.exists?/1)
    System.find_executable(program) || in_folders
  end

  @doc "A directory of this test, which everybody may enter, and which goes with it."
  @spec directory() :: Path.t()
  def directory do
    name = "muontrap_world_#{System.pid()}_#{System.unique_integer([:positive])}"
    directory = Path.join(System.tmp_dir!(), name)
    File.mkdir_p!(directory)
    File.chmod!(directory, 0o777)
    ExUnit.Callbacks.on_exit(fn -> File.rm_rf!(directory) end)
    directory
  end

  @doc "A port of the loopback that nobody has."
  @spec port() :: :inet.port_number()
  def port do
    {:ok, socket} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(socket)
    :gen_tcp.close(socket)
    port
  end

  @doc "Whether a port of the loopback accepts a connection."
  @spec accepts?(:inet.port_number()) :: boolean()
  def accepts?(port) do
    case :gen_tcp.connect({127, 0, 0, 1}, port, [active: false], 5_000) do
      {:ok, socket} -> :gen_tcp.close(socket) == :ok
      {:error, _reason} -> false
    end
  end

  @doc "What a web server of the loopback answers to `GET path`, nil if it does not."
  @spec get(:inet.port_number(), String.t()) :: String.t() | nil
  def get(port, path \\ "/") do
    url = "http://127.0.0.1:#{port}#{path}"
    {body, status} = System.cmd("curl", ["-s", "--max-time", "10", url])
    if status == 0, do: body
  end

  @doc "Runs a tool to its end. Its output if it succeeds, else nil."
  @spec tool(String.t(), [String.t()], keyword()) :: String.t() | nil
  def tool(program, args, opts \\ []) do
    {output, status} = System.cmd(find(program), args, [stderr_to_stdout: true] ++ opts)
    if status == 0, do: output
  end

  @doc "Starts a program as a Daemon of the test, and returns it once it has been used."
  @spec start(program()) :: pid()
  def start(program) do
    {:ok, daemon} = Daemon.start_link(find(program.command), program.args, opts(program, "none"))
    await_used(program)
    daemon
  end

  @doc "Starts a program, uses it, ends it in one way, and asserts that nothing of it is left."
  @spec ends(program(), atom()) :: :ok
  def ends(program, ending) do
    token = Trees.token()
    control = Trees.control()
    call = {find(program.command), program.args, opts(program, token)}
    {os_pid, finish} = start(ending, call)
    await_used(program)
    tree = tree(os_pid)
    finish.()
    # A stop is over when nothing is left; what is killed takes its time.
    if ending == :stopped, do: assert(left(tree, token) == [])
    assert Trees.eventually(fn -> left(tree, token) == [] end), inspect(left(tree, token))
    assert Trees.end_control(control)
    if in_order = program[:in_order], do: in_order.()
    :ok
  end

  defp opts(program, token) do
    {env, opts} = Keyword.pop(program[:opts] || [], :env, [])
    [delay_to_sigkill: @grace_ms, env: [{"MUONTRAP_TOKEN", token} | env]] ++ opts
  end

  defp await_used(program) do
    deadline = System.monotonic_time(:millisecond) + @patience_ms
    assert used?(program, deadline), "#{program.command} cannot be used"
  end

  defp used?(program, deadline) do
    program.use.() ||
      (System.monotonic_time(:millisecond) < deadline and
         receive(after: (100 -> used?(program, deadline))))
  end

  defp start(:stopped, {command, args, opts}) do
    {:ok, daemon} = Daemon.start_link(command, args, opts)
    {Daemon.os_pid(daemon), fn -> GenServer.stop(daemon, :normal, @patience_ms) end}
  end

  defp start(:owner_killed, {command, args, opts}) do
    test = self()

    owner =
      spawn(fn ->
        {:ok, daemon} = Daemon.start_link(command, args, opts)
        send(test, {:runs, daemon, Daemon.os_pid(daemon)})
        receive(do: (:never -> :ok))
      end)

    ExUnit.Callbacks.on_exit(fn -> Process.exit(owner, :kill) end)

    receive do
      {:runs, daemon, os_pid} -> {os_pid, fn -> Process.exit(daemon, :kill) end}
    after
      @patience_ms -> flunk("#{command} does not start")
    end
  end

  @vm """
  [call] = System.argv()
  {command, args, opts} = call |> Base.decode64!() |> :erlang.binary_to_term()
  {:ok, daemon} = MuonTrap.Daemon.start_link(command, args, opts)
  IO.puts("runs \#{System.pid()} \#{MuonTrap.Daemon.os_pid(daemon)}")
  # The end of the test, whatever becomes of it.
  :eof = IO.read(:line)
  System.halt(1)
  """

  defp start(:vm_killed, call) do
    call = call |> :erlang.term_to_binary() |> Base.encode64()
    args = ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", @vm, call]
    elixir = System.find_executable("elixir")
    port = Port.open({:spawn_executable, elixir}, [:binary, :stderr_to_stdout, args: args])
    {vm, os_pid} = await_vm(port, "")
    {os_pid, fn -> Trees.kill(vm, "KILL") end}
  end

  defp await_vm(port, output) do
    case Regex.run(~r/^runs (\d+) (\d+)$/m, output) do
      [_line, vm, os_pid] ->
        {String.to_integer(vm), String.to_integer(os_pid)}

      nil ->
        receive do
          {^port, {:data, data}} -> await_vm(port, output <> data)
        after
          @patience_ms -> flunk("the VM says only: #{output}")
        end
    end
  end

  @doc "The processes from one on down, each with its start, by which it is known for good."
  @spec tree(pos_integer()) :: [{pos_integer(), String.t()}]
  def tree(pid) do
    below = "/proc/#{pid}/task/*/children" |> Path.wildcard() |> Enum.flat_map(&children/1)
    [{pid, start_time(pid)} | Enum.flat_map(below, &tree/1)]
  end

  defp children(file) do
    case File.read(file) do
      {:ok, list} -> list |> String.split() |> Enum.map(&String.to_integer/1)
      {:error, _gone} -> []
    end
  end

  defp start_time(pid) do
    with {:ok, stat} <- File.read("/proc/#{pid}/stat") do
      stat |> String.split(")") |> List.last() |> String.split() |> Enum.at(19)
    else
      {:error, _gone} -> nil
    end
  end

  @doc "Those of a tree that are there, and what else carries the token."
  @spec left([{pos_integer(), String.t()}], String.t()) :: [pos_integer()]
  def left(tree, token) do
    there =
      for {pid, start} <- tree,
          start != nil and start_time(pid) == start and not Trees.zombie?(pid),
          do: pid

    Enum.uniq(there ++ Trees.carrying(token))
  end
end
