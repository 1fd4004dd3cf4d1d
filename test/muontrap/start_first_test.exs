# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.StartFirstTest do
  @moduledoc "The start of a command that is to be announced is the first thing that its owner hears."

  use ExUnit.Case

  alias MuonTrap.{Command, Options}

  @runs 60

  # Output at once, on both streams, and room for input: all before the shim gets to announce the start.
  @script "echo early; echo early >&2; head -c 1000 >/dev/null; exec cat"
  @input :binary.copy("x", 1_000_000)

  defp start(program, args) do
    options = Options.validate!(:cmd, program, args, delay_to_sigkill: 0)
    {:ok, command} = Command.start(options, {:pipe, :pipe, :pipe}, announce: true)
    command
  end

  defp fill(handle) do
    with {:ok, _written} <- MuonTrap.Nif.write(handle, @input), do: fill(handle)
  end

  test "comes before output and before room for input, by message" do
    for _ <- 1..@runs do
      %{ref: ref} = command = start("sh", ["-c", @script])
      assert fill(command.handle) in [{:error, :eagain}, {:error, :epipe}]
      assert_receive {:muontrap, ^ref, event}, 60_000
      assert {:started, _pid} = event
      Command.abort(command)
    end
  end

  test "comes before what could be taken past the mailbox" do
    for pause_ms <- [0, 10], _ <- 1..div(@runs, 2) do
      command = start("sh", ["-c", "echo early; echo early >&2"])
      Process.sleep(pause_ms)
      assert {{:started, _pid}, command} = Command.next(command, :infinity)
      assert {{stream, "early\n"}, command} = Command.next(command, :infinity)
      assert stream in [:stdout, :stderr]
      Command.abort(command)
    end
  end

  test "of a program that does not start, the failure comes alone" do
    command = start("/nowhere/to/be/found", [])
    assert {{:failed, {:exec, _program, :enoent}}, _command} = Command.next(command, :infinity)
    refute_receive {:muontrap, _ref, _event}, 50
  end

  test "waits for no reader" do
    # Output beyond pipe and window, and nobody takes it.
    %{ref: ref} = command = start("yes", [])
    assert_receive {:muontrap, ^ref, {:started, _pid}}, 60_000
    Command.abort(command)
  end
end
