# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Stress.RacesTest do
  @moduledoc """
  Two things at the same moment, 1,000 times each: whichever comes first, the outcome is one of the two, whole,
  and nothing is left.

  The moment is searched for: each time one comes first, it comes later the next time. So both do, again and
  again.
  """

  use MuonTrap.Case

  alias MuonTrap.{Command, Counts, Daemon, Options, Trees}

  @moduletag :stress
  @moduletag timeout: 3_600_000

  @repeats 1_000
  @at_once 2
  # How far the search goes with each step at least. On a busy machine it has far to go.
  @step_us 100
  @step_part 8

  setup do: Counts.unchanged()
  setup do: %{token: Trees.token()}

  test "an owner killed between request and start leaves nothing", %{token: token} do
    opts = [env: [{"MUONTRAP_TOKEN", token}], delay_to_sigkill: 0]

    race(fn after_us ->
      parent = self()

      owner =
        spawn(fn ->
          command = start(Trees.program("new_session"), [], opts)
          send(parent, {:requested, self()})
          {_ready, _command} = Command.next(command, :infinity)
          send(parent, {:ready, self()})
          receive(do: (:never -> :ok))
        end)

      monitor = Process.monitor(owner)
      receive(do: ({:requested, ^owner} -> spin(after_us)))
      Process.exit(owner, :kill)
      receive(do: ({:DOWN, ^monitor, :process, ^owner, :killed} -> :ok))
      assert Trees.eventually(fn -> length(MuonTrap.list()) < 20 end)
      receive(do: ({:ready, ^owner} -> :late), after: (0 -> :early))
    end)

    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
  end

  test "an owner killed as its program ends leaves nothing" do
    args = ["66890"]

    race(fn after_us ->
      {owner, monitor} =
        spawn_monitor(fn -> exit(MuonTrap.cmd(Trees.program("write_then_exit"), args)) end)

      spin(after_us)
      Process.exit(owner, :kill)

      receive do
        {:DOWN, ^monitor, :process, ^owner, :killed} ->
          :early

        {:DOWN, ^monitor, :process, ^owner, {output, 0}} ->
          assert byte_size(output) == 66_890
          :late
      end
    end)
  end

  test "a program that ends as its time is over has ended or run out of time" do
    script = "echo so far; sleep 0.01; echo end"

    race(
      fn after_us ->
        case MuonTrap.cmd("sh", ["-c", script], timeout: max(div(after_us, 1000), 1)) do
          {"so far\nend\n", 0} ->
            :late

          {output, :timeout} ->
            assert output in ["", "so far\n", "so far\nend\n"]
            :early
        end
      end,
      step_us: 1000
    )
  end

  test "output is whole when the program is stopped as it exits, and cut but in order before" do
    {whole, 0} = MuonTrap.cmd(Trees.program("write_then_exit"), ["66890"])

    race(fn after_us ->
      command = start(Trees.program("write_then_exit"), ["66890"], [])

      stopper =
        Task.async(fn ->
          spin(after_us)
          Command.stop(command)
        end)

      {output, outcome} = drain(command, "")
      Task.await(stopper)

      case outcome.status do
        {:exited, 0} ->
          assert output == whole
          :late

        {:signaled, 15} ->
          assert String.starts_with?(whole, output)
          :early
      end
    end)
  end

  test "a Daemon stopped as its program exits ends once, with the reason of the one or the other" do
    race(fn after_us ->
      Process.flag(:trap_exit, true)
      {:ok, daemon} = Daemon.start_link("sleep", ["0.002"])
      spin(after_us)

      # It may have ended before.
      try do
        GenServer.stop(daemon, :shutdown, :infinity)
      catch
        :exit, _ended -> :ok
      end

      receive do
        {:EXIT, ^daemon, :shutdown} -> :early
        {:EXIT, ^daemon, :normal} -> :late
      end
    end)
  end

  # `race` is told how long to wait before the one thing, and says whether it was early or late.
  defp race(race, opts \\ []) do
    step_us = Keyword.get(opts, :step_us, @step_us)

    outcomes =
      1..@at_once
      |> Task.async_stream(fn _ -> search(race, step_us) end, timeout: :infinity)
      |> Enum.flat_map(fn {:ok, outcomes} -> outcomes end)

    assert length(outcomes) >= @repeats
    # Neither is rare, or it was no race.
    assert %{early: early, late: late} = Enum.frequencies(outcomes)
    assert min(early, late) > @repeats / 50, inspect({early, late})
  end

  defp search(race, step_us) do
    {outcomes, _after_us} =
      Enum.map_reduce(1..div(@repeats, @at_once), 0, fn _, after_us ->
        outcome = race.(after_us)
        assert Process.info(self(), :message_queue_len) == {:message_queue_len, 0}

        case outcome do
          :early -> {:early, after_us + step_us + div(after_us, @step_part)}
          :late -> {:late, max(after_us - step_us - div(after_us, @step_part), 0)}
        end
      end)

    outcomes
  end

  defp spin(us), do: spin_until(System.monotonic_time(:microsecond) + us)

  defp spin_until(until) do
    if System.monotonic_time(:microsecond) < until, do: spin_until(until)
  end

  defp start(program, args, opts) do
    options = Options.validate!(:cmd, program, args, opts)
    {:ok, command} = Command.start(options, {:null, :pipe, :null})
    command
  end

  defp drain(command, output) do
    case Command.next(command, :infinity) do
      {{:stdout, bytes}, command} -> drain(command, output <> bytes)
      {{:started, _pid}, command} -> drain(command, output)
      {{:ended, outcome}, _command} -> {output, outcome}
    end
  end
end
