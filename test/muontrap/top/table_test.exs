# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Top.TableTest do
  @moduledoc "What is drawn of samples that are made up, and what lines ask for."

  use ExUnit.Case, async: true

  alias MuonTrap.Top.{Keys, Sample, Table, View}

  @mib 1_048_576

  defp command(id, words, more \\ []) do
    Map.merge(
      %{
        id: id,
        command: words,
        owner: self(),
        name: nil,
        os_pid: id * 10 + 1,
        uptime_ms: 65_000,
        stdout_bytes: 0,
        stderr_bytes: 0,
        unacknowledged_bytes: 0,
        window_bytes: 1000,
        containment: :subreaper,
        stopping: false,
        orphaned: false,
        done: false,
        waiting: false
      },
      Map.new(more)
    )
  end

  # The shim of a command has its id ten times, the program one more.
  defp processes(id, cpu_us, more \\ []) do
    shim = id * 10
    [{shim, 2, 1_000, 9 * @mib, "shim"}, {shim + 1, shim, cpu_us, 2 * @mib, "prog"} | more]
  end

  defp lines(now, before, view \\ [], size \\ {120, 40}) do
    now
    |> Table.render(before, View.new(view), size)
    |> IO.iodata_to_binary()
    |> String.split("\n")
  end

  # The ids in the order in which they are shown.
  defp ids(lines) do
    for line <- lines,
        [word | _more] = String.split(line) ++ [""],
        {id, ""} <- [Integer.parse(word)],
        do: id
  end

  defp two do
    before =
      Sample.of(
        [command(1, ["busy"]), command(2, ["loud"])],
        processes(1, 1_000_000) ++ processes(2, 0),
        0
      )

    now =
      Sample.of(
        [
          command(1, ["busy"], stdout_bytes: 10, uptime_ms: 5_000),
          command(2, ["loud"], stdout_bytes: 4096, stderr_bytes: 1024, unacknowledged_bytes: 500)
        ],
        processes(1, 2_000_000) ++ processes(2, 0, [{22, 21, 0, 10 * @mib, "child"}]),
        2_000_000
      )

    {now, before}
  end

  test "CPU, memory, output and window of each command are of its own tree" do
    {now, before} = two()
    [summary, heading, busy, loud | _rest] = lines(now, before)
    assert summary == "muontrap: 2 commands, 0 stopping, CPU 50.0%, memory 14M"

    assert String.split(heading) ==
             ~w(ID PID CPU% MEM OUT/s WINDOW UPTIME IN OWNER COMMAND)

    assert ["1", "11", "50.0", "2.0M", "5", "0%", "5s", "tree", _owner, "busy"] =
             String.split(busy)

    assert ["2", "21", "0.0", "12M", "2.5K", "50%", "1m05s", "tree", _owner, "loud"] =
             String.split(loud)
  end

  test "what a process has used that ended meanwhile counts, and nothing twice" do
    before = Sample.of([command(1, ["a"])], processes(1, 0, [{12, 11, 700_000, 0, "child"}]), 0)
    # Its parent has waited for it.
    now = Sample.of([command(1, ["a"])], processes(1, 1_000_000), 1_000_000)
    assert [%{cpu_percent: 30.0}] = Sample.rows(now, before)
  end

  test "a command that is new, one without a program and a machine without /proc have no CPU" do
    now = Sample.of([command(1, ["a"]), command(2, ["b"], os_pid: nil)], processes(1, 5), 10)
    empty = Sample.of([], [], 0)

    assert [%{cpu_percent: nil, memory_bytes: 2_097_152}, %{memory_bytes: nil}] =
             Sample.rows(now, empty)

    without = Sample.of([command(1, ["a"])], nil, 10)
    [summary, _heading, row | _rest] = lines(without, without)
    assert summary =~ "no /proc"
    assert ["1", "11", "-", "-", "0" | _more] = String.split(row)
  end

  test "each order can be asked for, and turned round" do
    {now, before} = two()

    for {sort, expected} <- [
          cpu: [1, 2],
          memory: [2, 1],
          output: [2, 1],
          uptime: [2, 1],
          name: [1, 2]
        ] do
      assert ids(lines(now, before, sort: sort)) == expected
      view = View.change(View.new(sort: sort), {:sort, sort})
      text = IO.iodata_to_binary(Table.render(now, before, view, {120, 40}))
      assert ids(String.split(text, "\n")) == Enum.reverse(expected)
    end
  end

  test "the tree shows the processes below the helper" do
    {now, before} = two()
    text = Enum.join(lines(now, before, tree: true, sort: :name), "\n")
    assert text =~ "loud\n  └ 21 prog 2.0M\n    └ 22 child 10M\n"
    refute text =~ "shim"
  end

  test "no line is longer than the terminal is wide, and there are no more than it has room for" do
    commands = for id <- 1..200, do: command(id, ["program", String.duplicate("long ", 50)])
    sample = Sample.of(commands, Enum.flat_map(1..200, &processes(&1, 0)), 0)

    for columns <- [20, 39, 40, 59, 80, 100, 200], rows <- [6, 24, 50], tree <- [true, false] do
      drawn = lines(sample, sample, [tree: tree], {columns, rows})
      assert Enum.all?(drawn, &(String.length(&1) <= columns))
      assert length(drawn) < rows
      assert Enum.any?(drawn, &(&1 =~ "... and "))
      assert Enum.at(drawn, 1) =~ "ID"
    end

    assert Enum.any?(lines(sample, sample, [], {80, 24}), &(&1 == "... and 181 more commands"))
  end

  test "owners by name, what stops, and what has lost its owner" do
    commands = [
      command(1, ["a"], name: :my_daemon, containment: :cgroup),
      command(2, ["b"], stopping: true, orphaned: true)
    ]

    sample = Sample.of(commands, [], 0)
    text = Enum.join(lines(sample, sample, sort: :name), "\n")
    assert text =~ ~r/cgroup :my_daemon +a\n/
    assert text =~ ~r/tree! gone +b\n/
    assert text =~ "2 commands, 1 stopping"
  end

  test "Daemons that wait have no id, and each is shown" do
    owner = spawn(fn -> :ok end)
    waits = [id: nil, os_pid: nil, waiting: true]
    commands = [command(1, ["a"], waits), command(2, ["b"], [owner: owner] ++ waits)]
    sample = Sample.of(commands, [], 0)
    [_summary, _heading, one, other | _rest] = lines(sample, sample, sort: :name)
    assert ["-", "-", "-", "-", "0", "0%", "1m05s", "waits", _owner, "a"] = String.split(one)

    assert String.ends_with?(
             other,
             "#{inspect(owner)}" <>
               String.duplicate(" ", 18 - String.length(inspect(owner))) <> " b"
           )
  end

  test "what a program was called with cannot move the cursor" do
    sample = Sample.of([command(1, ["a\e[2J", "b\nc", <<0xFF>>, "é\u202E"])], [], 0)
    text = Enum.join(lines(sample, sample), "|")
    assert text =~ "a?[2J b?c \uFFFD é?"
  end

  test "figures of any size have at most six characters" do
    for bytes <- [
          0,
          999,
          1000,
          1023,
          1024,
          10_240,
          999_999,
          1_048_575,
          @mib * 1000,
          @mib * 5_000_000
        ] do
      before = Sample.of([command(1, ["a"])], [], 0)
      now = Sample.of([command(1, ["a"], stdout_bytes: bytes)], [], 1_000_000)

      [_id, _pid, _cpu, _memory, rate | _more] =
        now |> lines(before) |> Enum.at(2) |> String.split()

      assert String.length(rate) <= 6
    end
  end

  test "lines ask for what the documentation says" do
    for {line, action} <- [
          {"\n", :draw},
          {"q\n", :quit},
          {" t ", :tree},
          {"c\n", {:sort, :cpu}},
          {"m\n", {:sort, :memory}},
          {"o\n", {:sort, :output}},
          {"u\n", {:sort, :uptime}},
          {"n\n", {:sort, :name}},
          {"k 12\n", {:stop, 12}},
          {"s 12 hup\n", {:signal, 12, :sighup}},
          {"s 12 SIGUSR1\n", {:signal, 12, :sigusr1}},
          {"s 12 9\n", {:signal, 12, :sigkill}},
          {"s 12 40\n", {:signal, 12, 40}},
          {"d 0.5\n", {:interval_ms, 500}},
          {"k\n", {:unknown, "k"}},
          {"k all\n", {:unknown, "k all"}},
          {"k -1\n", {:unknown, "k -1"}},
          {"s 12 foo\n", {:unknown, "s 12 foo"}},
          {"s 12 65\n", {:unknown, "s 12 65"}},
          {"d 0\n", {:unknown, "d 0"}},
          {"x\n", {:unknown, "x"}}
        ],
        do: assert(Keys.parse(line) == action, line)
  end

  test "options that make no sense are refused" do
    for opts <- [[sort: :pid], [interval_ms: 10], [tree: 1], [other: 1], [rows: 3]],
        do: assert_raise(ArgumentError, ~r/got: /, fn -> View.new(opts) end)
  end
end
