# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Mix.Tasks.Muontrap.Doctor do
  @shortdoc "Says what is missing for muontrap on this machine, and how to fix it"

  @moduledoc """
  Checks this machine, user and installation: what is missing for muontrap, and how to fix it.

      mix muontrap.doctor [--json] [--strict]

  `MuonTrap.Doctor` lists the checks, and says what `ok`, `degraded` and `missing` mean. The task compiles the project
  and reads its configuration, but starts no application.

    * `--json` - prints one JSON object, for programs
    * `--strict` - fails also if something is degraded

  The exit status is 0 if commands run and end as promised. It is 1 if something is missing, or with `--strict` if
  something is degraded. A release has no Mix; there use `bin/my_app eval "MuonTrap.doctor()"`.
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
