# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Bench.Groups do
  @moduledoc "Cgroups, where this user may make any."

  @doc "The options for a command in a group with some controllers."
  @spec options([String.t()]) :: keyword()
  def options(controllers),
    do: [cgroup_base: "muontrap-bench-#{System.pid()}", cgroup_controllers: controllers]

  @doc "Why there can be no such group here, which is said on the terminal too; `nil` if there can."
  @spec refusal([String.t()]) :: String.t() | nil
  def refusal(controllers) do
    # Trying is the only way to know.
    {"", 0} = MuonTrap.cmd("true", [], options(controllers))
    nil
  rescue
    error in MuonTrap.Error ->
      why = Exception.message(error)
      IO.puts(:stderr, "not measured here: #{why}")
      why
  end
end
