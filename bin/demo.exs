# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Demo do
  # A daemon in a session of its own that ignores SIGTERM, and a first process that waits.
  @script "(trap '' TERM; setsid sleep 4711 & wait) & sleep 4711"

  def run do
    title("1. A command")
    IO.inspect(MuonTrap.cmd("echo", ["hello"]), label: ~s|MuonTrap.cmd("echo", ["hello"])|)

    title("2. ping, and the process that runs it is killed")
    kill_owner(&MuonTrap.cmd/3, "ping", ["127.0.0.1"], 1)

    title("3. A shell whose grandchild is a daemon that ignores SIGTERM")
    kill_owner(&MuonTrap.cmd/3, "sh", ["-c", @script], 4)

    title("4. The same with System.cmd")
    left = kill_owner(&System.cmd/3, "sh", ["-c", @script], 4)
    System.cmd("kill", ["-9" | left], stderr_to_stdout: true)
    IO.puts("(The demo has now killed them by their pids.)")
  end

  defp title(text), do: IO.puts("\n== #{text}")

  # Returns what is left.
  defp kill_owner(cmd, command, args, processes) do
    token = "demo-#{System.pid()}-#{System.unique_integer([:positive])}"
    owner = spawn(fn -> cmd.(command, args, env: [{"MUONTRAP_DEMO", token}]) end)
    unless wait_until(fn -> length(carrying(token)) >= processes end), do: raise("no #{command}")
    started = carrying(token)
    IO.puts("It runs:")
    ps(started)

    Process.exit(owner, :kill)
    wait_until(fn -> carrying(token) == [] end)
    IO.puts("Its owner is killed. At most two seconds later ps shows:")
    ps(started)
    carrying(token)
  end

  defp ps(pids) do
    {table, _status} = System.cmd("ps", ["-o", "pid,sid,stat,args", "-p", Enum.join(pids, ",")])

    case String.split(table, "\n", trim: true) do
      [_header] -> IO.puts("  nothing of it")
      lines -> Enum.each(lines, &IO.puts("  " <> &1))
    end
  end

  # Those that have the token in their environment, wherever they are in the tree.
  defp carrying(token) do
    for pid <- File.ls!("/proc"),
        pid =~ ~r/^\d+$/,
        {:ok, environ} <- [File.read("/proc/#{pid}/environ")],
        String.contains?(environ, token),
        do: pid
  end

  defp wait_until(condition, left \\ 200) do
    cond do
      condition.() -> true
      left == 0 -> false
      true -> receive(after: (10 -> wait_until(condition, left - 1)))
    end
  end
end

Demo.run()
