# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ThroughVmTest do
  @moduledoc "Pipelines that pass through the VM, because somebody looks at what passes: whole, and bounded at each place."

  use MuonTrap.Case

  alias MuonTrap.Trees

  @mib 1_048_576
  # What a pipe holds, and the most that a program holds: cat(1) reads that much at once.
  @pipe 65_536
  @program 131_072
  @window 65_536

  setup do
    token = Trees.token()
    %{token: token, env: [{"MUONTRAP_TOKEN", token}]}
  end

  # Three programs, with a function of Elixir behind each.
  defp pipeline(command, args, opts) do
    MuonTrap.stream!(command, args, opts)
    |> Stream.map(& &1)
    |> MuonTrap.pipe!("cat", [], opts)
    |> Stream.map(& &1)
    |> MuonTrap.pipe!("cat", [], opts)
    |> Stream.map(& &1)
  end

  test "every byte passes, in order, whatever the windows are" do
    expected = Enum.map_join(1..100_000, &"#{&1}\n")

    for opts <- [[], [stdio_window: 1_000], [stdio_window: @mib]] do
      passed = pipeline("seq", ["100000"], opts) |> Enum.to_list() |> IO.iodata_to_binary()
      assert passed == expected
    end

    refute_received _anything
  end

  @tag timeout: 600_000
  test "512 MiB pass, and the memory of the VM does not grow by 10 MiB" do
    size = 512 * @mib
    pass = fn size -> pipeline("head", ["-c", "#{size}", "/dev/zero"], []) |> count() end
    assert pass.(@mib) == @mib
    {grown, passed} = growth(fn -> pass.(size) end)
    assert passed == size
    assert grown < 10 * @mib
  end

  defp count(stream), do: Enum.reduce(stream, 0, &(byte_size(&1) + &2))

  # The most by which the memory of the VM has grown at any moment.
  defp growth(fun) do
    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
    before = :erlang.memory(:total)
    task = Task.async(fun)
    most = watch(task, before, 0)
    {most, Task.await(task, :infinity)}
  end

  defp watch(task, before, most) do
    if Process.alive?(task.pid) do
      most = max(most, :erlang.memory(:total) - before)
      receive(after: (5 -> watch(task, before, most)))
    else
      most
    end
  end

  test "a slow consumer has every mailbox and buffer bounded", %{env: env} do
    test = self()

    consumer =
      spawn_link(fn ->
        pipeline("yes", [], env: env)
        |> Enum.each(fn _chunk ->
          send(test, :chunk)
          receive(do: (:go_on -> :ok))
        end)
      end)

    # What each program has had room for, when nothing moves any more. The last is two pieces ahead of its consumer.
    for chunks <- [1, 2, 10] do
      take(consumer, chunks)
      [last, middle, first] = rest(3)
      assert first.stdout_bytes - last.stdout_bytes <= 2 * between()
      assert first.stdout_bytes - middle.stdout_bytes <= between()

      for %{owner: owner, unacknowledged_bytes: unacknowledged} <- [first, middle, last] do
        assert unacknowledged <= @window
        assert [{:message_queue_len, length}, {:memory, memory}, {:binary, held}] = info(owner)
        assert length < 10
        # Its heap, with whatever garbage is on it.
        assert memory < 2 * @mib
        assert held <= 2 * @mib
      end
    end

    Process.unlink(consumer)
    Process.exit(consumer, :kill)
    assert Trees.eventually(fn -> MuonTrap.list() == [] end)
  end

  # From the output of one program to that of the next: a piece on its way, what waits to be written, the pipe, what
  # the program holds, and its output in the pipe.
  defp between, do: 2 * @window + 2 * @pipe + @program

  defp take(consumer, chunks) do
    for _ <- 1..chunks do
      assert_receive :chunk, 60_000
      send(consumer, :go_on)
    end
  end

  # The programs, by what they have written, once that is the same for a while.
  defp rest(count) do
    seen = fn -> Enum.sort_by(MuonTrap.list(), & &1.stdout_bytes) end
    bytes = fn commands -> Enum.map(commands, & &1.stdout_bytes) end

    assert Trees.eventually(fn ->
             before = bytes.(seen.())
             receive(after: (300 -> length(before) == count and before == bytes.(seen.())))
           end)

    seen.()
  end

  defp info(pid) do
    [queue, memory, {:binary, binaries}] =
      Process.info(pid, [:message_queue_len, :memory, :binary])

    held = binaries |> Enum.uniq_by(&elem(&1, 0)) |> Enum.map(&elem(&1, 1)) |> Enum.sum()
    [queue, memory, {:binary, held}]
  end

  test "the end of its last reader ends all of it, and so does that of its consumer", %{
    token: token,
    env: env
  } do
    assert [_piece] = pipeline("yes", [], env: env) |> Enum.take(1)
    assert Trees.carrying(token) == []

    consumer = spawn(fn -> pipeline("yes", [], env: env) |> Stream.run() end)
    on_exit(fn -> Process.exit(consumer, :kill) end)
    assert Trees.eventually(fn -> length(Trees.carrying(token)) == 3 end)
    Process.exit(consumer, :kill)
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
  end

  test "what passes has a window of 64 KiB, unless one is given or configured" do
    windows = fn opts ->
      pipeline("yes", [], opts)
      |> Stream.map(fn _piece -> MuonTrap.list() |> Enum.map(& &1.window_bytes) |> Enum.uniq() end)
      |> Enum.at(0)
    end

    assert windows.([]) == [65_536]
    assert windows.(stdio_window: 10_240) == [10_240]

    # Nobody but Elixir reads this one.
    alone =
      MuonTrap.stream!("yes", []) |> Stream.map(fn _ -> hd(MuonTrap.list()).window_bytes end)

    assert Enum.at(alone, 0) == 10_240

    Application.put_env(:muontrap, :stdio_window, 4_096)
    on_exit(fn -> Application.delete_env(:muontrap, :stdio_window) end)
    assert windows.([]) == [4_096]
  end
end
