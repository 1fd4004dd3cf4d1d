# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("mix/native_compiler.exs", __DIR__)

defmodule MuonTrap.MixProject do
  use Mix.Project

  @version "1.9.0"
  # Stands for the address of the repository, as in the guides.
  @source_url "https://example.org/muontrap"

  def project do
    [
      app: :muontrap,
      version: @version,
      elixir: "~> 1.14",
      description: "Run OS programs whose whole process tree ends with their owner",
      compilers: [:muontrap_native | Mix.compilers()],
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
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
      source_url: @source_url,
      source_ref: "v#{@version}",
      extras: extras(),
      groups_for_extras: [
        Start: ~r"README|getting-started|cheatsheet|livebooks/",
        Guides:
          ~r"guides/(?!installation|nerves|guarantees|architecture|performance|coming-from)",
        Install: ~r"installation|nerves",
        "How it works": ~r"guarantees|architecture|performance|RESULTS|SECURITY",
        "Coming from": ~r"coming-from",
        Project: ~r"CHANGELOG|CONTRIBUTING"
      ],
      groups_for_modules: [
        "Run programs": ~r"^MuonTrap(\.(Daemon|Result|Session|Stream))?$",
        Errors: ~r"Error$",
        Look: ~r"^MuonTrap\.(Doctor|LiveDashboard|Telemetry|Top)$",
        Configure: ~r"^MuonTrap\.(Cgroup|Defaults|Options|Signal)$",
        "Old code": ~r"^MuonTrap\.Port$"
      ],
      assets: %{"guides/assets" => "guides/assets", "bench/plots" => "bench/plots"},
      # They describe what is inside.
      skip_undefined_reference_warnings_on: [
        "guides/architecture.md",
        "guides/guarantees.md",
        "guides/coming-from-muontrap.md",
        "CHANGELOG.md"
      ]
    ]
  end

  # Whatever guides there are. The first come first in the sidebar.
  defp extras do
    names = ~w(getting-started.md cheatsheet.cheatmd supervision.md streams.md sessions.md)
    first = ["README.md" | Enum.map(names, &"guides/#{&1}")]
    others = Path.wildcard("{livebooks,guides}/*.{livemd,md,cheatmd}")
    results = Path.wildcard("bench/RESULTS.md")
    Enum.uniq(first ++ others ++ results ++ ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
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
        "livebooks",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "LICENSE",
        "LICENSES",
        "REUSE.toml"
        # Written when a release is made, see `mix muontrap.checksum`.
        | Path.wildcard("checksum.exs")
      ]
    ]
  end
end
