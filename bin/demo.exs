# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Demo.Screen do
  @moduledoc "Text in two columns with colours; one below the other where the terminal is narrow, plain with NO_COLOR."

  # Below this a column has no room for a process.
  @wide_enough 76
  @gap "  │  "

  def title(text), do: IO.puts(["\n", paint(text, [:bright, :cyan])])
  def text(text), do: IO.puts(paint(text, [:faint]))
  def fact(text, colour), do: IO.puts(paint(text, [colour]))

  @doc "Each side is `{title, colour, lines}`."
  def beside({left, left_colour, left_lines}, {right, right_colour, right_lines}) do
    if columns() >= @wide_enough do
      room = div(columns() - String.length(@gap), 2)
      rows = max(length(left_lines), length(right_lines))
      row({left, [:bright, left_colour]}, {right, [:bright, right_colour]}, room)

      for {one, other} <- Enum.zip(fill(left_lines, rows), fill(right_lines, rows)),
          do: row({one, [left_colour]}, {other, [right_colour]}, room)
    else
      for {title, colour, lines} <- [
            {left, left_colour, left_lines},
            {right, right_colour, right_lines}
          ] do
        IO.puts(paint(cut(title, columns()), [:bright, colour]))
        for line <- lines, do: IO.puts(paint(cut("  " <> line, columns()), [colour]))
      end
    end
  end

  defp row({left, left_style}, {right, right_style}, room) do
    left = left |> cut(room) |> String.pad_trailing(room) |> paint(left_style)
    IO.puts([left, paint(@gap, [:faint]), right |> cut(room) |> paint(right_style)])
  end

  defp fill(lines, rows), do: lines ++ List.duplicate("", rows - length(lines))

  defp cut(text, room),
    do: if(String.length(text) > room, do: String.slice(text, 0, room - 1) <> "…", else: text)

  defp paint(text, styles), do: IO.ANSI.format([styles, text], colours?())

  # See no-color.org.
  defp colours?, do: System.get_env("NO_COLOR", "") == "" and IO.ANSI.enabled?()

  defp columns do
    with :error <- Integer.parse(System.get_env("COLUMNS", "")),
         {:error, _no_terminal} <- :io.columns() do
      100
    else
      {:ok, columns} -> columns
      {columns, _rest} -> columns
    end
  end
end

