# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.UsageTest do
  @moduledoc "What a command has used: that of its own processes, and nothing of another's."

  use ExUnit.Case

  alias MuonTrap.{Command, Options, Trees}

  @mib 1_048_576

  defp usage(command, args, opts \\ []), do: MuonTrap.run(command, args, opts).usage

  test "has the memory of the program, for a small one not much more than its helper takes" do
    assert usage(Trees.program("exit_with"), ["0"]).max_rss_bytes < 4 * @mib
    large = usage("sh", ["-c", "x=$(head -c 30000000 /dev/zero | tr '\\0' x); : $x"])
    assert large.max_rss_bytes > 25 * @mib
    # Of another command there is nothing in it.
    assert usage(Trees.program("exit_with"), ["0"]).max_rss_bytes < 4 * @mib
  end

  test "has no more memory for a small program while many others run" do
    alone = usage(Trees.program("exit_with"), ["0"]).max_rss_bytes
    options = Options.validate!(:cmd, "sleep", ["1000"], [])

    commands =
      for _ <- 1..500 do
        {:ok, command} = Command.start(options, {:null, :null, :null})
        command
      end

    among = usage(Trees.program("exit_with"), ["0"]).max_rss_bytes
    Enum.each(commands, &Command.stop/1)
    Enum.each(commands, &Command.abort/1)
    assert among < alone + @mib
  end

  test "adds up the CPU time of all, also of what others left to the shim" do
    burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
    one = usage("sh", ["-c", burn])
    # The one in the background loses its parent and is waited for by the shim.
    both = usage("sh", ["-c", "(sh -c '#{burn}' &); #{burn}"], linger: :infinity)
    assert both.user_us > one.user_us * 1.1
    assert %{user_us: user_us} = usage("true", [])
    assert user_us < one.user_us
  end
end
