# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Stress.ManyTest do
  @moduledoc "Many, one after the other and at once: every count is back where it was."

  use MuonTrap.Case

  alias MuonTrap.{Counts, Daemon, Nif, Trees}

  @moduletag :stress
  @moduletag timeout: 3_600_000

  setup do: Counts.unchanged()

  test "10,000 runs in a row, and neither VM nor spawner grow" do
    for _ <- 1..1000, do: {"", 0} = MuonTrap.cmd("true", [])
    before = Counts.resident_kib(Nif.spawner_pid())
    for _ <- 1..10_000, do: assert({"", 0} = MuonTrap.cmd("true", []))
    # A page here or there; a leak of a byte a run would be ten.
    assert Counts.resident_kib(Nif.spawner_pid()) <= before + 64
    refute_received _
  end

  test "500 at once, with output" do
    results =
      1..500
      |> Task.async_stream(&MuonTrap.cmd("seq", ["#{&1}"]),
        max_concurrency: 500,
        timeout: :infinity
      )
      |> Enum.map(fn {:ok, {output, 0}} -> output |> String.split() |> length() end)

    assert results == Enum.to_list(1..500)
  end

  test "1,000 daemons start, log and stop" do
    test = self()

    daemons =
      1..1000
      |> Task.async_stream(
        fn number ->
          {:ok, daemon} =
            Daemon.start_link("sh", ["-c", "echo #{number}; exec sleep 1000"],
              logger_fun: &send(test, {:line, &1}),
              ready: {:output, ~r/./},
              start_timeout: :infinity
            )

          Process.unlink(daemon)
          daemon
        end,
        max_concurrency: 50,
        timeout: :infinity
      )
      |> Enum.map(fn {:ok, daemon} -> daemon end)

    for number <- 1..1000 do
      line = "#{number}"
      assert_received {:line, ^line}
    end

    assert length(MuonTrap.list()) == 1000

    daemons
    |> Task.async_stream(&GenServer.stop/1, max_concurrency: 50, timeout: :infinity)
    |> Stream.run()
  end

  test "100 floods into owners that sleep are held back, and end at once" do
    owners = for _ <- 1..100, do: spawn(fn -> flood() end)

    assert Trees.eventually(fn ->
             Enum.count(MuonTrap.list(), &(&1.unacknowledged_bytes > 0)) == 100
           end)

    assert Enum.all?(MuonTrap.list(), &(&1.stdout_bytes <= 10_240))

    lengths =
      for owner <- owners, {_key, length} <- [Process.info(owner, :message_queue_len)], do: length

    # A message has a byte at least, and most have thousands.
    assert Enum.sum(lengths) < 100 * 64

    Enum.each(owners, &Process.exit(&1, :kill))
    assert Trees.eventually(fn -> MuonTrap.list() == [] end)
  end

  defp flood do
    options = MuonTrap.Options.validate!(:cmd, "yes", [], [])
    {:ok, running} = MuonTrap.Command.start(options, {:null, :pipe, :inherit})
    receive(do: (:never -> running))
  end
end