defmodule Demo do
  @moduledoc "Shows what muontrap does, beside `System.cmd`, on real programs. Fails if something is not as it says."

  alias Demo.Screen

  # A daemon in a session of its own that ignores SIGTERM, a child, and a first process that waits.
  @script "(trap '' TERM; setsid sleep 4711 & wait) & sleep 4711"
  @variable "MUONTRAP_DEMO"
  # How long a killed owner's programs are watched: four times the grace of MuonTrap.cmd/3.
  @patience_ms 2_000
  # How long they may take to start: six trees and two VMs do it at once, on a machine that may have more to do.
  @start_ms 120_000
  @look_again_ms 50

  def run do
    # They take their time, and do it all at once.
    ping = begin(&kill_owner(&1, "ping", ["127.0.0.1"], 1))
    shell = begin(&kill_owner(&1, "sh", ["-c", @script], 4))
    vm = begin(&kill_vm(&1, 4))

    Screen.title("1. A program")

    show(
      "MuonTrap.cmd(\"echo\", [\"hello\"])",
      fn -> MuonTrap.cmd("echo", ["hello"]) end,
      {"hello\n", 0}
    )

    Screen.title("2. One that takes too long, and one that never ends")

    show(
      "MuonTrap.cmd(\"sleep\", [\"1000\"], timeout: 200)",
      fn -> MuonTrap.cmd("sleep", ["1000"], timeout: 200) end,
      {"", :timeout}
    )

    show(
      "MuonTrap.stream!(\"yes\", [], lines: 80) |> Enum.take(3)",
      fn -> MuonTrap.stream!("yes", [], lines: 80) |> Enum.take(3) end,
      ["y", "y", "y"]
    )

    Screen.title("3. ping, and the process that runs it is killed")
    compare(ping, "Its owner is killed", 1)

    Screen.title(
      "4. A shell with a daemon that ignores SIGTERM, and the process that runs it is killed"
    )

    Screen.text("sh -c \"#{@script}\"")
    compare(shell, "Its owner is killed", 4)

    Screen.title("5. The same, and the whole VM is killed by kill -9")
    compare(vm, "Its VM is killed", 4)

    Screen.title("All of this is so.")
    Screen.text("README.md says how to start, guides/guarantees.md which test proves it.")
  end

  defp show(code, fun, expected) do
    value = fun.()
    IO.puts("#{code}")
    Screen.fact("  " <> inspect(value), :green)
    must(value == expected, "#{code} is #{inspect(expected)}")
  end

  # `act` starts a tree, ends what owns it, and says what ran and what is left.
  defp begin(act), do: for(side <- [:system, :muontrap], do: Task.async(fn -> act.(side) end))

  defp compare(tasks, what, processes) do
    [{theirs, theirs_left}, {ours, ours_left}] = Task.await_many(tasks, :infinity)

    Screen.beside(
      {"System.cmd runs it", :yellow, Enum.map(theirs, &line/1)},
      {"MuonTrap.cmd runs it", :green, Enum.map(ours, &line/1)}
    )

    Screen.text("#{what}. #{div(@patience_ms, 1000)} seconds later:")

    Screen.beside(
      {"System.cmd leaves #{length(theirs_left)}", :red, Enum.map(theirs_left, &line/1)},
      {"MuonTrap.cmd leaves #{length(ours_left)}", :green, Enum.map(ours_left, &line/1)}
    )

    kill(theirs_left ++ ours_left)
    Screen.text("(The demo has now killed by their pids what was left.)")

    must(length(theirs_left) == processes, "System.cmd leaves #{processes}")
    must(ours_left == [], "muontrap leaves none")
  end

  defp kill_owner(side, command, args, processes) do
    token = token()
    owner = spawn(fn -> module(side).cmd(command, args, env: [{@variable, token}]) end)
    observe(token, processes, fn -> Process.exit(owner, :kill) end)
  end

  defp kill_vm(side, processes) do
    token = token()

    call = "#{inspect(module(side))}.cmd"
    options = [env: [{@variable, token}]]
    code = "#{call}(\"sh\", #{inspect(["-c", @script])}, #{inspect(options)})"
    args = ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", code]

    vm =
      Port.open({:spawn_executable, System.find_executable("elixir")}, [
        :binary,
        :hide,
        args: args
      ])

    {:os_pid, pid} = Port.info(vm, :os_pid)
    # Its standard input stays open, and elixir(1) becomes the VM: it is nobody else's pid.
    observe(token, processes, fn -> System.cmd("kill", ["-9", "#{pid}"]) end)
  end

  defp module(:system), do: System
  defp module(:muontrap), do: MuonTrap

  defp observe(token, processes, end_it) do
    started? = wait_until(fn -> length(carrying(token)) >= processes end, @start_ms)
    started = carrying(token)
    unless started?, do: kill(started)
    must(started?, "the programs start")
    end_it.()
    wait_until(fn -> carrying(token) == [] end, @patience_ms)
    {started, carrying(token)}
  end

  defp kill(processes) do
    for {pid, _session, _args} <- processes,
        do: System.cmd("kill", ["-9", pid], stderr_to_stdout: true)
  end

  def clean_up, do: kill(carrying(token_prefix()))

  defp token, do: token_prefix() <> "#{System.unique_integer([:positive])}"
  defp token_prefix, do: "demo-#{System.pid()}-"

  # {pid, session, arguments} of those that have the token in their environment, wherever they are in the tree.
  defp carrying(token) do
    for pid <- File.ls!("/proc"),
        pid =~ ~r/^\d+$/,
        {:ok, environ} <- [File.read("/proc/#{pid}/environ")],
        String.contains?(environ, token),
        {:ok, args} when args != "" <- [File.read("/proc/#{pid}/cmdline")],
        {:ok, stat} <- [File.read("/proc/#{pid}/stat")] do
      # The name is in parentheses, whatever it has in it.
      [_state, _parent, _group, session | _rest] =
        stat |> String.split(") ") |> List.last() |> String.split(" ")

      [program | args] = String.split(args, <<0>>, trim: true)
      {pid, session, Enum.join([Path.basename(program) | args], " ")}
    end
  end

  defp line({pid, session, args}) do
    mark = if pid == session, do: "own session", else: ""
    Enum.join([String.pad_leading(pid, 7), String.pad_trailing(mark, 11), args], " ")
  end

  defp wait_until(condition, patience_ms) do
    deadline = System.monotonic_time(:millisecond) + patience_ms
    wait_until_deadline(condition, deadline)
  end

  # Whatever a look takes, the last one is after the deadline.
  defp wait_until_deadline(condition, deadline) do
    late? = System.monotonic_time(:millisecond) > deadline

    cond do
      condition.() -> true
      late? -> false
      true -> receive(after: (@look_again_ms -> wait_until_deadline(condition, deadline)))
    end
  end

  defp must(true, _claim), do: :ok
  defp must(false, claim), do: raise("it is not so that #{claim}")
end

# So that what a task raises is raised here.
Process.flag(:trap_exit, true)

try do
  Demo.run()
after
  # Where something was not so, what System.cmd has left is still there.
  Demo.clean_up()
end
