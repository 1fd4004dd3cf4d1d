# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Fault do
  @moduledoc """
  A fault in one system call of the helpers, from outside: see `native/test_programs/src/bin/fault.rs`.
  """

  import ExUnit.Assertions

  alias MuonTrap.{Cgroups, Trees}

  @patience_ms 60_000

  @doc "Whether faults other than a kill can be injected; says so if not."
  @spec injects?() :: boolean()
  def injects? do
    :erlang.system_info(:system_architecture) |> List.to_string() =~ "x86_64" or
      Cgroups.announce("no fault can be injected on this architecture")
  end

  @doc "Has the calling process watch a spawner, and everything that it forks from now on."
  @spec watch(pos_integer(), :spawner | :shim | :program, String.t(), pos_integer(), String.t()) ::
          port()
  def watch(spawner, who, calls, nth, what) do
    args = ["#{spawner}", "#{who}", calls, "#{nth}", what]
    options = [:binary, :exit_status, line: 80, args: args]
    fault = Port.open({:spawn_executable, Trees.program("fault")}, options)
    assert_receive {^fault, {:data, {:eol, "ready"}}}, @patience_ms
    fault
  end

  @doc "Ends it. Whether it has hit."
  @spec hit?(port()) :: boolean()
  def hit?(fault) do
    send(fault, {self(), {:command, "end\n"}})
    assert_receive {^fault, {:data, {:eol, word}}}, @patience_ms
    assert_receive {^fault, {:exit_status, 0}}, @patience_ms
    word != "over"
  end
end
