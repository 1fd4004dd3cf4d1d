# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Top do
  @moduledoc """
  A live table of the commands of this VM, with the processes of each.

  In IEx, also in a remote shell (`bin/my_app remote`, `iex --remsh`), and from another VM by `mix muontrap.top`:

      iex> MuonTrap.Top.run()

  It shows the commands of the VM that it runs in, where you type. Keys are read line by line, so each is a letter and
  Enter, on every release of OTP:

  | line | what it does |
  |---|---|
  | Enter | draws again |
  | `c`, `m`, `o`, `u`, `n` | sorts by CPU, memory, output rate, uptime, name; the same again turns it round |
  | `t` | shows or hides the processes of each command |
  | `k 12` | stops the command with the id 12, as `MuonTrap.stop/1` does, without waiting |
  | `s 12 hup` | sends it a signal, by name (`hup`, `sighup`) or number |
  | `d 5` | draws every 5 seconds |
  | `q` | ends the table |

  ## Columns

    * `ID` - as in `MuonTrap.list/0`
    * `PID` - that of the program, `-` before it runs and after it
    * `CPU%` - of one processor, since the table was drawn last; of the whole tree and of the helper that contains it
    * `MEM` - resident memory of the tree, without the helper; what its processes share counts in each
    * `OUT/s` - bytes read of its output per second
    * `WINDOW` - how much of `:stdio_window` is used up: at 100 % the program waits for its owner
    * `UPTIME`, `IN` - for how long it runs; `cgroup` or `tree`, what contains it, with `!` if it is stopping;
      `waits` for a Daemon that waits for its `:restart_backoff`, and has no `ID` meanwhile
    * `OWNER`, `COMMAND` - the process that runs it, by name if it has one; program and arguments

  The table takes less than 1 % of a processor: if it takes long to gather, it is drawn less often. Commands and their
  owners do not wait for it. Where `/proc` is not mounted, or is that of another PID namespace, CPU and memory are `-`.
  """

  alias MuonTrap.Top.{Action, Keys, Sample, Table, View}

  # As a part of the time.
  @most_share 0.009

  @doc """
  Shows the table until the line `q`, or the end of the input. Blocks the calling process, and returns `:ok`.

  Reads and writes through the group leader, so it works in remote shells.

  ## Options

    * `:once` - draws it once, reads nothing and returns (false)
    * `:interval_ms` - milliseconds from one drawing to the next, from 200 on (2000)
    * `:sort` - `:cpu`, `:memory`, `:output`, `:uptime` or `:name` (`:cpu`)
    * `:tree` - whether the processes of each command are shown (false)

  ## Errors

    * `ArgumentError` - an option that makes no sense
    * `MuonTrap.Error` - the native library is missing
  """
  @spec run(keyword()) :: :ok
  def run(opts \\ []) do
    {once?, opts} = Keyword.pop(opts, :once, false)
    view = View.new(opts)
    MuonTrap.Native.ensure_loaded!()
    if once?, do: once(view), else: live(view)
  end

  # CPU and output are differences, so two looks are needed.
  defp once(view) do
    before = Sample.take()
    receive(after: (200 -> :ok))
    IO.write([Table.render(Sample.take(), before, %{view | rows: :infinity}, size()), "\n"])
  end

  defp live(view) do
    # Apart: reading a line blocks. It asks for one at a time, so none is read that is not for the table.
    table = self()
    ref = make_ref()
    {reader, monitor} = spawn_monitor(fn -> read(table, ref) end)
    loop(%{view: view, before: nil, ref: ref, reader: reader, monitor: monitor})
  end

  defp read(table, ref) do
    line = IO.gets("")
    send(table, {ref, line})

    receive do
      {^ref, :more} -> read(table, ref)
      {^ref, :enough} -> :ok
    end
  end

  defp loop(state) do
    {took_us, sample} = :timer.tc(fn -> draw(state) end)
    wait_ms = max(state.view.interval_ms, ceil(took_us / 1000 / @most_share))
    await(%{state | before: sample, view: %{state.view | message: nil}}, wait_ms)
  end

  defp draw(state) do
    sample = Sample.take()
    drawing = Table.render(sample, state.before || sample, state.view, size())
    IO.write([IO.ANSI.clear(), IO.ANSI.home(), drawing, "\n"])
    sample
  end

  defp await(%{ref: ref, monitor: monitor} = state, wait_ms) do
    receive do
      {^ref, line} when is_binary(line) -> obey(state, Keys.parse(line))
      {^ref, _end_of_input} -> finish(state)
      {:DOWN, ^monitor, :process, _reader, _reason} -> :ok
    after
      wait_ms -> loop(state)
    end
  end

  defp obey(state, :quit), do: finish(state)

  defp obey(%{reader: reader, ref: ref} = state, action) do
    view = act(state.view, action)
    send(reader, {ref, :more})
    loop(%{state | view: view})
  end

  defp finish(%{reader: reader, ref: ref, monitor: monitor}) do
    send(reader, {ref, :enough})

    receive do
      {:DOWN, ^monitor, :process, ^reader, _reason} -> :ok
    end
  end

  defp act(view, action) when elem(action, 0) in [:stop, :signal],
    do: %{view | message: Action.run(action)}

  defp act(view, action), do: View.change(view, action)

  defp size do
    with {:ok, columns} <- :io.columns(), {:ok, rows} <- :io.rows() do
      {columns, rows}
    else
      {:error, _no_terminal} -> {100, 40}
    end
  end
end
