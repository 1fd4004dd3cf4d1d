# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.GuideTest do
  use ExUnit.Case, async: true

  alias MuonTrap.Options

  @guide File.read!("guides/cgroups.md")

  test "the guide has the table of keys as it is" do
    assert @guide =~ MuonTrap.Cgroup.Keys.docs()
  end

  test "the options of the guide's examples are taken" do
    examples = Regex.scan(~r/^    MuonTrap\.cmd\((.*?)^    \)/ms, @guide, capture: :all_but_first)
    assert length(examples) == 2

    for [example] <- examples do
      {[_program, _args | opts], _bindings} = Code.eval_string("[" <> example <> "]")
      assert %{cgroup_base: "mycgroup"} = Options.validate!(:cmd, "true", [], opts)
    end
  end
end
