# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ForeignProcTest do
  @moduledoc """
  A VM in a PID namespace of its own that has kept the `/proc` of the namespace above, as some sandboxes do. What
  has the helpers' numbers there is somebody else: its children were killed, and our own tree lived on.
  """

  use ExUnit.Case

  alias MuonTrap.Trees

  @moduletag timeout: 120_000

  # As many as a VM has threads and helpers.
  @strangers 300

  # Trees that outlive their program, are stopped, and lose their owner.
  @contained ~S"""
  background = "setsid sleep 1000 & sleep 1000 & (sleep 1000 &) & echo word"
  {"word\n", 0} = MuonTrap.cmd("/bin/sh", ["-c", background])
  stubborn = "exec 2>/dev/null; trap '' TERM; setsid sleep 1000 & echo ready; while :; do sleep 1000; done"
  opts = [timeout: 300, delay_to_sigkill: 50]
  %{output: "ready\n", status: :timeout, survivors: []} = MuonTrap.run("/bin/sh", ["-c", stubborn], opts)
  {:ok, daemon} = MuonTrap.Daemon.start_link("/bin/sh", ["-c", stubborn])
  %{memory_peak_bytes: nil, cpu_time_us: nil} = MuonTrap.Daemon.statistics(daemon)
  spawn(fn -> MuonTrap.cmd("/bin/sh", ["-c", stubborn]) end)
  receive(after: (300 -> IO.puts("over")))
  """

  test "loses nothing of its own, and kills nobody else's" do
    if Trees.possible?(:pid_namespace) do
      # In there the numbers begin where those of the strangers do out here, so each helper has the number of one.
      strangers = for _ <- 1..@strangers, do: Trees.control()
      first = strangers |> Enum.map(&(&1 |> Port.info(:os_pid) |> elem(1))) |> Enum.min()
      token = Trees.token()
      ebin = Application.app_dir(:muontrap, "ebin")

      script =
        "echo #{first} > /proc/sys/kernel/ns_last_pid; " <>
          "MUONTRAP_TOKEN=#{token} exec #{System.find_executable("elixir")} -pa #{ebin} -e \"$0\""

      args = ["--pid", "--fork", "sh", "-c", script, @contained]
      task = Task.async(fn -> System.cmd("unshare", args, stderr_to_stdout: true) end)
      assert {"over\n", 0} = Task.await(task, 90_000)
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
      assert Enum.all?(strangers, &Trees.end_control/1)
    end
  end
end
