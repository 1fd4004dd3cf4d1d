# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Kept do
  @moduledoc false
  # All options of a Daemon, for the starts of its program and the commands that stop it.
  #
  # They are in a table that nobody else can read: what the state of the Daemon holds of it shows nothing of the
  # environment and the input. That holds for a function that returns them as well, but that is of no use any more once
  # the code that made it is purged, after a hot upgrade.

  alias MuonTrap.Options

  @type t :: :ets.tid()

  @doc "Keeps them until the calling process ends."
  @spec new(Options.t()) :: t()
  def new(options), do: put(:ets.new(__MODULE__, [:private]), options)

  @doc "Keeps these instead."
  @spec put(t(), Options.t()) :: t()
  def put(table, options) do
    :ets.insert(table, {:options, options})
    table
  end

  @doc "Keeps them no longer."
  @spec drop(t()) :: nil
  def drop(table) do
    :ets.delete(table)
    nil
  end

  @doc "Returns them."
  @spec get(t()) :: Options.t()
  def get(table), do: :ets.lookup_element(table, :options, 2)
end
