# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# Consolidated protocols take no new implementation.
Code.delete_path(Mix.Project.consolidation_path())
:code.purge(Collectable)
:code.delete(Collectable)

defmodule Bench.Nowhere do
  @moduledoc "Takes output and forgets it."
  defstruct []

  defimpl Collectable do
    def into(nowhere), do: {nowhere, fn nowhere, _command -> nowhere end}
  end
end
