# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Stress.InputTest do
  @moduledoc """
  Input and output at once, of all sizes, windows and paces, with programs that read all, some or nothing: every call
  comes to its end by itself, with all of its output, and leaves the mailbox empty.

  The calls are drawn at random, from a seed that ExUnit names.
  """

  use ExUnit.Case

  alias MuonTrap.Counts
  alias MuonTrapTest.Sink

  @moduletag :stress
  @moduletag timeout: 900_000

  @calls 3_000
  @at_once 4
  # Far beyond what any call takes, even on a machine that is busy with others.
  @timeout_ms 120_000

  @bytes :binary.copy("0123456789abcde\n", 65_536)
  @sizes [0, 1, 4_096, 65_536, 65_537, 100_000, 300_000, 1_000_000]
  @windows [1, 100, 4_096, 10_240, 65_536, 1_048_576]

  setup do: Counts.unchanged()

  # A program, and how many of so many bytes it hands on. nil: as many as there are until nobody writes.
  defp draw_program(size) do
    some = div(size, 3)
    both = "head -c #{some}; head -c #{some} >&2; cat"

    Enum.random([
      {"cat", [], size},
      {"tee", ["/dev/stderr"], 2 * size},
      {"head", ["-c", "#{some}"], some},
      {"true", [], 0},
      {"dd", ["bs=777", "status=none"], size},
      {"dd", ["bs=100000", "status=none"], size},
      {"sh", ["-c", both], size},
      {"sh", ["-c", "exec <&-; echo done"], 5}
    ])
  end

  # Takes output as fast as it comes, or in fits and starts.
  defp draw_pace do
    Enum.random([
      fn -> :ok end,
      fn -> :erlang.yield() end,
      fn -> if :rand.uniform(20) == 1, do: Process.sleep(:rand.uniform(10)) end
    ])
  end

  defp draw_input(bytes) do
    pieces = fn
      "" ->
        nil

      rest ->
        length = min(byte_size(rest), Enum.random([1_000, 5_000, 70_000]))
        <<piece::binary-size(length), rest::binary>> = rest
        {piece, rest}
    end

    Enum.random([bytes, [bytes], Stream.unfold(bytes, pieces)])
  end

  defp call do
    size = Enum.random(@sizes)
    {program, args, handed_on} = draw_program(size)
    # Not more events than a few thousand.
    window = max(Enum.random(@windows), div(2 * size, 2_000))
    pace = draw_pace()

    into = %Sink{
      acc: 0,
      fun: fn
        count, {:cont, piece} ->
          pace.()
          count + byte_size(piece)

        count, _end ->
          count
      end
    }

    opts = [
      input: draw_input(binary_part(@bytes, 0, size)),
      into: into,
      stdio_window: window,
      stderr_to_stdout: true,
      timeout: @timeout_ms
    ]

    result = MuonTrap.cmd(program, args, opts)
    described = inspect({program, args, size, window})
    assert {^handed_on, 0} = result, described
    # What is still on its way is there by the end of the next call.
    assert {:messages, []} = Process.info(self(), :messages), described
  end

  test "comes to its end" do
    seed = ExUnit.configuration()[:seed]

    1..@at_once
    |> Enum.map(fn number ->
      Task.async(fn ->
        :rand.seed(:exsss, {seed, number, 0})
        for _ <- 1..div(@calls, @at_once), do: call()
      end)
    end)
    |> Task.await_many(:infinity)
  end
end
