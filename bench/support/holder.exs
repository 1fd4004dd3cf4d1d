# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# In a VM of its own, for the memory of one which had many programs before is there already:
#
#   elixir -pa EBIN bench/support/holder.exs daemon|port COUNT
#
# Writes the share in memory of this VM and its helpers, in KiB, beside a single program that sleeps, and after each
# line of its input the same beside COUNT more.

Code.require_file("bench.exs", __DIR__)
Code.require_file("held.exs", __DIR__)

alias Bench.{Held, Load}

[kind, count] = System.argv()
kind = String.to_existing_atom(kind)
{:ok, _apps} = Application.ensure_all_started(:muontrap)

write_share = fn held ->
  programs = MapSet.new(held, &Held.os_pid/1)

  kib =
    for pid <- [Load.own_pid() | Load.below()],
        pid not in programs,
        {:ok, text} <- [File.read("/proc/#{pid}/smaps_rollup")],
        [_line, kib] <- [Regex.run(~r/^Pss:\s+(\d+) kB$/m, text)],
        do: String.to_integer(kib)

  IO.puts(Enum.sum(kib))
end

# What the first one needs is not the share of each.
first = Held.start(kind, 1)
# Nor what is left of compiling this script.
Enum.each(Process.list(), &:erlang.garbage_collect/1)
write_share.(first)

Enum.reduce(IO.stream(:line), first, fn _line, held ->
  held = held ++ Held.start(kind, String.to_integer(count))
  write_share.(held)
  held
end)
