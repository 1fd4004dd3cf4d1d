# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# A million lines of 80 bytes through a Daemon, against a bare Port with the same line buffer, both sides in
# turn: mix run bench/daemon_lines.exs

alias MuonTrap.{Daemon, LineBuffer}

lines = 1_000_000
args = ["-c", "yes #{String.duplicate("x", 79)} | head -n #{lines}"]
Process.flag(:trap_exit, true)

port_lines = fn ->
  port =
    Port.open({:spawn_executable, System.find_executable("sh")}, [
      :binary,
      :exit_status,
      args: args
    ])

  read = fn read, buffer, count ->
    receive do
      {^port, {:data, data}} ->
        {found, buffer} = LineBuffer.push(buffer, data)
        Enum.each(found, &byte_size/1)
        read.(read, buffer, count + length(found))

      {^port, {:exit_status, 0}} ->
        count
    end
  end

  read.(read, LineBuffer.new(), 0)
end

daemon_lines = fn ->
  counter = :counters.new(1, [])
  count = fn _line -> :counters.add(counter, 1, 1) end
  {:ok, daemon} = Daemon.start_link("sh", args, logger_fun: count)
  receive(do: ({:EXIT, ^daemon, :normal} -> :counters.get(counter, 1)))
end

results =
  for _ <- 1..7, {name, run} <- [{"Daemon", daemon_lines}, {"Port", port_lines}] do
    {us, count} = :timer.tc(run)
    {name, us, count}
  end

[daemon, port] =
  for name <- ["Daemon", "Port"] do
    sorted = Enum.sort(for {^name, us, _count} <- results, do: us)
    missing = Enum.sum(for {^name, _us, count} <- results, do: lines - count)
    rate = lines / Enum.at(sorted, 3) * 1000
    IO.puts("#{name}: #{round(rate)} k lines/s, #{missing} missing")
    rate
  end

IO.puts("ratio: #{Float.round(daemon / port, 2)}")
