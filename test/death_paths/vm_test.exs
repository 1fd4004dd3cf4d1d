# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# Every way in which a VM ends, with a tree of each shape in it, some of them owned by sessions, with each mechanism,
# and the VM as a child and as the first process of a PID namespace. One VM is ended for all the shapes of a module.

alias MuonTrap.{Cgroups, Forms, Leftovers, Trees, VMDeath}

deaths =
  for place <- [:child, :first],
      mechanism <- Cgroups.mechanisms(),
      death <- VMDeath.deaths(place, mechanism),
      do: {place, mechanism, death}

for {place, mechanism, death} <- MuonTrap.Case.part(deaths) do
  name = Enum.map_join(["vm", place, death, mechanism], "_", &to_string/1) |> Macro.camelize()
  where = if place == :first, do: " as process 1", else: ""

  defmodule Module.concat(MuonTrap.DeathPaths, name <> "Test") do
    use MuonTrap.Case

    @moduletag :death_paths
    @moduletag place: place, death: death, mechanism: mechanism
    if mechanism != :none, do: @moduletag(:cgroup)

    setup_all do
      Leftovers.begin(inspect(__MODULE__))
      %{left: VMDeath.observe(unquote(death), unquote(mechanism), unquote(place))}
    end

    for shape <-
          Trees.shapes() ++
            Trees.shapes_on_terminal() ++
            Keyword.keys(VMDeath.of_sessions()) ++ Forms.forms() do
      @tag shape: shape
      test "#{shape} is gone when the VM#{where} ends by #{death}, with #{mechanism}", cell do
        if cell.left do
          refute cell.shape in cell.left.missing
          assert Map.get(cell.left.carrying, cell.shape, []) == []
        end
      end
    end

    test "no helper and no cgroup is left then, and nobody else is touched", %{left: left} do
      if left, do: assert(%{helpers: [], listeners: [], groups: [], control: true} = left)
    end
  end
end
