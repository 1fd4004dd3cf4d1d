# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Demo do
  # A daemon in a session of its own that ignores SIGTERM, and a first process that waits.
  @script "(trap '' TERM; setsid sleep 4711 & wait) & sleep 4711"

  def run do
    IO.puts("A command: #{inspect(MuonTrap.cmd("echo", ["hello"]))}")
    survivors("MuonTrap.cmd", &MuonTrap.cmd/3)

    survivors("System.cmd", &System.cmd/3)
    |> Enum.each(&System.cmd("kill", ["-9", &1]))
  end

  defp survivors(name, cmd) do
    token = "demo-#{System.unique_integer([:positive])}"
    owner = spawn(fn -> cmd.("sh", ["-c", @script], env: [{"MUONTRAP_DEMO", token}]) end)
    wait_until(fn -> length(carrying(token)) >= 3 end)
    IO.puts("\n#{name} runs #{length(carrying(token))} processes. Its owner is killed.")
    Process.exit(owner, :kill)
    wait_until(fn -> carrying(token) == [] end)
    left = carrying(token)
    IO.puts("Left of them: #{length(left)}")

    if left != [],
      do: IO.puts(elem(System.cmd("ps", ["-o", "pid,args", "-p", Enum.join(left, ",")]), 0))

    left
  end

  defp carrying(token) do
    for pid <- File.ls!("/proc"),
        pid =~ ~r/^\d+$/,
        {:ok, environ} <- [File.read("/proc/#{pid}/environ")],
        String.contains?(environ, token),
        do: pid
  end

  defp wait_until(condition, left \\ 200) do
    if not condition.() and left > 0, do: receive(after: (10 -> wait_until(condition, left - 1)))
  end
end

Demo.run()
