# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.LastEventTest do
  @moduledoc "Exactly one terminal event, and nothing of a command in its caller's mailbox after that."

  use ExUnit.Case

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Command, Options}
  alias MuonTrapTest.Sink

  @runs 60
  # More than a pipe holds, so that there is always somebody who waits for room.
  @input :binary.copy("x", 300_000)

  # A message that is on its way now is there by then.
  @afterwards_ms 20

  defp mailbox(ref \\ nil) do
    Process.sleep(@afterwards_ms)
    {:messages, messages} = Process.info(self(), :messages)
    for {:muontrap, of, event} <- messages, ref in [nil, of], do: event
  end

  defp slow(pause_ms), do: sink(fn -> Process.sleep(pause_ms) end)

  defp sink(fun) do
    %Sink{
      fun: fn
        acc, {:cont, _bytes} -> fun.() && acc
        acc, _end -> acc
      end
    }
  end

  # Ends without having read all of its input.
  @early {"head", ["-c", "100000"]}

  for {name, into} <- [
        {"a slow collectable", quote(do: slow(1))},
        {"a collectable that is slower than the program", quote(do: slow(10))},
        {"a fast one", quote(do: "")}
      ] do
    test "leaves nothing behind with input that is not read, and #{name}" do
      {program, args} = @early

      for _ <- 1..@runs do
        assert {_output, 0} = MuonTrap.cmd(program, args, input: @input, into: unquote(into))
      end

      assert mailbox() == []
    end
  end

  test "leaves nothing behind when the collectable raises" do
    {program, args} = @early

    for after_ms <- [0, 1, 5] do
      into = sink(fn -> Process.sleep(after_ms) && raise("enough") end)

      assert_raise RuntimeError, "enough", fn ->
        MuonTrap.cmd(program, args, input: @input, into: into)
      end
    end

    assert mailbox() == []
  end

  test "leaves nothing behind after a timeout" do
    for timeout_ms <- [1, 5, 20] do
      assert {_output, :timeout} =
               MuonTrap.cmd("sh", ["-c", "head -c 1000; sleep 1000"],
                 input: @input,
                 timeout: timeout_ms
               )
    end

    assert mailbox() == []
  end

  test "takes a terminal event past room for input, the start and output of two streams" do
    script = "echo one; echo two >&2; head -c 1000 >/dev/null; echo three; echo four >&2"

    for pause_ms <- [0, 1, 30], announce <- [true, false] do
      options = Options.validate!(:cmd, "sh", ["-c", script], [])
      {:ok, command} = Command.start(options, {:pipe, :pipe, :pipe}, announce: announce)
      MuonTrap.Nif.write(command.handle, @input)
      # It may have read all that it wants, and be gone.
      assert {:error, reason} = MuonTrap.Nif.write(command.handle, @input)
      assert reason in [:eagain, :epipe]
      events = drain(command, pause_ms, [])
      assert Enum.count(events, &is_terminal/1) == 1
      assert {:ended, %{status: {:exited, 0}}} = List.last(events)
      assert collected(events, :stdout) == "one\nthree\n"
      assert collected(events, :stderr) == "two\nfour\n"
      assert mailbox(command.ref) == []
    end
  end

  defp drain(command, pause_ms, events) do
    Process.sleep(pause_ms)

    case Command.next(command, System.monotonic_time(:millisecond) + 60_000) do
      {event, _command} when is_terminal(event) -> Enum.reverse([event | events])
      {:timeout, _command} -> flunk("stalled after #{inspect(Enum.reverse(events))}")
      {event, command} -> drain(command, pause_ms, [event | events])
    end
  end

  defp collected(events, stream), do: for({^stream, bytes} <- events, into: "", do: bytes)
end
