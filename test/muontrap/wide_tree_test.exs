# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.WideTreeTest do
  @moduledoc """
  A program with many children, which are killed before anybody looks what is below them.
  """

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Command, Options, Trees}

  @children 40

  @trees %{
    "that have children and grandchildren" => """
    for _ in $(seq #{@children}); do
      sh -c '(sleep 1000 & wait) & wait' &
    done
    """,
    "and somebody who starts others without end" => """
    for _ in $(seq #{@children}); do sleep 1000 & done
    (while :; do (true &); done) &
    """,
    "and somebody below who starts others without end" => """
    for _ in $(seq #{@children}); do sleep 1000 & done
    for _ in $(seq 8); do sh -c '(while :; do (true &); done) & wait' & done
    """,
    "that others follow when they are gone" => """
    for _ in $(seq #{@children}); do
      (sleep 1000; exec sleep 1000) &
    done
    """
  }

  for {what, script} <- @trees, mechanism <- Cgroups.mechanisms() do
    if mechanism != :none, do: @tag(:cgroup)
    @tag script: script, mechanism: mechanism
    test "is gone when that is said, with children #{what}, with #{mechanism}", context do
      if Cgroups.provides?(context.mechanism) do
        token = Trees.token()

        opts =
          [delay_to_sigkill: 10, env: [{"MUONTRAP_TOKEN", token}]] ++
            Cgroups.contained_by(context.mechanism)

        options = Options.validate!(:cmd, "sh", ["-c", context.script <> "wait"], opts)
        {:ok, command} = Command.start(options, {:null, :null, :null})
        assert Trees.eventually(fn -> length(Trees.carrying(token)) > @children end)
        assert {:ended, %{survivors: [], leftovers: []}} = Command.abort(command)
        assert Trees.carrying(token) == []
      end
    end
  end
end
