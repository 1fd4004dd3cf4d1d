# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.PipeSizeTest do
  @moduledoc "With a large window the program has pipes of its size."

  use MuonTrap.Case

  alias MuonTrap.{OtherVM, Trees}

  @max "/proc/sys/fs/pipe-max-size"
       |> File.read!()
       |> String.trim()
       |> String.to_integer()

  defp sizes(opts) do
    result = MuonTrap.run(Trees.program("pipe_sizes"), [], [capture_stderr: true] ++ opts)
    assert {result.status, result.stderr} == {{:exited, 0}, ""}
    result.output |> String.split() |> Enum.map(&String.to_integer/1)
  end

  test "pipes stay as they are with a window that fits in" do
    as_made = sizes([])
    for window <- [1, 10_240, 65_536], do: assert(sizes(stdio_window: window) == as_made)
  end

  test "both pipes of output have the size of a larger window, up to what everybody may have" do
    for window <- [65_537, 300_000, 1_048_576, 1_073_741_824] do
      wanted = min(window, @max)
      assert [size, size] = sizes(stdio_window: window)
      # The kernel rounds up to a power of two.
      assert size >= wanted and size < 2 * wanted
    end
  end

  test "a size that the kernel refuses does not matter" do
    wrapper = OtherVM.as_user()

    if OtherVM.possible?(wrapper) do
      code = ~S"""
      [program] = System.argv()
      opts = [stdio_window: 1_048_576]
      me = self()
      {:ok, _daemon} = MuonTrap.Daemon.start_link(program, ["--exhaust"], logger_fun: &send(me, &1))
      receive do: ("ready" -> :ok)
      {sizes, 0} = MuonTrap.cmd(program, [], [stderr_to_stdout: true] ++ opts)
      [size, size] = sizes |> String.split() |> Enum.map(&String.to_integer/1)
      true = size < 1_048_576
      {output, 0} = MuonTrap.cmd("seq", ["1", "100000"], opts)
      true = output == Enum.map_join(1..100_000, &"#{&1}\n")
      IO.puts("over")
      """

      directory = OtherVM.directory()
      args = [OtherVM.program(directory, "pipe_sizes")]
      assert {"over\n", 0} = OtherVM.run(directory, wrapper, code, args)
    end
  end
end
