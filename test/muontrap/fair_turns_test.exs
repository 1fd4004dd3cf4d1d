# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.FairTurnsTest do
  @moduledoc "Commands whose owners are gone and that write as fast as they can leave the others their turn."

  use ExUnit.Case

  alias MuonTrap.{Command, Counts, Options, Trees}

  @moduletag timeout: 300_000

  setup do: Counts.unchanged()

  @floods 24
  @rounds 5
  @runs 20
  # It takes three to six times as long where each waits for its turn behind each flood.
  @ratio_max 3.5
  @tries 4

  # Goes on writing through its grace, which is ended by the test.
  defp flood(script, token) do
    parent = self()

    owner =
      spawn(fn ->
        opts = [env: [{"MUONTRAP_TOKEN", token}], delay_to_sigkill: 600_000]
        options = Options.validate!(:cmd, "sh", ["-c", "trap '' TERM; " <> script], opts)
        {:ok, command} = Command.start(options, {:null, :pipe, :pipe}, announce: true)
        command = await_output(command)
        send(parent, {:flooding, self()})
        receive(do: (:never -> command))
      end)

    receive(do: ({:flooding, ^owner} -> Process.exit(owner, :kill)))
  end

  # Before that the signal might find it without its trap.
  defp await_output(command) do
    case Command.next(command, :infinity) do
      {{:started, _pid}, command} -> await_output(command)
      {{_stream, _bytes}, command} -> command
    end
  end

  defp orphaned, do: Enum.count(MuonTrap.list(), & &1.orphaned)

  defp end_all(token) do
    Trees.kill(Trees.carrying(token), "KILL")
    assert Trees.eventually(fn -> MuonTrap.list() == [] end)
  end

  # Each in µs.
  defp latencies do
    for _ <- 1..@runs, do: elem(:timer.tc(fn -> {"", 0} = MuonTrap.cmd("true", []) end), 0)
  end

  # Who waits for turns waits each time. A processor that is taken by the floods, or by others, is not always
  # taken, so the quickest tenth of the runs shows nothing of that.
  defp lower_decile(values) do
    sorted = values |> List.flatten() |> Enum.sort()
    Enum.at(sorted, div(length(sorted), 10))
  end

  # These wait until somebody reads. A program that is at work between two short lines would have a processor
  # of its own to fight for, whoever reads it.
  for {where, script} <- [
        {"standard output", "exec yes"},
        {"both streams in turn", "exec tee /dev/stderr </dev/zero"},
        {"both streams at once", "yes & exec yes >&2"}
      ] do
    test "with floods on #{where}" do
      token = Trees.token()
      on_exit(fn -> Trees.kill(Trees.carrying(token), "KILL") end)

      # On a machine whose processors are all taken the floods take theirs from the runs, so one measurement that is
      # good is enough: without turns there is none.
      tries = Stream.repeatedly(fn -> measure(unquote(script), token) end)

      assert tries |> Stream.take(@tries) |> Enum.any?(&(&1 < @ratio_max)),
             "took more than #{@ratio_max} times as long beside floods, #{@tries} times"
    end
  end

  # Alternating, so that what else this machine does meets both.
  defp measure(script, token) do
    {alone, beside} =
      Enum.unzip(
        for _ <- 1..@rounds do
          alone = latencies()
          for _ <- 1..@floods, do: flood(script, token)
          assert Trees.eventually(fn -> orphaned() == @floods end)
          beside = latencies()
          end_all(token)
          {alone, beside}
        end
      )

    {alone_us, beside_us} = {lower_decile(alone), lower_decile(beside)}
    beside_us / alone_us
  end

  test "what they write is read on, so that they come to their end" do
    token = Trees.token()
    on_exit(fn -> Trees.kill(Trees.carrying(token), "KILL") end)
    flood("echo now; head -c 20000000 /dev/zero", token)
    assert Trees.eventually(fn -> MuonTrap.list() == [] end)
  end
end
