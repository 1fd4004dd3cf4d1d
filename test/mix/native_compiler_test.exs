# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Mix.Tasks.Compile.MuontrapNativeTest do
  # PATH, the Mix project and its environment belong to the whole VM.
  use ExUnit.Case, async: false

  import MuonTrap.Builds

  alias Mix.Tasks.Compile.MuontrapNative

  @moduletag :build
  @moduletag timeout: 300_000

  @source Path.expand("../..", __DIR__)

  setup_all do
    # As it is loaded once there is something to build.
    Code.require_file("mix/native/build.exs", @source)
    :ok
  end

  setup do: %{tmp: folder()}

  describe "in a project that depends on muontrap" do
    test "a release runs programs from any folder, without test programs", %{tmp: tmp} do
      app = throw_away_app(tmp, @source)
      assert {_output, 0} = mix(["release", "--path", Path.join(tmp, "rel")], app)

      script = """
      {"works\n", 0} = MuonTrap.cmd("echo", ["works"])
      :muontrap |> Application.app_dir("priv") |> File.ls!() |> Enum.sort() |> IO.inspect()
      """

      release = Path.join(tmp, "rel/bin/throw_away")
      assert {output, 0} = System.cmd(release, ["eval", script], cd: "/", stderr_to_stdout: true)
      assert output =~ ~s(["muontrap", "muontrap_nif.so", "muontrap_spawner"])
    end

    test "what the package holds is enough, in a folder that nobody may write to", %{tmp: tmp} do
      source = copy_source(Path.join(tmp, "source"))
      before = listing(source)
      app = throw_away_app(tmp, source)

      assert {output, 0} =
               read_only(source, fn command -> mix(["compile"], app, wrap: command) end)

      assert output =~ "Compiling muontrap_spawner"
      assert listing(source) == before

      run = ["run", "-e", ~S|{"works\n", 0} = MuonTrap.cmd("echo", ["works"])|]
      assert {_output, 0} = mix(run, app)

      # The guides and the licence go along, what only tests need does not.
      for name <- ["guides/guarantees.md", "LICENSE"],
          do: assert(File.exists?(Path.join(source, name)))

      refute File.exists?(Path.join(source, "test"))

      # Nothing stays of it, wherever it was built.
      assert {_output, 0} = mix(["deps.clean", "muontrap", "--build"], app)
      assert File.ls!(Path.join(app, "_build/prod")) -- ["lib", ".mix"] == []
      refute File.exists?(Path.join(app, "_build/prod/lib/muontrap"))
    end

    test "a cross build loads nothing of what it installs", %{tmp: tmp} do
      prebuilt = Path.join(tmp, "prebuilt")
      File.mkdir_p!(prebuilt)

      for name <- ["muontrap", "muontrap_nif.so", "muontrap_spawner"],
          do: File.write!(Path.join(prebuilt, name), elf("s390x", nil))

      env = [
        {"MUONTRAP_NATIVE_PREBUILT", prebuilt},
        {"MUONTRAP_NATIVE_TARGET", "s390x-unknown-linux-gnu"}
      ]

      app = throw_away_app(tmp, @source)
      assert {output, 0} = mix(["compile"], app, env: env)
      refute output =~ ~r/warning|Failed to load|error/i
      installed = Path.join(app, "_build/prod/lib/muontrap/priv/muontrap_nif.so")
      assert File.read!(installed) == elf("s390x", nil)

      # And what was for that machine is not left to this one.
      env = [{"MUONTRAP_NATIVE_PREBUILT", prebuilt}]
      assert {output, 1} = mix(["compile"], app, env: env)
      assert output =~ "is for S/390, 64 bits, big-endian, but muontrap is compiled for"
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

      # What tells the target, or where it comes from, is the test's to say.
      for name <-
            ~w(MIX_BUILD_PATH MIX_BUILD_ROOT MUONTRAP_NATIVE_PREBUILT MUONTRAP_NATIVE_TARGET MUONTRAP_BUILD) ++
              ~w(MUONTRAP_PRECOMPILED_DIR CARGO_BUILD_TARGET TARGET_ARCH CROSSCOMPILE CC RUSTFLAGS),
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

      File.write!(nif, own_elf("newer"))
      assert {:ok, []} = run(app)
      assert File.read!(installed) == own_elf("newer")
      assert File.read!(Path.join(tmp, "in_use")) == own_elf("old")

      assert Enum.sort(File.ls!(Path.dirname(installed))) == [
               "muontrap",
               "muontrap_nif.so",
               "muontrap_spawner"
             ]
    end

    test "runs nothing at all while nothing has changed", %{tmp: tmp, app: app} do
      asked = Path.join(tmp, "asked")
      cargo(tmp, build: "echo >>#{asked}; exit 0")
      built(tmp, "libmuontrap_nif.so", "nif")
      built(tmp, "muontrap_spawner", "spawner")
      built(tmp, "muontrap", "program")
      assert {:ok, []} = run(app)
      before = File.read!(asked)
      # Without this cargo in PATH.
      put_env("PATH", tmp)
      for _ <- 1..3, do: assert({:noop, []} = run(app))
      assert File.read!(asked) == before

      # What is installed counts, and so does what is asked for.
      [installed] = Path.wildcard(Path.join(app, "**/priv/muontrap_spawner"))
      File.rm!(installed)
      assert_raise Mix.Error, ~r/no cargo in PATH/, fn -> run(app) end
    end

    test "links programs statically, and as usual where that fails", %{tmp: tmp, app: app} do
      built(tmp, "libmuontrap_nif.so", "nif")
      spawner = built(tmp, "muontrap_spawner", "usual")
      built(tmp, "muontrap", "usual")
      tried = Path.join(tmp, "tried")

      cargo(tmp, build: "exit 0", static: "echo >>#{tried}; exit 1")
      assert {:ok, []} = run(app)
      [installed] = Path.wildcard(Path.join(app, "**/priv/muontrap_spawner"))
      assert File.read!(installed) == own_elf("usual")

      # A cache, for those that make a copy of the project.
      assert "Signature: 8a477f597d28d172789f06886806bc55" <> _rest =
               File.read!(Path.join(tmp, "target/CACHEDIR.TAG"))

      # Not tried again with the same cargo.
      File.write!(spawner, own_elf("another"))
      assert {:ok, []} = run(app)
      assert File.read!(tried) == "\n"

      cargo(tmp, build: "exit 1", static: "exit 0", version: "9999.1.0")
      File.write!(spawner, own_elf("static"))
      assert {:ok, []} = run(app)
      assert File.read!(installed) == own_elf("static")
    end

    test "always names the target, so that nothing of another build is taken", %{
      tmp: tmp,
      app: app
    } do
      said = Path.join(tmp, "said")
      cargo(tmp, static: "echo \"$@\" >>#{said}; exit 0")

      for {variables, triple} <- [
            {[], "some-machine"},
            {[{"CARGO_BUILD_TARGET", "aarch64-unknown-linux-gnu"}], "aarch64-unknown-linux-gnu"},
            {[{"MUONTRAP_NATIVE_TARGET", "riscv64gc-unknown-linux-gnu"}],
             "riscv64gc-unknown-linux-gnu"}
          ] do
        for {name, value} <- variables, do: put_env(name, value)
        # Of a build without a target, which is for nobody here.
        built(tmp, "../release/libmuontrap_nif.so", "stale")
        assert_raise Mix.Error, ~r/should be at .*#{triple}\/release/, fn -> run(app) end
        assert File.read!(said) =~ "--target #{triple}"
      end
    end

    test "refuses what is for another machine, and says how to mend it", %{tmp: tmp, app: app} do
      for {name, value} <-
            [{"TARGET_ARCH", "arm"}, {"TARGET_OS", "linux"}, {"TARGET_ABI", "gnueabihf"}] ++
              [{"TARGET_CPU", "cortex_a7"}, {"CC", "/opt/arm-cc --sysroot=/opt/arm"}],
          do: put_env(name, value)

      triple = "armv7-unknown-linux-gnueabihf"
      said = Path.join(tmp, "said")
      cargo(tmp, static: "env | grep ^CARGO_TARGET_ARM >#{said}; exit 0")

      for name <- ["libmuontrap_nif.so", "muontrap_spawner", "muontrap"],
          do: built(tmp, "../#{name}", "", triple)

      message =
        ~r/is for x86-64, 64 bits.*compiled for #{triple} \(from TARGET_ARCH\), which is ARM, 32 bits, hard/

      for name <- ["libmuontrap_nif.so", "muontrap_spawner", "muontrap"],
          do: File.write!(Path.join([tmp, "target", triple, "release", name]), elf("x86_64", nil))

      error = assert_raise Mix.Error, message, fn -> run(app) end
      assert Exception.message(error) =~ "CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER"
      assert Path.wildcard(Path.join(app, "**/priv/*")) == []

      # The compiler that Nerves names is the linker, with its flags.
      assert File.read!(said) =~ "_LINKER=/opt/arm-cc\n"
      assert File.read!(said) =~ "link-arg=--sysroot=/opt/arm"

      for name <- ["libmuontrap_nif.so", "muontrap_spawner", "muontrap"],
          do: File.write!(Path.join([tmp, "target", triple, "release", name]), elf("armhf", nil))

      assert {:ok, []} = run(app)
      assert [_nif] = Path.wildcard(Path.join(app, "**/priv/muontrap_nif.so"))
    end

    test "refuses a library for the other C library", %{tmp: tmp, app: app} do
      put_env("MUONTRAP_NATIVE_TARGET", "x86_64-unknown-linux-musl")
      said = Path.join(tmp, "said")
      cargo(tmp, static: "env | grep RUSTFLAGS >#{said}; exit 0")
      folder = Path.join(tmp, "target/x86_64-unknown-linux-musl/release")
      File.mkdir_p!(folder)

      for name <- ["muontrap_spawner", "muontrap"],
          do: File.write!(Path.join(folder, name), elf("x86_64", nil))

      File.write!(
        Path.join(folder, "libmuontrap_nif.so"),
        elf("x86_64", "/lib64/ld-linux-x86-64.so.2")
      )

      assert_raise Mix.Error, ~r/is for x86-64, 64 bits, glibc, but.* 64 bits, musl/, fn ->
        run(app)
      end

      File.write!(
        Path.join(folder, "libmuontrap_nif.so"),
        elf("x86_64", "/lib/ld-musl-x86_64.so.1")
      )

      assert {:ok, []} = run(app)
      assert File.read!(said) =~ "target-feature=-crt-static"
    end

    test "says in a sentence what Rust lacks for a target", %{tmp: tmp, app: app} do
      put_env("MUONTRAP_NATIVE_TARGET", "aarch64-unknown-linux-gnu")
      cargo(tmp, build: "echo \"error[E0463]: can't find crate for \\`core\\`\" >&2; exit 101")
      assert_raise Mix.Error, ~r/rustup target add aarch64-unknown-linux-gnu/, fn -> run(app) end
    end

    test "compiles for Linux alone, and says so", %{tmp: tmp, app: app} do
      cargo(tmp, static: "exit 0")
      put_env("MUONTRAP_NATIVE_TARGET", "x86_64-pc-windows-msvc")

      assert_raise Mix.Error, ~r/runs on Linux alone, got: x86_64-pc-windows-msvc/, fn ->
        run(app)
      end
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

      for name <- ["muontrap", "muontrap_nif.so", "muontrap_spawner"],
          do: File.write!(Path.join(tmp, name), own_elf(name))

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

  defp run(app), do: in_app(app, fn -> MuontrapNative.run([]) end)

  defp in_app(app, fun) do
    Mix.Project.in_project(:throw_away, app, fn _module -> fun.() end)
  end

  defp built(tmp, name, text, triple \\ "some-machine") do
    file = Path.join([tmp, "target", triple, "release", name])
    File.mkdir_p!(Path.dirname(file))
    File.write!(file, own_elf(text))
    file
  end

  # As Hex does it: a pattern that finds nothing is an error, a folder stands for all that is in it.
  defp copy_source(to) do
    for pattern <- Mix.Project.config()[:package][:files] do
      found = Path.wildcard(Path.join(@source, pattern), match_dot: true)
      assert found != [], "the package lists #{pattern}, and there is nothing of that name"

      for path <- found do
        target = Path.join(to, Path.relative_to(path, @source))
        File.mkdir_p!(Path.dirname(target))
        File.cp_r!(path, target)
      end
    end

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
