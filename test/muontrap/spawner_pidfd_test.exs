# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.SpawnerPidfdTest do
  @moduledoc """
  The VM signals its spawner by a descriptor that the spawner has sent, not by one that it opened by number after the
  start: by then the number may be somebody else's.
  """

  use ExUnit.Case

  alias MuonTrap.{Cgroups, Nif, Trees}

  # The processes that the VM has pidfds of, see pidfd_open(2). A pidfd of a process that was reaped says -1.
  defp held do
    for name <- File.ls!("/proc/self/fdinfo"),
        {:ok, info} <- [File.read("/proc/self/fdinfo/#{name}")],
        [_all, pid] <- [Regex.run(~r/^Pid:\t(-?\d+)$/m, info)],
        do: String.to_integer(pid)
  end

  defp restart do
    Trees.kill(Nif.spawner_pid(), "KILL")
    assert Trees.eventually(fn -> Nif.spawner_pid() == nil end)
    assert {"", 0} = MuonTrap.cmd("true", [])
  end

  test "names the spawner and nobody else, after each of its deaths" do
    assert {"", 0} = MuonTrap.cmd("true", [])

    if Trees.eventually(fn -> held() == [Nif.spawner_pid()] end) ||
         Cgroups.announce("there are no pidfds") do
      for _ <- 1..5 do
        restart()
        assert Trees.eventually(fn -> held() == [Nif.spawner_pid()] end)
      end
    end
  end

  test "comes from the spawner itself" do
    if strace = System.find_executable("strace") || Cgroups.announce("there is no strace") do
      # A stand-in that has the spawner's own calls written down.
      directory = Path.join(System.tmp_dir!(), Trees.token())
      File.mkdir!(directory)
      on_exit(fn -> File.rm_rf!(directory) end)
      calls = Path.join(directory, "calls")
      spawner = Path.join(directory, "spawner")
      original = Application.app_dir(:muontrap, "priv/muontrap_spawner")

      File.write!(spawner, """
      #!/bin/sh
      exec #{strace} -qq -o #{calls} -e trace=pidfd_open,sendmsg #{original}
      """)

      File.chmod!(spawner, 0o755)

      # Before the native part is loaded.
      code = """
      Application.put_env(:muontrap, :spawner_path, #{inspect(spawner)})
      {"", 0} = MuonTrap.cmd("true", [])
      """

      args = ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", code]
      assert {"", 0} = System.cmd("elixir", args, stderr_to_stdout: true)

      assert Trees.eventually(fn ->
               File.read!(calls) =~ ~r/pidfd_open\((\d+), 0\).*\n.*SCM_RIGHTS/
             end)
    end
  end
end
