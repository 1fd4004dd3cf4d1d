# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrapTest.Sink do
  @moduledoc false
  defstruct [:fun]

  defimpl Collectable do
    def into(%{fun: fun}), do: {[], fun}
  end
end
