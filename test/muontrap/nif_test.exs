# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.NifTest do
  @moduledoc "What becomes of commands when the code of the library is unloaded or loaded again."

  use MuonTrap.Case

  # In a VM of its own, whose code it can take away.
  defp in_a_vm(code) do
    ebin = Application.app_dir(:muontrap, "ebin")
    {output, status} = System.cmd("elixir", ["-pa", ebin, "-e", code], stderr_to_stdout: true)
    assert status == 0, output
    output
  end

  @start """
  parent = self()

  owner =
    spawn(fn ->
      command = MuonTrap.Trees.start(:new_session, "nif-test-#{System.pid()}", [])
      send(parent, :stands)
      receive(do: (:never -> command))
    end)

  receive(do: (:stands -> :ok))
  """

  @finish """
  {"again\\n", 0} = MuonTrap.cmd("echo", ["again"])
  [%{owner: ^owner}] = MuonTrap.list()
  Process.exit(owner, :kill)
  true = MuonTrap.Trees.eventually(fn -> MuonTrap.list() == [] end)
  IO.puts("done")
  """

  test "purging the module leaves the commands to their owners" do
    output =
      in_a_vm(@start <> ":code.delete(MuonTrap.Nif)\n:code.purge(MuonTrap.Nif)\n" <> @finish)

    assert output =~ "done"
  end

  test "compiling the module again, as IEx does, leaves the one that is loaded at work" do
    source = Path.expand("../../lib/muontrap/nif.ex", __DIR__)

    again = """
    Code.compiler_options(ignore_module_conflict: true)
    Code.compile_file(#{inspect(source)})
    """

    assert in_a_vm(@start <> again <> @finish) =~ "done"
  end

  test "two VMs of the same user do not meet" do
    code = @start <> @finish
    tasks = for _ <- 1..2, do: Task.async(fn -> in_a_vm(code) end)
    for output <- Task.await_many(tasks, :infinity), do: assert(output =~ "done")
  end
end
