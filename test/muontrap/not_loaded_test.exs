# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.NotLoadedTest do
  @moduledoc """
  Without its native library muontrap says why and what mends it, and shows nobody what it was called with.
  """

  use ExUnit.Case, async: true

  alias MuonTrap.{Error, Native, Trees}

  @secret "s3cret-#{System.unique_integer([:positive])}"

  describe "an application" do
    test "does not start without the library, and says how to build it" do
      output = in_a_vm(app_without_library(), "Application.ensure_all_started(:muontrap)")
      assert output =~ "cannot call the native library: it is not loaded"
      assert output =~ "No such file or directory"
      assert output =~ "mix deps.compile muontrap --force"
    end

    test "does not start with a library of another machine" do
      app = app_without_library()
      File.write!(Path.join(app, "priv/muontrap_nif.so"), "no library at all, and long enough")
      output = in_a_vm(app, "Application.ensure_all_started(:muontrap)")
      assert output =~ "cannot call the native library: it is not loaded"
      assert output =~ ~r/file too short|invalid ELF header/
      assert output =~ "mix deps.compile muontrap --force"
    end
  end

  describe "nobody is shown environment, arguments and input" do
    # What cannot be loaded is seen at the call where the application was not started, or the module was purged.
    test "by a call without the library" do
      output =
        in_a_vm(app_without_library(), """
        call = fn name, call ->
          # Its end is in the log.
          {_pid, monitor} = spawn_monitor(fn -> call.() end)
          receive(do: ({:DOWN, ^monitor, _type, _from, _reason} -> :ok))
          try do
            call.()
          rescue
            error ->
              IO.puts(Exception.format(:error, error, __STACKTRACE__))
              IO.inspect({name, error.step, error.reason})
          end
        end

        opts = [env: [{"PASSWORD", "#{@secret}"}]]
        Process.flag(:trap_exit, true)
        call.(:cmd, fn -> MuonTrap.cmd("true", ["#{@secret}"], [input: "#{@secret}"] ++ opts) end)
        call.(:run, fn -> MuonTrap.run("true", ["#{@secret}"], opts) end)
        {:error, error} = MuonTrap.Daemon.start_link("true", ["#{@secret}"], opts)
        call.(:daemon, fn -> raise error end)
        call.(:write, fn -> MuonTrap.Native.write(make_ref(), "#{@secret}") end)
        """)

      for name <- [:cmd, :run, :daemon, :write],
          do: assert(output =~ "{#{inspect(name)}, :nif, :not_loaded}")

      refute output =~ @secret
    end

    test "by a call that the library refuses" do
      assert {:error, %Error{step: :nif, reason: :badarg}} =
               Native.start(make_ref(), %{env: @secret})

      {error, stack} = raised(fn -> Native.write(make_ref(), @secret) end)
      assert %Error{step: :nif} = error
      refute inspect({error, stack}) =~ @secret
      assert Exception.message(error) =~ "start it again"
    end

    test "by an error of the system" do
      for call <- [
            fn ->
              MuonTrap.cmd("/no/program", [@secret], env: [{"A", @secret}], input: @secret)
            end,
            fn -> MuonTrap.run("true", [@secret], cd: "/no/directory", env: [{"A", @secret}]) end,
            fn -> MuonTrap.cmd("true", [@secret], uid: "no-such-user", env: [{"A", @secret}]) end
          ] do
        {error, stack} = raised(call)
        refute inspect({error, stack}, limit: :infinity) =~ @secret
      end
    end
  end

  defp raised(call) do
    call.()
    flunk("nothing was raised")
  rescue
    error in ExUnit.AssertionError -> reraise error, __STACKTRACE__
    error -> {error, __STACKTRACE__}
  end

  defp app_without_library do
    folder = Path.join(System.tmp_dir!(), Trees.token())
    on_exit(fn -> File.rm_rf!(folder) end)
    app = Path.join(folder, "muontrap")
    File.mkdir_p!(Path.join(app, "priv"))
    File.cp_r!(Application.app_dir(:muontrap, "ebin"), Path.join(app, "ebin"))
    app
  end

  defp in_a_vm(app, code) do
    code =
      "result = (#{code}\n)\nIO.inspect(result, limit: :infinity, printable_limit: :infinity)"

    {output, _status} =
      System.cmd("elixir", ["-pa", Path.join(app, "ebin"), "-e", code], stderr_to_stdout: true)

    output
  end
end
