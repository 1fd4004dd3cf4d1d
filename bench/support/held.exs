# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Bench.Held do
  @moduledoc "Many programs that do nothing, as Daemons or as bare Ports."

  alias MuonTrap.Daemon

  @doc "Starts so many."
  @spec start(:daemon | :port, pos_integer()) :: [pid() | port()]
  def start(:daemon, count) do
    in_parallel(1..count, fn _number ->
      {:ok, daemon} = Daemon.start_link("sleep", ["600"])
      # It belongs to nobody who is about to end.
      Process.unlink(daemon)
      daemon
    end)
  end

  def start(:port, count) do
    sleep = System.find_executable("sleep")
    ports = for _ <- 1..count, do: Port.open({:spawn_executable, sleep}, [:binary, args: ["600"]])
    # The answer comes once the program was started.
    Enum.each(ports, &Port.info(&1, :os_pid))
    ports
  end

  @doc "The process of a program."
  @spec os_pid(pid() | port()) :: pos_integer()
  def os_pid(daemon) when is_pid(daemon), do: Daemon.os_pid(daemon)

  def os_pid(port) do
    {:os_pid, pid} = Port.info(port, :os_pid)
    pid
  end

  @doc "Ends all of them, and returns when they are gone."
  @spec stop([pid() | port()]) :: :ok
  def stop([daemon | _more] = daemons) when is_pid(daemon) do
    in_parallel(daemons, &GenServer.stop/1)
    :ok
  end

  # A program whose Port is closed goes on.
  def stop(ports) do
    for some <- Enum.chunk_every(ports, 500),
        do: {"", 0} = System.cmd("kill", Enum.map(some, &Integer.to_string(os_pid(&1))))

    Bench.await(fn -> Enum.all?(ports, &(Port.info(&1) == nil)) end)
  end

  defp in_parallel(many, fun) do
    many
    |> Task.async_stream(fun, max_concurrency: 50, timeout: :infinity)
    |> Enum.map(fn {:ok, value} -> value end)
  end
end
