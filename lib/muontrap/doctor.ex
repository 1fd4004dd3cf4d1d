# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor do
  @moduledoc """
  Checks this machine, user and installation: what is missing for muontrap, and how to fix it.

  `MuonTrap.doctor/0` prints the findings, and so does `mix muontrap.doctor`; `examine/0` returns them. They also work
  if muontrap does not: if the native library cannot be loaded, or the application is not started. In a release:

      bin/my_app eval "MuonTrap.doctor()"
      bin/my_app rpc "MuonTrap.doctor()"

  The first checks a new VM of the user who calls it. The second checks the running VM, with its limits and its cgroup.

  ## Statuses

    * `:ok` - as it should be
    * `:degraded` - commands run and end as promised, but something else does not work or takes longer: an option is
      refused, there is room for few commands
    * `:missing` - commands do not run, or a promise does not hold

  ## Checks

  #{MuonTrap.Doctor.Checks.docs()}
  """

  alias MuonTrap.Doctor.{Checks, Facts, Report}

  @typedoc "How it is, from good to bad."
  @type status :: :ok | :degraded | :missing

  @typedoc "What one check has found: what that means and what mends it are nil where all is well."
  @type finding :: %{
          check: atom(),
          status: status(),
          found: String.t(),
          consequence: String.t() | nil,
          mend: String.t() | nil
        }

  @doc """
  Makes all checks and returns what they have found, in their order.

  Runs the helpers and one command that does nothing. Makes no cgroup and changes nothing. Takes some hundredths of a
  second, in which the calling process waits; after ten seconds a command that does not come back is an end of the
  trial. Never raises.
  """
  @spec examine() :: [finding()]
  def examine, do: Checks.run(Facts.gather())

  @doc "Returns the worst status of what was found."
  @spec overall([finding()]) :: status()
  def overall(findings) do
    Enum.find([:missing, :degraded], :ok, fn status ->
      Enum.any?(findings, &(&1.status == status))
    end)
  end

  @doc "Returns what was found as text for people, `columns` wide."
  @spec text([finding()], pos_integer()) :: iodata()
  defdelegate text(findings, columns \\ 100), to: Report

  @doc """
  Returns what was found as JSON: `version`, `status` and `checks`, a list of objects with the keys of `t:finding/0`.
  """
  @spec json([finding()]) :: iodata()
  def json(findings), do: Report.json(findings, overall(findings))
end
