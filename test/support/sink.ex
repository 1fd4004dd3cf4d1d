# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrapTest.Sink do
  @moduledoc false
  defstruct [:fun, acc: []]

  defimpl Collectable do
    def into(%{fun: fun, acc: acc}), do: {acc, fun}
  end
end
