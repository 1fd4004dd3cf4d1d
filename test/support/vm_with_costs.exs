# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# What each call of the native part costs the normal schedulers of this VM, in microseconds of work of their
# threads. A line for each kind of call: its name, then the most that a call of each round took on average.
#
# Argument: how many rounds. The VM is to be started with `+sbwt none`, or its schedulers work while they wait.

alias MuonTrap.{Command, Native, Nif, Options}

defmodule Costs do
  @calls 3

  # schedstat: nanoseconds on a processor, nanoseconds in its queue, turns.
  def schedulers do
    for folder <- Path.wildcard("/proc/self/task/*"),
        {:ok, name} <- [File.read(Path.join(folder, "comm"))],
        name =~ ~r/^(\d+_scheduler|erts_sched_\d+)$/m do
      {:ok, file} = :file.open(Path.join(folder, "schedstat"), [:read, :raw, :binary])
      file
    end
  end

  def worked_ns(schedulers) do
    for file <- schedulers, reduce: 0 do
      sum ->
        {:ok, line} = :file.pread(file, 0, 100)
        sum + (line |> String.split() |> hd() |> String.to_integer())
    end
  end

  # In a process whose heap has room for all, for its garbage collection is work too.
  def measure(name, rounds, prepare, call, clean) do
    work = fn ->
      schedulers = schedulers()
      for _ <- 1..1, do: round(schedulers, prepare, call, clean)
      exit({:costs, for(_ <- 1..rounds, do: round(schedulers, prepare, call, clean))})
    end

    {pid, monitor} = :erlang.spawn_opt(work, [:monitor, min_heap_size: 8_000_000])

    receive do
      {:DOWN, ^monitor, :process, ^pid, {:costs, costs}} ->
        IO.puts(Enum.join([name | costs], " "))
    end
  end

  defp round(schedulers, prepare, call, clean) do
    prepared = for _ <- 1..@calls, do: prepare.()
    before = worked_ns(schedulers)
    results = Enum.map(prepared, call)
    ns = worked_ns(schedulers) - before
    Enum.each(results, clean)
    div(ns, @calls * 1000)
  end
end

rounds = System.argv() |> hd() |> String.to_integer()
{:ok, _apps} = Application.ensure_all_started(:muontrap)
{"", 0} = MuonTrap.cmd("true", [])

text = String.duplicate("a", 64_000)
stdio = {:pipe, :pipe, :null}

options = fn args, opts ->
  Options.validate!(:cmd, "sh", ["-c", "exec sleep 1000" | args], opts)
end

request = fn args, opts -> Command.Request.new(options.(args, opts), stdio, nil, []) end

start = fn args ->
  {:ok, command} = Command.start(options.(args, []), stdio)
  command
end

start_with = fn script, opts ->
  {:ok, command} = Command.start(Options.validate!(:cmd, "sh", ["-c", script], opts), stdio)
  command
end

kill = fn command -> Command.abort(%{command | grace_ms: 0}) end

cost_of_start = fn name, make ->
  Costs.measure(
    "start_with_#{name}",
    rounds,
    fn -> {make_ref(), make.()} end,
    fn {ref, request} ->
      # Not all of them can be executed, which comes as an event.
      {:ok, handle} = Native.start(ref, request)
      %Command{ref: ref, handle: handle, grace_ms: 0, program: "", args: [], since: 0}
    end,
    kill
  )
end

many = List.duplicate("", 50_000)
cost_of_start.("nothing", fn -> request.([], []) end)
cost_of_start.("60_kb_of_arguments", fn -> request.([binary_part(text, 0, 60_000)], []) end)
cost_of_start.("1_mb_of_arguments", fn -> request.(List.duplicate(text, 16), []) end)
cost_of_start.("50000_arguments", fn -> request.(many, []) end)

cost_of_start.("1_mb_of_changes", fn ->
  request.([], env: for(n <- 1..16, do: {"N#{n}", text}))
end)

cost_of_start.("50000_changes", fn ->
  request.([], env: for(n <- 1..50_000, do: {"N#{n}", "1"}))
end)

cost_of_start.("a_name_of_1_mb", fn ->
  %{request.([], []) | program: String.duplicate(text, 16)}
end)

for {name, count} <- [{"30_kb_of_environment", 2}, {"1_mb_of_environment", 68}] do
  for n <- 1..count, do: System.put_env("BIG#{n}", binary_part(text, 0, 15_000))
  # os:env/0 is the VM's, and takes 12 ms for that much.
  environment = :os.env()
  cost_of_start.(name, fn -> %{request.([], clear_env: true) | env: {environment, []}} end)
  changes = [{"BIG1", nil}]

  cost_of_start.(name <> "_changed", fn ->
    %{request.([], clear_env: true) | env: {environment, changes}}
  end)

  # Another one each time.
  cost_of_start.(name <> "_never_the_same", fn ->
    one = {'NUMBER', System.unique_integer() |> Integer.to_charlist()}
    %{request.([], clear_env: true) | env: {[one | environment], []}}
  end)

  for n <- 1..count, do: System.delete_env("BIG#{n}")
end

for {name, script, lines} <- [
      {"next", "exec yes", nil},
      {"next_of_lines", "exec yes #{binary_part(text, 0, 79)}", {:bytes, 4096}},
      {"next_of_empty_lines", "exec yes ''", {:bytes, 4096}}
    ] do
  Costs.measure(
    name,
    rounds,
    fn ->
      options = Options.validate!(:cmd, "sh", ["-c", script], stdio_window: 65_536)
      {:ok, %{ref: ref} = command} = Command.start(options, stdio, lines: {lines, nil})

      # The window is full, so there is no other on its way.
      receive do
        {:muontrap, ^ref, {:stdout, bytes}} -> {command, byte_size(bytes)}
        {:muontrap, ^ref, {:stdout, _lines, bytes}} -> {command, bytes}
      end
    end,
    fn {command, bytes} ->
      _event = Nif.next(command.handle, bytes)
      command
    end,
    kill
  )
end

Costs.measure(
  "write",
  rounds,
  fn -> start_with.("exec sleep 1000", []) end,
  fn command ->
    {:ok, rest} = Native.write(command.handle, text)
    true = byte_size(text) - byte_size(rest) > 4_096
    command
  end,
  kill
)

large = for n <- 1..50, do: start.(["#{n}" | List.duplicate(binary_part(text, 0, 20_000), 5)])
nothing = fn -> nil end
done = fn _result -> :ok end
Costs.measure("list", rounds, nothing, fn nil -> 50 = length(Nif.list()) end, done)
Costs.measure("info", rounds, fn -> hd(large).handle end, &Nif.info/1, done)

Costs.measure(
  "predecessors",
  rounds,
  fn -> hd(large).args end,
  &Native.predecessors("sh", &1),
  done
)

Costs.measure(
  "notify_gone",
  rounds,
  fn -> Nif.info(hd(large).handle).id end,
  &Nif.notify_gone/1,
  done
)

Costs.measure("cgroup_name", rounds, fn -> 1 end, &Nif.cgroup_name/1, done)
Costs.measure("spawner_pid", rounds, nothing, fn nil -> Nif.spawner_pid() end, done)
Enum.each(large, kill)
