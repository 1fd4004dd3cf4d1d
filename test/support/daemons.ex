# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemons do
  @moduledoc """
  What the tests of `MuonTrap.Daemon` have in common.
  """

  import ExUnit.Assertions

  alias MuonTrap.{Daemon, Trees}

  # Bounds end a test that fails. A slow machine is no failure.
  @patience_ms 60_000

  @doc "A setup: a Daemon that ends is a message, and no end of the test."
  @spec trap_exits(map()) :: :ok
  def trap_exits(_context) do
    Process.flag(:trap_exit, true)
    :ok
  end

  @doc "Fails if a condition does not come true."
  @spec await((() -> boolean())) :: true
  def await(condition), do: assert(Trees.eventually(condition), "it did not come true")

  @doc "A `:logger_fun` that sends the test each line."
  @spec to_self() :: (String.t() -> term())
  def to_self do
    test = self()
    fn line -> send(test, {:line, line}) end
  end

  @doc "The lines that have come so far."
  @spec lines([String.t()]) :: [String.t()]
  def lines(acc \\ []) do
    receive do
      {:line, line} -> lines([line | acc])
    after
      0 -> Enum.reverse(acc)
    end
  end

  @doc "Waits until a Daemon has ended. Returns its reason."
  @spec stopped(pid()) :: term()
  def stopped(pid) do
    assert_receive {:EXIT, ^pid, reason}, @patience_ms
    reason
  end

  @doc "Starts a supervisor that never gives up."
  @spec supervise([term()], keyword()) :: pid()
  def supervise(children, opts \\ []) do
    opts = Keyword.merge([strategy: :one_for_one, max_restarts: 1000, max_seconds: 1], opts)
    {:ok, supervisor} = Supervisor.start_link(children, opts)
    supervisor
  end

  @doc "The Daemon under a supervisor."
  @spec child(pid()) :: pid() | :restarting | :undefined
  def child(supervisor) do
    {Daemon, pid, _type, _modules} =
      List.keyfind(Supervisor.which_children(supervisor), Daemon, 0)

    pid
  end

  @doc "Whether there is such a process."
  @spec alive?(pos_integer() | String.t()) :: boolean()
  def alive?(os_pid), do: File.exists?("/proc/#{os_pid}")

  @doc """
  A port that nobody has. It is below those that the kernel hands out, which a connection of somebody else may
  get between two starts.
  """
  @spec free_port() :: :inet.port_number()
  def free_port do
    port = Enum.random(10_000..30_000)

    case :gen_tcp.listen(port, ip: {127, 0, 0, 1}) do
      {:ok, socket} ->
        :ok = :gen_tcp.close(socket)
        port

      {:error, :eaddrinuse} ->
        free_port()
    end
  end

  @doc """
  What the server at a port answers: its process id. The connection is over on both sides, so it keeps the port
  from nobody: on a busy machine the kernel may take its time to carry the last of it from one end to the other.
  """
  @spec answer(:inet.port_number()) :: pos_integer()
  def answer(port) do
    {:ok, socket} =
      :gen_tcp.connect({127, 0, 0, 1}, port, [:binary, active: false, packet: :line])

    {:ok, line} = :gen_tcp.recv(socket, 0, @patience_ms)
    :ok = :gen_tcp.shutdown(socket, :write)
    {:error, :closed} = :gen_tcp.recv(socket, 0, @patience_ms)
    :ok = :gen_tcp.close(socket)
    await(fn -> not connected?(port) end)
    line |> String.trim() |> String.to_integer()
  end

  # 0A is the state of the socket that listens (proc_net_tcp in the kernel's documentation).
  defp connected?(port) do
    port = port |> Integer.to_string(16) |> String.pad_leading(4, "0")

    "/proc/net/tcp"
    |> File.stream!()
    |> Enum.any?(fn line ->
      match?(
        [_number, "0100007F:" <> ^port, _remote, state | _] when state != "0A",
        String.split(line)
      )
    end)
  end
end
