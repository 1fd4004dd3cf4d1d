# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Upstream.MuonTrapTest do
  @moduledoc """
  `MuonTrap.cmd/3` as MuonTrap 1.8 and 2.0 document it: each option of its table, and each example.
  """

  use MuonTrap.Case

  import MuonTrap.Trees, only: [program: 1]

  alias MuonTrap.{Cgroups, Trees}

  defp sh(script, opts \\ []), do: MuonTrap.cmd("sh", ["-c", script], opts)

  describe "the examples" do
    test "of a command, and of one with a timeout" do
      assert MuonTrap.cmd("echo", ["hello"]) == {"hello\n", 0}
      slow = "echo start && sleep 1000 && echo end"

      within_time(fn timeout_ms ->
        case MuonTrap.cmd("/bin/sh", ["-c", slow], timeout: timeout_ms) do
          {"start\n", :timeout} -> true
          {"", :timeout} -> nil
        end
      end)
    end

    test "of output that is shown as it comes" do
      shown =
        ExUnit.CaptureIO.capture_io(fn ->
          into = IO.binstream(:stdio, :line)

          assert {%IO.Stream{}, 0} =
                   sh("echo out; echo err >&2", stderr_to_stdout: true, into: into)

          assert {%IO.Stream{}, 0} = sh("echo more", into: IO.stream(:stdio, :line))
        end)

      assert shown == "out\nerr\nmore\n"
    end

    test "of a caller that ends: its command ends with it" do
      test = self()
      token = Trees.token()

      caller =
        spawn(fn ->
          opts = [env: [{"MUONTRAP_TOKEN", token}], into: IO.stream(:stdio, :line)]
          send(test, MuonTrap.cmd("sleep", ["1000"], opts))
        end)

      assert Trees.eventually(fn -> Trees.carrying(token) != [] end)
      Process.exit(caller, :oops)
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    end

    @tag :cgroup
    test "of cgroups, with limits by the names of v1" do
      if Cgroups.offers?(["memory", "cpu"]) do
        base = [cgroup_base: Cgroups.base()]
        opts = [cgroup_controllers: ["cpu"]] ++ base
        assert MuonTrap.cmd("echo", ["hello"], opts) == {"hello\n", 0}

        sets = [{"memory", "memory.limit_in_bytes", "268435456"}]
        opts = [cgroup_controllers: ["memory"], cgroup_sets: sets] ++ base
        assert MuonTrap.cmd("echo", ["hello"], opts) == {"hello\n", 0}

        # The quota is a number there.
        sets = [{"cpu", "cpu.cfs_period_us", "100000"}, {"cpu", "cpu.cfs_quota_us", 50_000}]
        opts = [cgroup_controllers: ["cpu"], cgroup_sets: sets] ++ base
        assert MuonTrap.cmd("echo", ["hello"], opts) == {"hello\n", 0}
      end
    end

    @tag :cgroup
    test "of cgroups, with limits by key" do
      if Cgroups.offers?(["memory", "cpu", "pids"]) do
        for config <- [
              %{cpu_weight: 100},
              %{memory_max: 268_435_456},
              %{cpu_max: {50_000, 100_000}},
              %{pids_max: 200}
            ] do
          opts = [cgroup_base: Cgroups.base(), cgroup: config]
          assert MuonTrap.cmd("echo", ["hello"], opts) == {"hello\n", 0}
        end
      end
    end

    @tag :cgroup
    test "of a limit that is too low for any program: nothing comes, and the status is not 0" do
      if Cgroups.offers?(["memory"]) do
        path = Path.join(Cgroups.base(), "test")
        sets = [{"memory", "memory.limit_in_bytes", "8192"}]
        opts = [cgroup_controllers: ["memory"], cgroup_path: path, cgroup_sets: sets]

        log =
          ExUnit.CaptureLog.capture_log(fn ->
            assert {"", status} = MuonTrap.cmd("echo", ["hello"], opts)
            assert status != 0
          end)

        assert log =~ "is 8192 bytes"
      end
    end
  end

  describe "options of System.cmd/3" do
    test "are all there" do
      opts = [
        into: [],
        cd: "/",
        env: %{"A" => "1", "HOME" => nil},
        arg0: "name",
        stderr_to_stdout: true,
        parallelism: true
      ]

      script = "echo $0 $A ${HOME-unset} $(pwd); echo err >&2"

      for opts <- [opts, Map.new(opts)] do
        {chunks, 0} = MuonTrap.cmd("sh", ["-c", script], opts)
        assert IO.iodata_to_binary(chunks) == "name 1 unset /\nerr\n"
      end
    end

    test "for the environment take an empty value as System.cmd/3 does" do
      env = [{"HOME", ""}, {"NEW", ""}]
      args = ["-c", "echo ${HOME-unset} ${NEW-unset}"]
      assert MuonTrap.cmd("sh", args, env: env) == System.cmd("sh", args, env: env)
    end

    test "find the program as it does" do
      assert catch_error(MuonTrap.cmd("no-such-program", [])) == :enoent
      assert MuonTrap.cmd(System.find_executable("echo"), ["a"], arg0: "b") == {"a\n", 0}
    end

    test "refuse what it refuses, in its words" do
      null = ~r"cannot execute MuonTrap.cmd/3 for program with null byte"
      assert_raise ArgumentError, null, fn -> MuonTrap.cmd("null\0byte", []) end
      list = ~r"all arguments for MuonTrap.cmd/3 must be binaries"
      assert_raise ArgumentError, list, fn -> MuonTrap.cmd("ls", [~c"/"]) end
    end
  end

  describe "options of its own" do
    test "capture standard error alone" do
      opts = [capture_stderr_only: true]
      assert sh("echo out; echo err >&2", opts) == {"err\n", 0}
      assert sh("echo out; echo err >&2", [stderr_to_stdout: true] ++ opts) == {"err\n", 0}
    end

    test "give a program time between SIGTERM and SIGKILL" do
      deaf = "trap '' TERM; echo ready; while :; do sleep 0.01; done"

      for delay_ms <- [0, 1, 100] do
        {us, {_output, :timeout}} =
          :timer.tc(fn -> sh(deaf, timeout: 200, delay_to_sigkill: delay_ms) end)

        assert us >= (200 + delay_ms) * 1000
      end

      polite = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.01; done"

      within_time(fn timeout_ms ->
        opts = [timeout: timeout_ms, delay_to_sigkill: 60_000]

        case sh(polite, opts) do
          {"ready\nbye\n", :timeout} -> true
          {"", :timeout} -> nil
        end
      end)
    end

    test "run as another user and group" do
      if Cgroups.root?() do
        ids = "id -u; id -g; id -G"
        assert {"12345\n", 0} = sh("id -u", uid: 12_345, gid: 54_321)
        assert {"12345\n54321\n54321\n", 0} = sh(ids, uid: "12345", gid: 54_321, groups: [])
        assert {"54321 7 9\n", 0} = sh("id -G", uid: 12_345, gid: 54_321, groups: [7, "9"])
        assert {"nobody\n", 0} = sh("id -un", uid: "nobody")
      else
        Cgroups.announce("root is needed to run as another user")
      end

      for opts <- [[uid: 0], [uid: "root"], [gid: 0], [gid: "root"]],
          do: assert_raise(ArgumentError, fn -> sh("true", opts) end)
    end

    test "leave no message and eat none" do
      message = {:timeout, make_ref()}
      Process.send_after(self(), message, 10)
      Process.send_after(self(), :other, 10)
      assert {_output, :timeout} = MuonTrap.cmd("sleep", ["1000"], timeout: 200)
      assert_receive ^message
      assert_receive :other
      assert {"", 143} = sh("kill -TERM $$", timeout: 60_000)
      refute_received _any
    end
  end

  describe "output" do
    test "arrives whole however small the window is" do
      line = String.duplicate("0123456789", 8)

      for window <- [1, 63, 10_240] do
        opts = [stdio_window: window, stderr_to_stdout: window == 63]
        {output, 0} = sh("for i in $(seq 500); do echo #{line}; done", opts)
        assert output == String.duplicate(line <> "\n", 500)
      end
    end

    test "of 200 programs that end as they write reaches 200 callers" do
      script = "printf '%01000d' 0"
      callers = for _ <- 1..200, do: spawn_monitor(fn -> exit(sh(script)) end)
      expected = {String.duplicate("0", 1000), 0}

      for {pid, ref} <- callers,
          do: assert_receive({:DOWN, ^ref, :process, ^pid, ^expected})
    end

    test "of a program that ends by a signal comes with 128 and its number" do
      for {signal, status} <- [TERM: 143, USR1: 138, KILL: 137],
          do: assert(sh("kill -#{signal} $$") == {"", status})
    end
  end

  describe "containment" do
    @tag :cgroup
    test "in a cgroup ends what forks without end, and removes the group" do
      if Cgroups.offers?(["cpu"]) do
        path = Path.join(Cgroups.base(), "forks")
        opts = [cgroup_path: path, cgroup_controllers: ["cpu"], timeout: 300, delay_to_sigkill: 1]
        token = Trees.token()
        env = [env: [{"MUONTRAP_TOKEN", token}]]
        assert {_output, :timeout} = MuonTrap.cmd(program("fork_bomb"), ["20"], opts ++ env)
        assert Trees.carrying(token) == []
        assert Enum.filter(Cgroups.groups(), &String.ends_with?(&1, path)) == []
      end
    end
  end
end
