# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ApplicationsTest do
  @moduledoc "Applications of one VM that run programs, and their ends."

  use MuonTrap.Case

  alias MuonTrap.{Counts, Daemon, Trees}

  @moduletag capture_log: true

  defmodule Tenant do
    @moduledoc false
    use Application

    @impl Application
    def start(_type, token) do
      children =
        for shape <- [:direct, :new_session, :double_fork, :sigterm_ignorer] do
          {command, args} = Trees.command(shape)
          opts = [env: [{"MUONTRAP_TOKEN", token}], ready: {:output, ~r/ready/}]
          Supervisor.child_spec({Daemon, [command, args, opts]}, id: shape)
        end

      Supervisor.start_link(children, strategy: :one_for_one)
    end
  end

  setup do: Counts.unchanged()

  defp start_tenant(name) do
    token = Trees.token()

    :ok =
      :application.load(
        {:application, name, mod: {Tenant, token}, applications: [:kernel, :stdlib, :muontrap]}
      )

    on_exit(fn ->
      Application.stop(name)
      Application.unload(name)
    end)

    :ok = Application.start(name)
    token
  end

  test "one that is stopped takes its programs with it, and those of the other go on" do
    [one, other] = for name <- [:muontrap_one, :muontrap_other], do: start_tenant(name)
    others = Trees.carrying(other)
    assert length(others) > 4
    assert Trees.carrying(one) != []

    for _ <- 1..3 do
      :ok = Application.stop(:muontrap_one)
      # Not eventually, but now.
      assert Trees.carrying(one) == []
      assert Trees.carrying(other) == others
      :ok = Application.start(:muontrap_one)
      assert length(Trees.carrying(one)) == length(others)
    end

    :ok = Application.stop(:muontrap_other)
    assert Trees.carrying(other) == []
    :ok = Application.stop(:muontrap_one)
    assert Trees.carrying(one) == []
  end

  # It has no process that the programs depend on.
  test "programs go on, and others start, while muontrap itself is stopped" do
    token = start_tenant(:muontrap_one)
    programs = Trees.carrying(token)
    on_exit(fn -> {:ok, _started} = Application.ensure_all_started(:muontrap) end)

    :ok = Application.stop(:muontrap)
    assert Trees.carrying(token) == programs
    assert {"x\n", 0} = MuonTrap.cmd("echo", ["x"])
    :ok = Application.stop(:muontrap_one)
    assert Trees.carrying(token) == []
  end
end
