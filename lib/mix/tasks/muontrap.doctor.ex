# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Mix.Tasks.Muontrap.Doctor do
  @shortdoc "Says what muontrap lacks on this machine, and what mends it"

  @moduledoc """
  Says what this machine, user and installation offer to muontrap, what they lack, and what mends that.

      mix muontrap.doctor [--json] [--strict]

  `MuonTrap.Doctor` lists the checks, and says what `ok`, `degraded` and `missing` mean. The project is compiled and its
  configuration read, but no application is started.

    * `--json` - as JSON on one object, for programs
    * `--strict` - what is degraded is a failure, too

  The exit status is 0 if commands run and end as promised, and 1 if something is missing, or with `--strict`
  degraded. In a release, where there is no Mix: `bin/my_app eval "MuonTrap.doctor()"`.
  """

  use Mix.Task

  alias MuonTrap.Doctor

  @requirements ["app.config"]

  @impl Mix.Task
  def run(args) do
    {options, _arguments} = OptionParser.parse!(args, strict: [json: :boolean, strict: :boolean])
    findings = Doctor.examine()

    IO.write(if options[:json], do: Doctor.json(findings), else: Doctor.text(findings, columns()))

    bad = if options[:strict], do: [:degraded, :missing], else: [:missing]
    if Doctor.overall(findings) in bad, do: exit({:shutdown, 1})
  end

  defp columns do
    case :io.columns() do
      {:ok, columns} -> columns
      {:error, _no_terminal} -> 100
    end
  end
end
