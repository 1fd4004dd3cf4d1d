# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Ports do
  @moduledoc """
  Ports on the program `muontrap`, opened as public programs open them.
  """

  alias MuonTrap.Trees

  @patience_ms 60_000

  @doc "Opens a port on the program. Options of the port may be added."
  @spec open([String.t()], keyword()) :: port()
  def open(args, opts \\ []) do
    Port.open(
      {:spawn_executable, MuonTrap.muontrap_path()},
      [:binary, :exit_status, {:args, args} | opts]
    )
  end

  @doc "The arguments to run a tree of a shape, and the port's options that mark it with the token."
  @spec tree(atom(), String.t(), [String.t()]) :: {[String.t()], keyword()}
  def tree(shape, token, more \\ []) do
    {command, args} = Trees.command(shape)
    options = ["--capture-output", "--delay-to-sigkill", "50"] ++ more
    marked = [env: [{~c"MUONTRAP_TOKEN", to_charlist(token)}]]
    {options ++ ["--", command | args], [:stderr_to_stdout | marked]}
  end

  @doc "Waits until the program of a port has said so much, and acknowledges that."
  @spec await(port(), String.t()) :: :ok
  def await(port, text) do
    receive do
      {^port, {:data, data}} ->
        acknowledge(port, data)
        if data =~ text, do: :ok, else: await(port, text)

      {^port, {:exit_status, status}} ->
        raise "the program ended with #{status} before it said #{inspect(text)}"
    after
      @patience_ms -> raise "the program does not say #{inspect(text)}"
    end
  end

  @doc "All output and the status. `acknowledge` gets the port and what came."
  @spec collect(port(), (port(), binary() -> term())) :: {binary(), non_neg_integer()}
  def collect(port, acknowledge \\ &acknowledge/2), do: collect(port, acknowledge, [])

  defp collect(port, acknowledge, output) do
    receive do
      {^port, {:data, data}} ->
        acknowledge.(port, data)
        collect(port, acknowledge, [output, data])

      {^port, {:exit_status, status}} ->
        {IO.iodata_to_binary(output), status}
    after
      @patience_ms -> raise "the program does not end"
    end
  end

  defp acknowledge(port, data), do: MuonTrap.Port.report_bytes_handled(port, byte_size(data))

  @doc "The process of the program `muontrap`."
  @spec pid(port()) :: pos_integer()
  def pid(port) do
    {:os_pid, pid} = Port.info(port, :os_pid)
    pid
  end

  @doc "The helper of that process. Its only child, as long as the program has left nothing."
  @spec helper(pos_integer()) :: pos_integer()
  def helper(pid) do
    [helper] = Trees.children(pid)
    helper
  end

  @doc "Whether a process is there that is no zombie."
  @spec alive?(pos_integer()) :: boolean()
  def alive?(pid), do: File.exists?("/proc/#{pid}") and not Trees.zombie?(pid)

  @doc "Runs a shell script with the program as `$M`. Returns what it says and its status."
  @spec shell(String.t(), keyword()) :: {String.t(), non_neg_integer() | :timeout}
  def shell(script, opts \\ []) do
    env = [{"M", MuonTrap.muontrap_path()} | Keyword.get(opts, :env, [])]

    opts =
      Keyword.merge([timeout: @patience_ms, stderr_to_stdout: true], Keyword.put(opts, :env, env))

    MuonTrap.cmd("bash", ["-c", script], opts)
  end
end
