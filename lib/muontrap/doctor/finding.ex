# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor.Finding do
  @moduledoc false
  # What a check has found, before it has the check's name.

  @type t :: %{
          status: MuonTrap.Doctor.status(),
          found: String.t(),
          consequence: String.t() | nil,
          mend: String.t() | nil
        }

  def ok(found), do: %{status: :ok, found: found, consequence: nil, mend: nil}

  def degraded(found, consequence, mend: mend),
    do: %{status: :degraded, found: found, consequence: consequence, mend: mend}

  def missing(found, consequence, mend: mend),
    do: %{status: :missing, found: found, consequence: consequence, mend: mend}

  @doc "For what another check, which has found something missing, keeps from being looked at."
  def unknown(found) do
    degraded(found, "nothing is known of it", mend: "mend what is missing, then ask again")
  end
end
