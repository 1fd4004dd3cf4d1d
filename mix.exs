# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("mix/native_compiler.exs", __DIR__)

defmodule MuonTrap.MixProject do
  use Mix.Project

  @version "1.9.0"

  def project do
    [
      app: :muontrap,
      version: @version,
      elixir: "~> 1.14",
      description: "Run OS programs whose whole process tree ends with their owner",
      compilers: [:muontrap_native | Mix.compilers()],
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      # Of mix muontrap.checksum alone.
      xref: [exclude: [:crypto]],
      deps: deps(Mix.env()),
      docs: docs(),
      package: package()
    ]
  end

  def application do
    [
      # Started before this one, where there is one. Mix leaves it out before Elixir 1.15.
      extra_applications: [:logger, telemetry: :optional],
      mod: {MuonTrap.Application, []}
    ]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  # Nothing is needed to build, test or use the library.
  defp deps(:docs), do: [{:ex_doc, "~> 0.31", runtime: false}]
  defp deps(_env), do: []

  defp docs do
    [
      main: "readme",
      source_ref: "v#{@version}",
      extras: ["README.md", "CHANGELOG.md" | Path.wildcard("guides/*.md")]
    ]
  end

  defp package do
    [
      licenses: ["Apache-2.0"],
      links: %{"Upstream MuonTrap" => "https://github.com/fhunleth/muontrap"},
      # Cargo loads no workspace with a member missing, so all of native/ goes along.
      files: [
        "lib",
        "src",
        "mix",
        "mix.exs",
        "config",
        "native/Cargo.toml",
        "native/Cargo.lock",
        "native/*/Cargo.toml",
        "native/*/build.rs",
        "native/*/src",
        "guides",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "LICENSES",
        "REUSE.toml"
        # Written when a release is made, see `mix muontrap.checksum`.
        | Path.wildcard("checksum.exs")
      ]
    ]
  end
end
