# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Rebar3Test do
  @moduledoc "A project in Erlang that rebar3 builds: programs run, and end with their VM, in its release and its shell."

  # Projects are built, which the machine has one at a time of.
  use ExUnit.Case, async: false

  import MuonTrap.Builds

  alias MuonTrap.Cgroups

  @moduletag :build
  @moduletag timeout: 600_000

  @rebar_config """
  {deps, []}.
  {relx, [
      {release, {holder, "0.1.0"}, [holder]},
      {mode, prod},
      {include_erts, false},
      {extended_start_script, false},
      {vm_args, false}
  ]}.
  """

  @app """
  {application, holder, [
      {description, "Holds a program"},
      {vsn, "0.1.0"},
      {registered, []},
      {mod, {holder, []}},
      {applications, [kernel, stdlib, muontrap]}
  ]}.
  """

  # If the first program does not run, the application does not start, and there is no tree.
  @holder ~S"""
  -module(holder).
  -behaviour(application).
  -export([start/2, stop/1]).

  start(_Type, _Args) ->
      {<<"works\n">>, 0} = muontrap:cmd("/bin/echo", ["works"], [{timeout, 60000}]),
      Tree = "setsid sleep 1000 & (sleep 1000 &) & exec sleep 1000",
      {ok, spawn_link(fun() -> muontrap:cmd("/bin/sh", ["-c", Tree], [{delay_to_sigkill, 50}]) end)}.

  stop(_State) ->
      ok.
  """

  setup do
    tmp = folder()
    app = Path.join(tmp, "holder")
    File.mkdir_p!(Path.join(app, "src"))
    File.write!(Path.join(app, "rebar.config"), @rebar_config)
    File.write!(Path.join(app, "src/holder.app.src"), @app)
    File.write!(Path.join(app, "src/holder.erl"), @holder)
    # Where muontrap and Elixir are, each folder with an ebin.
    libraries = for name <- [:muontrap, :elixir], do: Path.dirname(:code.lib_dir(name))
    %{app: app, env: [{"ERL_LIBS", Enum.join(libraries, ":")}, {"HOME", tmp}]}
  end

  defp rebar3? do
    System.find_executable("rebar3") != nil or Cgroups.announce("there is no rebar3: bin/setup")
  end

  test "a release leaves nothing when it is killed", %{app: app, env: env} do
    if rebar3?() do
      {output, status} =
        System.cmd("rebar3", ["release"], cd: app, env: env, stderr_to_stdout: true)

      assert status == 0, output
      release = Path.join(app, "_build/default/rel/holder")

      assert [_muontrap] =
               Path.wildcard(Path.join(release, "lib/muontrap-*/priv/muontrap_nif.so"))

      # It has all it needs.
      moved = Path.join(Path.dirname(app), "moved here")
      File.cp_r!(release, moved)
      File.rm_rf!(app)
      assert_ends_with_its_vm([Path.join(moved, "bin/holder"), "-noshell"], [])
    end
  end

  test "a shell leaves nothing when it is killed", %{app: app, env: env} do
    if rebar3?() do
      shell = "cd \"$0\" && exec rebar3 shell --apps holder"
      assert_ends_with_its_vm(["/bin/sh", "-c", shell, app], env)
    end
  end

  # Of the compiler alone: nothing else has to be compiled.
  @project """
  Code.require_file("mix/native_compiler.exs", __DIR__)

  defmodule Bare.MixProject do
    use Mix.Project
    def project, do: [app: :bare, version: "1.2.3", compilers: [:muontrap_native]]
  end
  """

  test "a dependency that rebar_mix builds keeps its native part", %{app: app} do
    dependency = Path.join(app, "_build/default/lib/bare")
    File.mkdir_p!(dependency)
    File.cp_r!(Path.join(source(), "mix"), Path.join(dependency, "mix"))
    File.write!(Path.join(dependency, "mix.exs"), @project)
    env = [{"MUONTRAP_NATIVE_PREBUILT", Application.app_dir(:muontrap, "priv")}]

    for _first_and_again <- 1..2 do
      assert {_output, 0} = mix(["compile"], dependency, env: env)
      # As rebar_mix does.
      File.rm_rf!(Path.join(dependency, "_build"))
      names = ["muontrap", "muontrap_nif.so", "muontrap_spawner"]
      assert Enum.sort(File.ls!(Path.join(dependency, "priv"))) == names
    end
  end
end
