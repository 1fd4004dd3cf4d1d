# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# How late a timer of 10 ms is while floods go on, in an idle VM, and with as many bare Ports, in turn:
#
#   mix run bench/schedulers.exs [FLOODS]
#
# The floods (100) are of `yes`, which fights the VM for the processors whoever reads it: compare with the
# Ports. "long" is how often the VM saw a process or a port hold a scheduler for more than 10 ms.

alias MuonTrap.{Command, Options}

defmodule Bench do
  @rounds 5
  @round_ms 2_000
  @timer_us 10_000

  def run(sides) do
    :erlang.system_monitor(self(), long_schedule: 10)
    samples = for _ <- 1..@rounds, {name, start} <- sides, do: {name, measure(start)}
    IO.puts("a timer of 10 ms: lateness in µs")

    for {name, _start} <- sides do
      lates = Enum.sort(for {^name, {lates, _long}} <- samples, late <- lates, do: late)
      long = Enum.sum(for {^name, {_lates, long}} <- samples, do: long)
      [p50, p99] = for part <- [50, 99], do: Enum.at(lates, div(length(lates) * part, 100))
      IO.puts("  #{name}: p50 #{p50}, p99 #{p99}, max #{List.last(lates)}, long #{long}")
    end
  end

  defp measure(start) do
    stop = start.()
    Process.sleep(500)
    flush(0)
    lates = late(now() + @round_ms * 1000, [])
    long = flush(0)
    stop.()
    Process.sleep(500)
    {lates, long}
  end

  defp late(until, lates) do
    before = now()
    receive(after: (div(@timer_us, 1000) -> :ok))
    lates = [now() - before - @timer_us | lates]
    if now() < until, do: late(until, lates), else: lates
  end

  defp now, do: System.monotonic_time(:microsecond)

  defp flush(count) do
    receive do
      {:monitor, _whom, :long_schedule, _info} -> flush(count + 1)
    after
      0 -> count
    end
  end
end

floods = System.argv() |> List.first("100") |> String.to_integer()
# Without the complaint of each when its reader is gone.
args = ["-c", "exec yes 2>/dev/null"]

owners = fn own ->
  fn ->
    pids = for _ <- 1..floods, do: spawn(own)
    fn -> Enum.each(pids, &Process.exit(&1, :kill)) end
  end
end

start = fn ->
  options = Options.validate!(:cmd, "sh", args, [])
  {:ok, command} = Command.start(options, {:null, :pipe, :null})
  command
end

take = fn take, command ->
  {_event, command} = Command.next(command, :infinity)
  take.(take, command)
end

take_from_port = fn take, port ->
  receive(do: ({^port, {:data, _bytes}} -> take.(take, port)))
end

Bench.run([
  {"idle", fn -> fn -> :ok end end},
  {"#{floods} of ours, owners sleep",
   owners.(fn ->
     command = start.()
     receive(do: (:never -> command))
   end)},
  {"#{floods} of ours, owners take all", owners.(fn -> take.(take, start.()) end)},
  {"#{floods} bare Ports, owners take all",
   owners.(fn ->
     sh = System.find_executable("sh")
     port = Port.open({:spawn_executable, sh}, [:binary, args: args])
     take_from_port.(take_from_port, port)
   end)}
])
