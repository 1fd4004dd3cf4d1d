# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("mix/native/build.exs", Path.expand("../..", __DIR__))

defmodule MuonTrap.Build.ProjectWithoutCryptoTest do
  @moduledoc "Archives in a project that names no application of OTP. Since Elixir 1.15 Mix takes the paths of all others away."

  use ExUnit.Case, async: true

  import MuonTrap.Builds

  alias MuonTrap.Build.Elf

  # Of the compiler alone: nothing else has to be compiled.
  @project """
  Code.require_file(#{inspect(Path.join(Path.expand("../..", __DIR__), "mix/native_compiler.exs"))})

  defmodule Bare.MixProject do
    use Mix.Project
    def project, do: [app: :bare, version: "1.2.3", compilers: [:muontrap_native]]
  end
  """

  test "an archive is listed, verified and taken" do
    tmp = folder()
    File.write!(Path.join(tmp, "mix.exs"), @project)
    archives = Path.join(tmp, "archives")
    File.mkdir_p!(archives)
    {:ok, elf} = Elf.parse(own_elf())
    {:ok, triple} = Elf.triple(elf)
    name = "muontrap-1.2.3-nif-2.15-#{triple}.tar.gz"

    files =
      for name <- ~w(muontrap muontrap_nif.so muontrap_spawner), do: {~c"#{name}", own_elf(name)}

    :ok = :erl_tar.create(to_charlist(Path.join(archives, name)), files, [:compressed])

    assert {output, 1} = mix(["compile"], tmp, env: [{"MUONTRAP_PRECOMPILED_DIR", archives}])
    assert output =~ "nothing tells the SHA-256"

    sum =
      :crypto.hash(:sha256, File.read!(Path.join(archives, name))) |> Base.encode16(case: :lower)

    File.write!(Path.join(archives, "checksum.exs"), inspect(%{url: nil, sha256: %{name => sum}}))

    assert {output, 0} = mix(["compile"], tmp, env: [{"MUONTRAP_PRECOMPILED_DIR", archives}])
    assert output =~ "took #{name}"
    # Nothing else is said: no warning about a part of OTP that is not there.
    refute output =~ "warning"
    assert [_installed] = Path.wildcard(Path.join(tmp, "_build/**/priv/muontrap_nif.so"))
  end
end
