# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.EndTest do
  @moduledoc "What is logged of a program's end, and whom Daemons that end at once still answer."

  use MuonTrap.Case

  import ExUnit.CaptureLog
  import MuonTrap.Daemons

  alias MuonTrap.{Cgroups, Daemon}

  setup :trap_exits

  defp log_of(args, opts \\ []) do
    capture_log(
      [format: "$level $metadata$message\n", metadata: [:muontrap_args, :colour]],
      fn ->
        {:ok, pid} = Daemon.start_link("sh", args, opts)
        stopped(pid)
      end
    )
  end

  describe "the end of a program" do
    test "is logged with its status, a signal by name, and the metadata of the Daemon" do
      success = "info muontrap_args=-c exit 0 sh: Process exited successfully\n"
      assert log_of(["-c", "exit 0"]) == success

      failure =
        ~r/^error muontrap_args=-c exit 3 sh: Process exited with status 3, pid \d+, after \d+ ms$/m

      assert log_of(["-c", "exit 3"]) =~ failure
      killed = ~r/^.*sh: Process exited with status 137 \(SIGKILL\), pid \d+, after \d+ ms$/m
      assert log_of(["-c", "kill -KILL $$"]) =~ killed
      assert log_of(["-c", "kill -34 $$"]) =~ "status 162 (signal 34), pid"
    end

    test "is logged for those who have a logger_fun, too" do
      log = log_of(["-c", "exit 3"], logger_fun: to_self(), logger_metadata: [colour: :red])

      assert log =~
               "error muontrap_args=-c exit 3 colour=red sh: Process exited with status 3, pid"
    end

    test "says when the kernel has killed it for its memory" do
      if Cgroups.offers?(["memory"]) do
        opts = [cgroup_base: Cgroups.base(), cgroup: %{memory_max: 4_194_304, memory_swap_max: 0}]
        opts = if swap?(), do: opts, else: put_in(opts[:cgroup], %{memory_max: 4_194_304})
        log = log_of(["-c", "head -c 100000000 /dev/zero | tail; kill -KILL $$"], opts)
        assert log =~ "status 137 (SIGKILL, out of memory), pid"
      end
    end

    test "is not logged when the Daemon is stopped" do
      log =
        capture_log(fn ->
          {:ok, pid} = Daemon.start_link("sleep", ["1000"])
          GenServer.stop(pid)
        end)

      refute log =~ "exited"
    end
  end

  describe "a Daemon whose program ends at once" do
    test "still answers with the id that the program had" do
      for _ <- 1..50 do
        {:ok, pid} = Daemon.start_link("true", [])
        os_pid = Daemon.os_pid(pid)
        assert is_integer(os_pid)
        assert %{output_byte_count: 0} = Daemon.statistics(pid)
        assert stopped(pid) == :normal
      end
    end

    test "can be stopped meanwhile" do
      {:ok, pid} = Daemon.start_link("true", [])
      assert GenServer.stop(pid, :shutdown) == :ok
      assert stopped(pid) in [:shutdown, :normal]
    end
  end

  describe "Logger" do
    setup do
      on_exit(fn ->
        Logger.delete_module_level(Daemon)
        Logger.delete_application_level(:muontrap)
      end)
    end

    test "levels of the module and of the application hold for what is logged" do
      lines = fn ->
        capture_log(fn ->
          {:ok, pid} = Daemon.start_link("echo", ["a line"], log_output: :info)
          stopped(pid)
        end)
      end

      assert lines.() =~ "a line"
      Logger.put_module_level(Daemon, :error)
      assert lines.() == ""
      Logger.delete_module_level(Daemon)
      Logger.put_application_level(:muontrap, :error)
      assert lines.() == ""
      Logger.delete_application_level(:muontrap)
      assert lines.() =~ "a line"
    end

    test "metadata of each event says where it comes from and whose it is" do
      test = self()

      handler = :"muontrap_test_#{System.unique_integer([:positive])}"
      :ok = :logger.add_handler(handler, __MODULE__, %{config: test})
      on_exit(fn -> :logger.remove_handler(handler) end)

      {:ok, pid} =
        Daemon.start_link("sh", ["-c", "echo line; exit 1"],
          log_output: :info,
          logger_metadata: [colour: :red, test: test]
        )

      stopped(pid)

      for level <- [:info, :error] do
        assert_receive {:logged, %{level: ^level, meta: %{test: ^test} = meta}}
        assert %{application: :muontrap, mfa: {Daemon, _name, _arity}, line: _line} = meta
        assert %{file: _file, pid: ^pid, colour: :red, muontrap_cmd: "sh"} = meta
        assert meta.muontrap_args == "-c echo line; exit 1"
        assert meta.muontrap_argv == ["-c", "echo line; exit 1"]
      end
    end

    test "metadata is that of the process in which logger_fun and log_transform run" do
      test = self()

      for {key, more} <- [logger_fun: [], log_transform: [log_output: :debug]] do
        fun = fn line ->
          send(test, {:metadata, Logger.metadata()})
          line
        end

        opts = [{key, fun}, {:logger_metadata, colour: :red, muontrap_cmd: "mine"}] ++ more
        {:ok, pid} = Daemon.start_link("echo", ["a", "b"], opts)
        assert_receive {:metadata, metadata}
        expected = [colour: :red, muontrap_args: "a b", muontrap_argv: ["a", "b"]]
        assert Enum.sort(metadata) == Enum.sort([muontrap_cmd: "echo"] ++ expected)
        stopped(pid)
      end
    end
  end

  # A handler of :logger.
  def log(event, %{config: test}), do: send(test, {:logged, event})

  defp swap? do
    case Cgroups.layout() do
      %{v1: v1} when v1 != [] ->
        Enum.any?(v1, &File.exists?(Path.join(&1.mount, "memory.memsw.limit_in_bytes")))

      _v2 ->
        true
    end
  end
end
