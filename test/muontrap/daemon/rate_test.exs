# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.RateTest do
  @moduledoc "The option `:log_rate`: so many lines in a second, and one that tells how many there were more."

  use MuonTrap.Case

  import ExUnit.CaptureLog
  import MuonTrap.Daemons

  alias MuonTrap.Daemon
  alias MuonTrap.Daemon.Rate

  setup :trap_exits

  defp count(log, regex), do: regex |> Regex.scan(log) |> length()

  # The sum of what is told.
  defp told(log) do
    told = Regex.scan(~r/^warning sh: (\d+) lines? not logged, more than 10 in a second$/m, log)
    {length(told), told |> Enum.map(fn [_all, n] -> String.to_integer(n) end) |> Enum.sum()}
  end

  defp log_of(script, opts) do
    capture_log([format: "$level $message\n", colors: [enabled: false]], fn ->
      {:ok, pid} = Daemon.start_link("sh", ["-c", script], [log_rate: 10] ++ opts)
      stopped(pid)
    end)
  end

  test "what is over is dropped, counted, and told of before the end" do
    log = log_of("seq 1 1000", log_output: :info)
    logged = count(log, ~r/^info sh: \d+$/m)
    {lines, dropped} = told(log)
    assert logged + dropped == 1_000
    # A machine that is very slow may have taken seconds for it.
    assert logged in 10..500 and lines in 1..50
    assert Enum.take(String.split(log, "\n"), 10) == for(n <- 1..10, do: "info sh: #{n}")
    # The end is no line of output.
    assert log =~ ~r/not logged, more than 10 in a second\ninfo sh: Process exited successfully/
  end

  test "both streams share it" do
    log = log_of("seq 1 500; seq 501 1000 >&2", log_output: :info, log_stderr: :error)
    {_lines, dropped} = told(log)
    assert count(log, ~r/^(info|error) sh: \d+$/m) + dropped == 1_000
  end

  test "a program that falls silent is told of while it runs, once" do
    log =
      capture_log([format: "$level $message\n", colors: [enabled: false]], fn ->
        opts = [log_rate: 10, log_output: :info]
        {:ok, pid} = Daemon.start_link("sh", ["-c", "seq 1 100; sleep 1000"], opts)
        await(fn -> Daemon.statistics(pid).stdout_bytes == 292 end)
        await(fn -> Daemon.statistics(pid).dropped_lines > 0 end)
        await(fn -> not MuonTrap.Daemon.Log.dropping?(:sys.get_state(pid).output.log) end)
        dropped = Daemon.statistics(pid).dropped_lines
        send(self(), {:dropped, dropped})
        GenServer.stop(pid)
      end)

    assert_received {:dropped, dropped}
    assert {lines, ^dropped} = told(log)
    assert lines in 1..10
    assert count(log, ~r/^info sh: \d+$/m) == 100 - dropped
  end

  test "nothing is told of a program that keeps to it, and nothing is dropped without" do
    log = log_of("seq 1 10", log_output: :info)
    assert count(log, ~r/^info sh: \d+$/m) == 10
    refute log =~ "not logged"
    {:ok, pid} = Daemon.start_link("seq", ["1", "20000"], logger_fun: to_self())
    stopped(pid)
    assert length(lines()) == 20_000
  end

  test "holds for a logger_fun, and neither for readiness nor for what is counted" do
    opts = [log_rate: 1, logger_fun: to_self(), ready: {:output, ~r/^500$/}]

    capture_log(fn ->
      {:ok, pid} = Daemon.start_link("sh", ["-c", "seq 1 500; sleep 1000"], opts)
      await(fn -> Daemon.statistics(pid).output_byte_count == 1_892 end)
      dropped = Daemon.statistics(pid).dropped_lines
      GenServer.stop(pid)
      assert length(lines()) == 500 - dropped
      assert dropped > 400
    end)
  end

  test "a second begins with its first line" do
    rate = Rate.new(2)
    {passed, rate} = take(rate, [0, 1, 2, 999_999, 1_000_000, 1_500_000, 1_999_999, 5_000_000])
    assert passed == [:pass, :pass, :drop, :drop, :pass, :pass, :drop, :pass]
    assert %{unsaid: 3, dropped: 3} = rate
  end

  defp take(rate, times) do
    Enum.map_reduce(times, rate, fn us, rate -> Rate.take(rate, us) end)
  end
end
