# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.TelemetryTest do
  @moduledoc "The events, as a module hears them that stands in for the library of that name."

  use MuonTrap.Case

  import ExUnit.CaptureLog

  alias MuonTrap.{Command, Daemon, Error, Trees}

  @started [:muontrap, :command, :start]
  @stopped [:muontrap, :command, :stop]
  @failed [:muontrap, :command, :exception]
  @left [:muontrap, :command, :leftover]

  setup do
    false = Code.ensure_loaded?(:telemetry)
    :ok
  end

  # Until the test is over, `:telemetry.execute/3` does this.
  defp stand_in(body) do
    Module.create(:telemetry, body, Macro.Env.location(__ENV__))

    on_exit(&remove/0)
  end

  defp remove do
    :code.delete(:telemetry)
    :code.purge(:telemetry)
  end

  defp listen do
    Process.register(self(), __MODULE__)

    stand_in(
      quote do
        def execute(event, measurements, metadata),
          do: send(unquote(__MODULE__), {event, measurements, metadata})
      end
    )
  end

  # What was told so far, in its order.
  defp events do
    receive do
      {[:muontrap | _name], _measurements, _metadata} = event -> [event | events()]
    after
      0 -> []
    end
  end

  test "a command is told of at its start and at its end" do
    listen()
    owner = self()
    script = "echo out; echo err >&2; exit 3"

    result =
      MuonTrap.run("sh", ["-c", script], capture_stderr: true, env: [{"SECRET", "hunter2"}])

    assert [{@started, at_start, start}, {@stopped, at_stop, stop}] = all = events()
    assert %{command: "sh", args: ["-c", ^script], owner: ^owner} = start
    assert Map.take(stop, Map.keys(start)) == start
    assert is_reference(start.telemetry_span_context)
    assert at_stop.monotonic_time == at_start.monotonic_time + at_stop.duration
    assert_in_delta at_start.system_time, System.system_time(), 60_000_000_000

    duration_ms = System.convert_time_unit(at_stop.duration, :native, :millisecond)
    assert duration_ms in 0..result.duration_ms
    assert %{stdout_bytes: 4, stderr_bytes: 4} = at_stop
    assert Map.take(at_stop, Map.keys(result.usage)) == result.usage

    assert %{status: {:exited, 3}, exit_status: 3, oom_killed: false, stopped: false} = stop
    assert {stop.survivors, stop.leftovers, stop.os_pid} == {[], [], result.os_pid}
    refute inspect(all, limit: :infinity) =~ "hunter2"
  end

  test "what is stopped is told of as stopped, however it is stopped" do
    listen()
    MuonTrap.cmd("sleep", ["1000"], timeout: 50)
    assert [{@started, _, _}, {@stopped, _, stop}] = events()
    assert %{stopped: true, status: {:signaled, :sigterm}, exit_status: 143} = stop

    into = %MuonTrapTest.Sink{fun: fn _acc, _element -> raise "no more" end}
    catch_error(MuonTrap.cmd("yes", [], into: into))
    assert [{@started, _, _}, {@stopped, _, %{stopped: true}}] = events()

    {:ok, daemon} = Daemon.start_link("sleep", ["1000"])
    assert [{@started, _, %{command: "sleep", owner: ^daemon}}] = events()
    GenServer.stop(daemon)
    assert [{@stopped, _, %{owner: ^daemon, stopped: true}}] = events()
  end

  test "a Daemon whose program ends is told of" do
    listen()
    Process.flag(:trap_exit, true)
    {:ok, daemon} = Daemon.start_link("sh", ["-c", "kill -KILL $$"])
    assert_receive {@stopped, _, %{owner: ^daemon, status: {:signaled, :sigkill}}}
    assert_receive {:EXIT, ^daemon, _reason}
    assert [{@started, _, _}] = events()
  end

  test "a start that fails is told of with the error, wherever it fails" do
    listen()

    for {run, step, reason} <- [
          {fn -> MuonTrap.cmd("no-such-program", []) end, :lookup, :enoent},
          {fn -> MuonTrap.run("true", [], uid: "no-such-user") end, :setuid, :unknown_user}
        ] do
      catch_error(run.())
      assert [{@started, _, start}, {@failed, measurements, failed}] = events()
      assert %{kind: :error, stacktrace: [], survivors: []} = failed
      assert %Error{step: ^step, reason: ^reason} = failed.reason
      assert failed.telemetry_span_context == start.telemetry_span_context
      assert measurements.duration > 0
    end

    # A mistake in the call is no start.
    catch_error(MuonTrap.cmd("true", [], no_such_option: 1))
    assert events() == []

    Process.flag(:trap_exit, true)
    assert {:error, %Error{} = error} = Daemon.start_link("/etc/passwd", [])
    assert [{@started, _, _}, {@failed, _, %{reason: ^error}}] = events()
  end

  test "a shim that is killed is told of" do
    listen()
    {:ok, daemon} = Daemon.start_link("sleep", ["1000"])
    Process.flag(:trap_exit, true)
    Trees.kill(daemon |> Daemon.os_pid() |> Trees.parent(), "KILL")
    assert_receive {@failed, _, %{reason: error, survivors: []}}
    assert %Error{step: :shim, reason: :died} = error
    assert_receive {:EXIT, ^daemon, ^error}
    assert [{@started, _, _}] = events()
  end

  test "what is left of a command is told of" do
    listen()
    command = %Command{ref: nil, grace_ms: 0, program: "server", args: ["-v"], since: 0}

    log =
      capture_log(fn -> Command.report(command, {:lost, {:shim, "", :died}, [4711, 4712]}) end)

    assert log =~ "[4711, 4712]"

    assert [{@left, %{survivors: 2, leftovers: 1}, left}, {@failed, _, failed}] = events()
    assert %{command: "server", args: ["-v"], survivors: [4711, 4712]} = left
    assert [%Error{step: :shim, reason: :died}] = left.leftovers
    assert %{survivors: [4711, 4712]} = failed
  end

  @commands [:muontrap, :commands]

  defp measured do
    assert MuonTrap.Telemetry.measure() == :ok
    assert_received {@commands, measurements, metadata} when metadata == %{}
    measurements
  end

  test "what there is in all can be measured" do
    listen()
    before = measured()

    assert Map.keys(before) |> Enum.sort() ==
             ~w(descriptors helpers live orphaned output_bytes ready_helpers
      stopping unacknowledged_bytes)a

    assert %{live: 0, helpers: 0, stopping: 0, orphaned: 0, unacknowledged_bytes: 0} = before

    script = "echo 012345678; exec sleep 1000"
    {:ok, daemon} = Daemon.start_link("sh", ["-c", script], log_output: :debug)

    read? = fn -> MuonTrap.Nif.totals().output_bytes >= before.output_bytes + 10 end
    assert Trees.eventually(read?)
    # Its start as well as its output.
    _running = Daemon.os_pid(daemon)
    during = measured()
    assert %{live: 1, helpers: 1, stopping: 0, orphaned: 0} = during
    assert during.output_bytes == before.output_bytes + 10

    # It takes a socket at least, and a ready shim took one as well.
    in_use = fn at -> at.descriptors - at.ready_helpers end
    assert in_use.(during) > in_use.(before)
    assert during.descriptors <= length(File.ls!("/proc/self/fd"))

    assert [{@started, _, _}] = events()
    GenServer.stop(daemon)
    assert [{@stopped, _, _}] = events()
    finally = measured()
    assert %{live: 0, helpers: 0} = finally
    assert in_use.(finally) == in_use.(before)
    # Those of commands that are over stay.
    assert finally.output_bytes == during.output_bytes
  end

  test "nothing is told to a library whose application is loaded and does not run" do
    listen()
    :ok = :application.load({:application, :telemetry, [vsn: ~c"1.3.0", modules: []]})
    on_exit(fn -> Application.unload(:telemetry) end)
    assert {"", 0} = MuonTrap.cmd("true", [])
    assert MuonTrap.Telemetry.measure() == :ok
    assert events() == []

    # A module of that name without an application is taken at its word.
    :ok = Application.unload(:telemetry)
    assert {"", 0} = MuonTrap.cmd("true", [])
    assert [{@started, _, _}, {@stopped, _, _}] = events()
  end

  test "nothing is measured where nobody listens" do
    assert MuonTrap.Telemetry.measure() == :ok
    refute_receive _
  end

  test "what goes wrong in there does no harm" do
    Process.flag(:trap_exit, true)

    for body <- [
          quote(do: raise("no telemetry today")),
          quote(do: exit(:normal)),
          quote(do: throw(:it))
        ] do
      stand_in(quote(do: def(execute(_event, _measurements, _metadata), do: unquote(body))))

      log =
        capture_log(fn ->
          assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
          assert {"", :timeout} = MuonTrap.cmd("sleep", ["1000"], timeout: 50)
          assert_raise ErlangError, fn -> MuonTrap.cmd("no-such-program", []) end
          {:ok, daemon} = Daemon.start_link("true", [])
          assert_receive {:EXIT, ^daemon, :normal}
        end)

      assert log =~ "muontrap lost a telemetry event: "
      remove()
    end

    refute_received {:muontrap, _, _}
  end
end
