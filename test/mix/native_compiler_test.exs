# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Mix.Tasks.Compile.MuontrapNativeTest do
  # PATH, the Mix project and its environment belong to the whole VM.
  use ExUnit.Case, async: false

  alias Mix.Tasks.Compile.MuontrapNative

  @moduletag :build
  @moduletag timeout: 300_000

  @source Path.expand("../..", __DIR__)
  # Cargo has built it all there for the tests that run now.
  @target System.get_env("CARGO_TARGET_DIR") ||
            Path.join(Mix.Project.build_path(), "muontrap_native")

  setup do
    tmp =
      Path.join(
        System.tmp_dir!(),
        "muontrap_build_#{System.unique_integer([:positive])}_#{System.pid()}"
      )

    File.mkdir_p!(tmp)
    on_exit(fn -> File.rm_rf!(tmp) end)
    %{tmp: tmp}
  end

  describe "in a project that depends on muontrap" do
    test "a release runs programs from any folder, without test programs", %{tmp: tmp} do
      app = throw_away_app(tmp, @source)
      assert {_output, 0} = mix(["release", "--path", Path.join(tmp, "rel")], app)

      script = """
      {"works\\n", 0} = MuonTrap.cmd("echo", ["works"])
      :muontrap |> Application.app_dir("priv") |> File.ls!() |> Enum.sort() |> IO.inspect()
      """

      release = Path.join(tmp, "rel/bin/throw_away")
      assert {output, 0} = System.cmd(release, ["eval", script], cd: "/", stderr_to_stdout: true)
      assert output =~ ~s(["muontrap", "muontrap_nif.so", "muontrap_spawner"])
    end

    test "its version is one that dependencies on upstream ask for" do
      version = :muontrap |> Application.spec(:vsn) |> to_string()

      for requirement <- ["~> 1.0", "~> 1.7", "~> 1.8", "~> 1.0 or ~> 0.6", ">= 1.5.0"] do
        assert Version.match?(version, requirement), requirement
      end
    end

    # Without Hex, which would ask for itself: the other one says where muontrap is as well.
    test "one line takes the place of what another dependency asks for", %{tmp: tmp} do
      other = Path.join(tmp, "other")
      File.mkdir_p!(Path.join(other, "lib"))
      File.write!(Path.join(other, "lib/other.ex"), "defmodule Other do\n#{uses()}end\n")
      asked = [{:muontrap, "~> 1.7", path: @source}]
      File.write!(Path.join(other, "mix.exs"), project(:other, asked))

      overriding = [{:other, path: other}, {:muontrap, path: @source, override: true}]
      app = throw_away_app(tmp, @source, overriding)
      # What was built for the tests that run now.
      prebuilt = ["env", "MUONTRAP_NATIVE_PREBUILT=#{Application.app_dir(:muontrap, "priv")}"]

      assert {output, 0} = mix(["run", "-e", "IO.inspect(Other.hello())"], app, prebuilt)
      assert output =~ ~s({"hello\\n", 0})
      assert {output, 0} = mix(["deps"], app, prebuilt)
      assert output =~ ~r/^\* muontrap 1\.9\.0 /m
      refute output =~ "mix deps.get"

      # The same as a requirement of the project itself, which Mix checks against the version.
      app = throw_away_app(tmp, @source, asked)
      assert {_output, 0} = mix(["deps.loadpaths"], app, prebuilt)
      app = throw_away_app(tmp, @source, [{:muontrap, "~> 2.0", path: @source}])
      assert {output, 1} = mix(["deps.loadpaths"], app, prebuilt)
      assert output =~ "1.9.0"
    end

    defp uses, do: "  def hello, do: MuonTrap.cmd(\"echo\", [\"hello\"])\n"

    test "a read-only source tree stays as it is", %{tmp: tmp} do
      source = copy_source(Path.join(tmp, "source"))
      before = listing(source)
      app = throw_away_app(tmp, source)

      assert {output, 0} = read_only(source, fn command -> mix(["compile"], app, command) end)
      assert output =~ "Compiling muontrap_spawner"
      assert File.exists?(Path.join(app, "_build/prod/lib/muontrap/priv/muontrap_nif.so"))
      assert listing(source) == before
    end
  end

  describe "with a cargo that pretends" do
    setup %{tmp: tmp} do
      shell = Mix.shell()
      env = Mix.env()
      Mix.shell(Mix.Shell.Process)
      Mix.env(:prod)

      on_exit(fn ->
        Mix.shell(shell)
        Mix.env(env)
      end)

      for name <- ["MIX_BUILD_PATH", "MIX_BUILD_ROOT", "MUONTRAP_NATIVE_PREBUILT"],
          do: put_env(name, nil)

      put_env("CARGO_TARGET_DIR", Path.join(tmp, "target"))
      %{app: throw_away_app(tmp, @source)}
    end

    test "says what to install when there is none", %{tmp: tmp, app: app} do
      put_env("PATH", tmp)
      assert_raise Mix.Error, ~r/no cargo in PATH\. Install Rust from https/, fn -> run(app) end
    end

    test "names both versions when it is too old", %{tmp: tmp, app: app} do
      cargo(tmp, version: "1.50.0")

      assert_raise Mix.Error, ~r/needs Rust 1\.\d+ or newer, got: cargo 1\.50\. Install/, fn ->
        run(app)
      end
    end

    test "names a linker that is missing, after cargo's own messages", %{tmp: tmp, app: app} do
      cargo(tmp, build: "echo 'error: linker `cc` not found' >&2; exit 101")

      assert_raise Mix.Error, ~r/got: error: linker `cc` not found\. Install them/, fn ->
        run(app)
      end

      assert_received {:mix_shell, :info, ["error: linker `cc` not found"]}
    end

    test "fails with cargo's status", %{tmp: tmp, app: app} do
      cargo(tmp, build: "exit 42")
      assert_raise Mix.Error, ~r/did not build: cargo exited with 42/, fn -> run(app) end
    end

    test "copies what has changed, and leaves the old file to those who use it", %{
      tmp: tmp,
      app: app
    } do
      cargo(tmp, build: "exit 0")
      nif = built(tmp, "libmuontrap_nif.so", "old")
      built(tmp, "muontrap_spawner", "spawner")
      built(tmp, "muontrap", "program")

      assert {:ok, []} = run(app)
      assert {:noop, []} = run(app)
      [installed] = Path.wildcard(Path.join(app, "**/priv/muontrap_nif.so"))
      File.ln!(installed, Path.join(tmp, "in_use"))

      File.write!(nif, "new")
      assert {:ok, []} = run(app)
      assert File.read!(installed) == "new"
      assert File.read!(Path.join(tmp, "in_use")) == "old"

      assert Enum.sort(File.ls!(Path.dirname(installed))) == [
               "muontrap",
               "muontrap_nif.so",
               "muontrap_spawner"
             ]
    end

    test "takes the programs that are linked statically, and the usual ones where that fails", %{
      tmp: tmp,
      app: app
    } do
      built(tmp, "libmuontrap_nif.so", "nif")
      for name <- ["muontrap_spawner", "muontrap"], do: built(tmp, name, "usual")
      tried = Path.join(tmp, "tried")

      cargo(tmp, build: "exit 0", static: "echo >>#{tried}; exit 1")
      assert {:ok, []} = run(app)
      assert installed(app) == ["usual", "usual"]

      # Not tried again with the same cargo.
      assert {:noop, []} = run(app)
      assert File.read!(tried) == "\n"

      for name <- ["muontrap_spawner", "muontrap"],
          do: built(tmp, "../static/some-machine/spawner/#{name}", "static")

      cargo(tmp, build: "exit 0", static: "exit 0", version: "9999.1.0")
      assert {:ok, []} = run(app)
      assert installed(app) == ["static", "static"]
    end

    test "makes a folder of a priv that is a link", %{tmp: tmp, app: app} do
      cargo(tmp, build: "exit 0")
      built(tmp, "libmuontrap_nif.so", "nif")
      built(tmp, "muontrap_spawner", "spawner")
      built(tmp, "muontrap", "program")
      own = Path.join(app, "priv")
      File.mkdir_p!(own)
      File.write!(Path.join(own, "own"), "own")
      priv = in_app(app, fn -> Path.join(Mix.Project.app_path(), "priv") end)
      File.mkdir_p!(Path.dirname(priv))
      File.ln_s!(own, priv)

      assert {:ok, []} = run(app)

      assert Enum.sort(File.ls!(priv)) == [
               "muontrap",
               "muontrap_nif.so",
               "muontrap_spawner",
               "own"
             ]

      assert File.ls!(own) == ["own"]
    end

    test "takes what was built elsewhere", %{tmp: tmp, app: app} do
      put_env("PATH", tmp)
      put_env("MUONTRAP_NATIVE_PREBUILT", tmp)

      for name <- ["muontrap_nif.so", "muontrap_spawner", "muontrap"],
          do: File.write!(Path.join(tmp, name), name)

      assert {:ok, []} = run(app)
      assert [_installed] = Path.wildcard(Path.join(app, "**/priv/muontrap_spawner"))
    end

    test "clean takes away what was copied", %{tmp: tmp, app: app} do
      cargo(tmp, build: "exit 0")
      built(tmp, "libmuontrap_nif.so", "nif")
      built(tmp, "muontrap_spawner", "spawner")
      built(tmp, "muontrap", "program")
      run(app)
      assert [_nif, _program, _spawner] = Path.wildcard(Path.join(app, "**/priv/*"))

      in_app(app, &MuontrapNative.clean/0)
      assert Path.wildcard(Path.join(app, "**/priv/*")) == []
      # Cargo's folder is not ours when the caller has named it.
      assert File.exists?(Path.join(tmp, "target"))
    end
  end

  defp installed(app) do
    for name <- ["muontrap_spawner", "muontrap"] do
      [file] = Path.wildcard(Path.join(app, "**/priv/#{name}"))
      File.read!(file)
    end
  end

  defp throw_away_app(tmp, source, deps \\ nil) do
    app = Path.join(tmp, "app")
    File.mkdir_p!(Path.join(app, "lib"))
    File.write!(Path.join(app, "lib/throw_away.ex"), "defmodule ThrowAway do\nend\n")

    deps = deps || [{:muontrap, path: source}]
    File.write!(Path.join(app, "mix.exs"), project(:throw_away, deps))
    app
  end

  defp project(app, deps) do
    """
    defmodule #{Macro.camelize("#{app}")}#{System.unique_integer([:positive])}.MixProject do
      use Mix.Project

      def project do
        [app: #{inspect(app)}, version: "0.1.0", deps: #{inspect(deps)}]
      end
    end
    """
  end

  # `wrap` may put a command before that of Mix.
  defp mix(args, app, wrap \\ []) do
    [command | args] = wrap ++ ["mix" | args]

    env = [
      {"MIX_ENV", "prod"},
      {"MIX_BUILD_PATH", nil},
      {"MIX_BUILD_ROOT", nil},
      {"MUONTRAP_NATIVE_PREBUILT", nil},
      {"CARGO_TARGET_DIR", @target}
    ]

    System.cmd(command, args, cd: app, env: env, stderr_to_stdout: true)
  end

  defp run(app), do: in_app(app, fn -> MuontrapNative.run([]) end)

  defp in_app(app, fun) do
    Mix.Project.in_project(:throw_away, app, fn _module -> fun.() end)
  end

  defp cargo(tmp, options) do
    version = Keyword.get(options, :version, "9999.0.0")
    build = Keyword.get(options, :build, "exit 1")
    static = Keyword.get(options, :static, "exit 1")
    bin = Path.join(tmp, "bin")
    File.mkdir_p!(bin)

    File.write!(Path.join(bin, "cargo"), """
    #!/bin/sh
    case $1 in
      --version) echo "cargo #{version} (0123456 2020-01-01)" ;;
      -vV) echo "host: some-machine" ;;
      build) if [ "$2" = --profile ]; then #{static}; else #{build}; fi ;;
    esac
    """)

    File.chmod!(Path.join(bin, "cargo"), 0o755)
    put_env("PATH", bin <> ":" <> System.get_env("PATH"))
  end

  # `nil` takes the variable away. The test's end puts back what was there.
  defp put_env(name, value) do
    before = System.get_env(name)
    on_exit(fn -> System.put_env([{name, before}]) end)
    System.put_env([{name, value}])
  end

  defp built(tmp, name, content) do
    file = Path.join([tmp, "target/release", name])
    File.mkdir_p!(Path.dirname(file))
    File.write!(file, content)
    file
  end

  defp copy_source(to) do
    File.mkdir_p!(to)

    for name <- ["mix.exs", "mix", "lib", "config", "native"],
        do: File.cp_r!(Path.join(@source, name), Path.join(to, name))

    File.rm_rf!(Path.join(to, "native/target"))
    to
  end

  defp listing(folder), do: folder |> Path.join("**") |> Path.wildcard(match_dot: true)

  # Nothing that root may not write to but a mount, and nothing that others may mount.
  defp read_only(folder, fun) do
    case System.cmd("id", ["-u"]) do
      {"0\n", 0} ->
        script = ~S(mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@")
        fun.(["unshare", "--mount", "sh", "-c", script, folder])

      _unprivileged ->
        {_output, 0} = System.cmd("chmod", ["-R", "a-w", folder])
        result = fun.([])
        {_output, 0} = System.cmd("chmod", ["-R", "u+w", folder])
        result
    end
  end
end
