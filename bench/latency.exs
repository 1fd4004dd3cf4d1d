# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# How long `true` takes, against System.cmd/3, interleaved: mix run bench/latency.exs
run = fn function -> elem(:timer.tc(fn -> function.("true", []) end), 0) end
pairs = for _ <- 1..1000, do: {run.(&MuonTrap.cmd/2), run.(&System.cmd/2)}
{ours, theirs} = Enum.unzip(pairs)

for {name, times} <- [{"MuonTrap.cmd", ours}, {"System.cmd", theirs}] do
  sorted = Enum.sort(times)
  IO.puts("#{name}: median #{Enum.at(sorted, 500)} µs, p99 #{Enum.at(sorted, 990)} µs")
end
