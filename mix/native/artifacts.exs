# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Build.Artifacts do
  @moduledoc false
  # What is installed to `priv`. A native part that is added gets a row here, and a line in the package's file
  # list only if its crate has files of another kind than the others.

  # `built` is the name that Cargo gives it, `installed` its name below `priv` and in an archive. The library is
  # loaded into the VM and shares its C library; programs are linked statically where that can be done.
  @table [
    %{
      package: "muontrap_nif",
      kind: :library,
      built: "libmuontrap_nif.so",
      installed: "muontrap_nif.so"
    },
    %{
      package: "muontrap_spawner",
      kind: :program,
      built: "muontrap_spawner",
      installed: "muontrap_spawner"
    },
    %{package: "muontrap_program", kind: :program, built: "muontrap", installed: "muontrap"}
  ]

  @test_package "muontrap_test_programs"
  @test_folder "test_programs"

  def all, do: @table
  def libraries, do: Enum.filter(@table, &(&1.kind == :library))
  def programs, do: Enum.filter(@table, &(&1.kind == :program))
  def names, do: Enum.map(@table, & &1.installed)

  @doc "Names below `priv` that are ours, to be taken away again."
  def owned, do: [@test_folder | names()]

  def test_package, do: @test_package

  @doc "The programs of the tests, as rows of the table."
  def test_programs(native) do
    for source <- Path.wildcard(Path.join(native, "test_programs/src/bin/*.rs")) do
      name = Path.basename(source, ".rs")
      %{package: @test_package, built: name, installed: Path.join(@test_folder, name)}
    end
  end
end
