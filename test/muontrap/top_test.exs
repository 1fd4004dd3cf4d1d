# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.TopTest do
  @moduledoc "The table of commands that run, with somebody who types."

  use MuonTrap.Case

  import ExUnit.CaptureIO

  alias MuonTrap.{Cgroups, OtherVM, Top, Trees}

  # A terminal: what is asked for it waits for, and what is written it passes on.
  defmodule Terminal do
    use GenServer

    def type(terminal, line), do: GenServer.cast(terminal, {:type, line})

    @impl true
    def init(test), do: {:ok, %{test: test, lines: [], asked: []}}

    @impl true
    def handle_cast({:type, line}, state),
      do: {:noreply, answer(%{state | lines: state.lines ++ [line]})}

    @impl true
    def handle_info({:io_request, from, as, request}, state) do
      case request do
        {:put_chars, _encoding, text} ->
          send(state.test, {:drawn, IO.chardata_to_string(text)})
          send(from, {:io_reply, as, :ok})
          {:noreply, state}

        {:get_geometry, what} ->
          send(from, {:io_reply, as, if(what == :columns, do: 120, else: 30)})
          {:noreply, state}

        _get_line ->
          {:noreply, answer(%{state | asked: state.asked ++ [{from, as}]})}
      end
    end

    defp answer(%{lines: [line | lines], asked: [{from, as} | asked]} = state) do
      send(from, {:io_reply, as, line})
      answer(%{state | lines: lines, asked: asked})
    end

    defp answer(state), do: state
  end

  defp run(args), do: Task.async(fn -> MuonTrap.run("sh", ["-c" | args]) end)

  defp entry(owner),
    do:
      Cgroups.eventually(fn -> Enum.find(MuonTrap.list(), &(&1.owner == owner && &1.os_pid)) end)

  # A table with somebody who types, and the first of its drawings that shows a text.
  defp table(opts) do
    terminal =
      start_supervised!(%{id: Terminal, start: {GenServer, :start_link, [Terminal, self()]}})

    task =
      Task.async(fn ->
        Process.group_leader(self(), terminal)
        Top.run(opts)
      end)

    {terminal, task}
  end

  defp drawn(text) do
    receive do
      {:drawn, drawing} -> if drawing =~ text, do: drawing, else: drawn(text)
    after
      60_000 -> flunk("#{inspect(text)} was not drawn")
    end
  end

  defp silence do
    receive do
      {:drawn, _drawing} -> silence()
    after
      0 -> :ok
    end
  end

  test "it shows what runs, stops and signals it, and ends" do
    quiet = run(["exec sleep 1000"])
    heard = run(["trap 'exit 5' USR1; echo ready; while :; do sleep 0.01; done"])
    [quiet_id, heard_id] = for task <- [quiet, heard], do: entry(task.pid).id
    Cgroups.eventually(fn -> entry(heard.pid).stdout_bytes == 6 end)

    {terminal, table} = table(interval_ms: 200)
    assert drawn("exec sleep 1000") =~ "2 commands"
    Terminal.type(terminal, "t\n")
    assert drawn(~r/└ \d+ sleep/)
    Terminal.type(terminal, "s #{heard_id} usr1\n")
    assert drawn("sent sigusr1 to #{heard_id}")
    assert %{status: {:exited, 5}} = Task.await(heard)
    Terminal.type(terminal, "k #{quiet_id}\n")
    assert drawn("stopping #{quiet_id}")
    assert %{status: {:signaled, :sigterm}} = Task.await(quiet)
    assert drawn("0 commands")
    Terminal.type(terminal, "k #{quiet_id}\n")
    assert drawn("there is no command #{quiet_id}")
    Terminal.type(terminal, "s #{quiet_id} hup\n")
    assert drawn("no such process")
    Terminal.type(terminal, "x y\n")
    assert drawn("unknown: x y")
    # The time in between is up to it, and a line has an answer at once.
    Terminal.type(terminal, "d 3600\n")
    Terminal.type(terminal, "q\n")
    assert Task.await(table, 60_000) == :ok
    silence()
    refute_receive _
  end

  test "the end of the input is the end of the table" do
    {terminal, table} = table(interval_ms: 200)
    drawn("0 commands")
    Terminal.type(terminal, :eof)
    assert Task.await(table, 60_000) == :ok
    silence()
    refute_receive _
  end

  test "drawn once it needs nobody who types" do
    busy = Task.async(fn -> MuonTrap.run(Trees.program("burn"), [], timeout: 60_000) end)
    entry = entry(busy.pid)

    # The program may have had no processor in the time of a table.
    assert Trees.eventually(fn ->
             text = capture_io("", fn -> assert Top.run(once: true) == :ok end)
             assert text =~ "1 command,"
             refute text =~ "\e["
             [_heading, row] = text |> String.split("\n", trim: true) |> Enum.drop(1)
             [id, pid, cpu | _more] = String.split(row)
             assert {id, pid} == {"#{entry.id}", "#{entry.os_pid}"}
             String.to_float(cpu) > 0
           end)

    MuonTrap.stop(entry)
    Task.await(busy)
  end

  test "where /proc is of another PID namespace it shows the commands without their processes" do
    if Trees.possible?(:pid_namespace) do
      code = """
      spawn(fn -> MuonTrap.cmd("sleep", ["1000"]) end)
      find = fn find -> if Enum.any?(MuonTrap.list(), & &1.os_pid), do: :ok, else: find.(find) end
      find.(find)
      MuonTrap.Top.run(once: true)
      """

      {output, 0} = OtherVM.run(OtherVM.directory(), ["unshare", "--pid", "--fork"], code)
      assert output =~ "1 command," and output =~ "no /proc of ours"
      assert output =~ ~r/ - +- .*sleep 1000/
    end
  end
end
