# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# Whether anything grows with the number of commands:
#
#   mix run bench/soak.exs [COMMANDS]
#
# Runs so many (100,000), 8 at once, half of them with output and input, and prints at every tenth what VM and
# spawner hold.

commands = System.argv() |> List.first("100000") |> String.to_integer()
step = div(commands, 10)

resident_kib = fn pid ->
  [_all, kib] = Regex.run(~r/^VmRSS:\s+(\d+) kB/m, File.read!("/proc/#{pid}/status"))
  kib
end

entries = fn path -> path |> File.ls!() |> length() end

report = fn done ->
  Enum.each(Process.list(), &:erlang.garbage_collect/1)
  # There is a spawner from here on.
  {"", 0} = MuonTrap.cmd("true", [])
  spawner = MuonTrap.Nif.spawner_pid()

  IO.puts(
    "#{done} commands: VM #{resident_kib.(System.pid())} KiB, #{entries.("/proc/self/fd")} descriptors, " <>
      "#{entries.("/proc/self/task")} threads, #{:erlang.memory(:total)} bytes allocated; " <>
      "spawner #{resident_kib.(spawner)} KiB, #{entries.("/proc/#{spawner}/fd")} descriptors; " <>
      "#{length(MuonTrap.list())} listed"
  )
end

run = fn
  number when rem(number, 2) == 0 ->
    {"", 0} = MuonTrap.cmd("true", [])

  number ->
    input = "#{number}"
    {^input, 0} = MuonTrap.cmd("cat", [], input: input)
end

report.(0)

for done <- step..commands//step do
  (done - step + 1)..done
  |> Task.async_stream(run, max_concurrency: 8, timeout: :infinity)
  |> Stream.run()

  report.(done)
end
