# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.LeftoversTest do
  @moduledoc "A test that leaves something fails alone, and says what it is."

  use MuonTrap.Case

  alias MuonTrap.Trees

  # Each of the tests of a VM of its own, in their order, with what is said of it.
  @tests [
    {"nothing", "assert true", nil},
    {"a command", ~S|spawn(fn -> MuonTrap.cmd("sleep", ["1000"]) end); await_one()|,
     ~S|the command ["sleep", "1000"] of #PID<|},
    {"a stopped command", ~S|spawn(fn -> MuonTrap.cmd("sleep", ["1000"]) end)
        Trees.kill(await_one(), "STOP")|, ~S|the command ["sleep", "1000"]|},
    {"a process of the system",
     ~S|System.cmd("sh", ["-c", "setsid sleep 1000 >/dev/null 2>&1 &"])|, ~r/the process \d+ of/},
    {"a test that takes too long",
     ~S|spawn(fn -> MuonTrap.cmd("sleep", ["1000"]) end); receive(do: (:never -> :ok))|,
     ~S|test timed out after|},
    {"a raise", ~S|spawn(fn -> MuonTrap.cmd("sleep", ["1000"]) end); await_one(); raise "odd"|,
     ~S|(RuntimeError) odd|},
    {"what its Daemons leave to it",
     ~S|{:ok, _} = MuonTrap.Daemon.start_link("sleep", ["1000"]); await_one()|, nil},
    {"nothing again", "assert MuonTrap.list() == []", nil}
  ]

  defp suite do
    tests =
      for {name, body, _failure} <- @tests do
        timeout_ms = if name == "a test that takes too long", do: 10_000, else: 60_000
        "@tag timeout: #{timeout_ms}\ntest #{inspect(name)} do\n#{body}\nend\n"
      end

    """
    ExUnit.start(seed: 0, capture_log: true)
    Application.put_env(:muontrap_leftovers, :patience_ms, 1_000)

    defmodule Leaving do
      use MuonTrap.Case
      alias MuonTrap.Trees

      defp await_one do
        true = Trees.eventually(fn -> match?([%{os_pid: pid}] when pid != nil, MuonTrap.list()) end)
        hd(MuonTrap.list()).os_pid
      end

      #{tests}
    end
    """
  end

  test "each that leaves something fails, and those after it do not" do
    {output, 2} =
      System.cmd("elixir", ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", suite()],
        stderr_to_stdout: true
      )

    failures = for {name, _body, failure} <- @tests, failure, do: {name, failure}
    failed = Regex.scan(~r/^  \d+\) test (.*) \(Leaving\)$/m, output, capture: :all_but_first)

    assert Enum.sort(List.flatten(failed)) == Enum.sort(for {name, _} <- failures, do: "#{name}"),
           output

    for {name, failure} <- failures do
      [_before, told] = String.split(output, ") test #{name} (Leaving)", parts: 2)
      [told | _others] = String.split(told, ~r/^  \d+\) test /m)
      assert told =~ failure, output
    end

    # For those that failed before as well.
    for {name, _body, failure} <- @tests, failure, do: assert(output =~ "test #{name} left: \n")
  end

  test "what was there before is named with the test that it is of, and ended" do
    # As a test of another kind would leave it.
    {"", 0} = System.cmd("sh", ["-c", "setsid sleep 1000 >/dev/null 2>&1 &"])
    Application.put_env(:muontrap_leftovers, :patience_ms, 50)
    on_exit(fn -> Application.delete_env(:muontrap_leftovers, :patience_ms) end)

    said =
      ExUnit.CaptureIO.capture_io(:stderr, fn -> MuonTrap.Leftovers.begin("the next test") end)

    assert said =~ ~r/Before the next test there was: \n  \* the process \d+ of .*LeftoversTest/
    [_all, pid] = Regex.run(~r/the process (\d+) of/, said)
    assert Trees.eventually(fn -> not File.exists?("/proc/#{pid}") end)
  end
end
