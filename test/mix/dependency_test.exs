# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DependencyTest do
  @moduledoc "Where upstream is a dependency already, of a project or of another one of its dependencies."

  use ExUnit.Case, async: false

  import MuonTrap.Builds

  @moduletag :build
  @moduletag timeout: 300_000

  test "its version is one that dependencies on upstream ask for" do
    version = :muontrap |> Application.spec(:vsn) |> to_string()

    for requirement <- ["~> 1.0", "~> 1.7", "~> 1.8", "~> 1.0 or ~> 0.6", ">= 1.5.0"] do
      assert Version.match?(version, requirement), requirement
    end
  end

  # Without Hex, which would ask for itself: the other one says where muontrap is as well.
  test "one line takes the place of what another dependency asks for" do
    asked = [{:muontrap, "~> 1.7", path: source()}]
    tmp = folder()
    hello = ~S|  def hello, do: MuonTrap.cmd("echo", ["hello"])|
    other = project(tmp, :other, asked, hello)
    overriding = [{:other, path: other}, {:muontrap, path: source(), override: true}]
    app = project(tmp, :app, overriding)
    # What was built for the tests that run now.
    prebuilt = [env: [{"MUONTRAP_NATIVE_PREBUILT", Application.app_dir(:muontrap, "priv")}]]

    assert {output, 0} = mix(["run", "-e", "IO.inspect(Other.hello())"], app, prebuilt)
    assert output =~ ~S({"hello\n", 0})
    assert {output, 0} = mix(["deps"], app, prebuilt)
    assert output =~ ~r/^\* muontrap 1\.9\.0 /m
    refute output =~ "mix deps.get"

    # The same as a requirement of the project itself, which Mix checks against the version.
    app = project(tmp, :asking, asked)
    assert {_output, 0} = mix(["deps.loadpaths"], app, prebuilt)
    app = project(tmp, :asking_too_much, [{:muontrap, "~> 2.0", path: source()}])
    assert {output, 1} = mix(["deps.loadpaths"], app, prebuilt)
    assert output =~ "1.9.0"
  end

  defp project(tmp, app, deps, code \\ "") do
    module = Macro.camelize("#{app}")
    folder = Path.join(tmp, "#{app}")
    File.mkdir_p!(Path.join(folder, "lib"))
    File.write!(Path.join(folder, "lib/#{app}.ex"), "defmodule #{module} do\n#{code}\nend\n")

    File.write!(Path.join(folder, "mix.exs"), """
    defmodule #{module}#{System.unique_integer([:positive])}.MixProject do
      use Mix.Project

      def project do
        [app: #{inspect(app)}, version: "0.1.0", deps: #{inspect(deps)}]
      end
    end
    """)

    folder
  end
end
