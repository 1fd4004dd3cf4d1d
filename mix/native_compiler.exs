# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Mix.Tasks.Compile.MuontrapNative do
  @moduledoc """
  Puts the native parts into the application's `priv` folder: built with Cargo, or as they were built elsewhere.

  With Cargo it builds the workspace in `native/` for the target (`cargo build --release --locked --target`) and
  installs the library `priv/muontrap_nif.so` and the programs beside it. Those are linked statically if there is
  a static C library (forks take a tenth of a command's time less then), and as usual if not. With `MIX_ENV=test`
  each program of `muontrap_test_programs` goes to `priv/test_programs/`. A project that depends on muontrap
  compiles it in the `:prod` environment and gets none. The list of what is installed is in
  `mix/native/artifacts.exs`.

  Every file is checked before it is installed: machine, word size, byte order, float ABI and C library, from its
  ELF header, must be those of the target.

  Everything is written below the build path (`_build/ENV/lib/muontrap`), so the source tree may be read-only.
  `priv` there is a real folder: `mix release` takes it along as it does any other. `mix deps.clean` takes all of
  it away. A source tree in rebar3's `_build/PROFILE/lib` gets a `priv` as well, since rebar3 keeps no other.

  As long as sources, installed files, configuration and environment stay as they are nothing is run.

  ## Environment

  The target is the first that is set of these; without one it is this machine.

    * `MUONTRAP_NATIVE_TARGET` - a target triple as Rust knows it.
    * `TARGET_ARCH`, with `TARGET_OS`, `TARGET_ABI`, `TARGET_CPU` and `CC` as the linker - set by Nerves.
    * `CROSSCOMPILE` or `CC` - the prefix of a cross compiler (`/opt/bin/aarch64-nerves-linux-gnu`), or one by name.
    * `CARGO_BUILD_TARGET` - a target triple, as for Cargo.

  Others:

    * `CARGO_TARGET_<TRIPLE>_LINKER` - the linker, as for Cargo. It goes before `CC`.
    * `CARGO_TARGET_DIR` - where Cargo keeps what it built, to share it between builds; default `native` in the
      application's folder of the build path.
    * `MUONTRAP_BUILD=1` - build with Cargo, whatever has been built elsewhere.
    * `MUONTRAP_PRECOMPILED_DIR` - a folder with an archive for the target, see `bin/precompile`.
    * `MUONTRAP_NATIVE_PREBUILT` - a folder with what would be copied to `priv`, under the names there. Nothing is
      built then, and no Cargo is needed.

  Where the package came with checksums for the target, the archive is fetched. `guides/installation.md` says when
  and from where.

  ## Errors

  Raises `Mix.Error` that names what to install when `cargo` is missing, older than the `rust-version` of
  `native/Cargo.toml`, or finds no linker or standard library; when the build fails, after Cargo's own messages;
  when a file is for another machine; and when an archive cannot be had or is not what it should be.
  """

  # Loaded with each mix.exs, so this is short. What works is in native/, loaded when there is something to do.
  use Mix.Task.Compiler

  @native Path.expand("../native", __DIR__)
  @variables ~r/^(CARGO|RUST|MUONTRAP_|TARGET_|CROSSCOMPILE$|CC$|MIX_TARGET$)/

  @impl Mix.Task.Compiler
  def run(args) do
    sources = sources()

    if "--force" not in args and unchanged?(sources) do
      {:noop, []}
    else
      now = System.os_time(:second)
      before = stamps(sources)
      {changed?, watched} = build().run(options())
      remember(now, before, watched)
      if changed?, do: {:ok, []}, else: {:noop, []}
    end
  end

  @impl Mix.Task.Compiler
  def manifests, do: [manifest()]

  @impl Mix.Task.Compiler
  def clean do
    build = build()
    owned = MuonTrap.Build.Artifacts.owned()
    for priv <- build.privs(options()), name <- owned, do: File.rm_rf!(Path.join(priv, name))
    File.rm(manifest())
    unless System.get_env("CARGO_TARGET_DIR"), do: File.rm_rf!(options().cargo_target)
  end

  defp build do
    Code.require_file("native/build.exs", __DIR__)
    MuonTrap.Build
  end

  defp options do
    app = Mix.Project.app_path()

    %{
      priv: Path.join(app, "priv"),
      rebar3_priv: rebar3_priv(),
      native: @native,
      cargo_target: Path.expand(System.get_env("CARGO_TARGET_DIR") || Path.join(app, "native")),
      tests?: Mix.env() == :test,
      version: Mix.Project.config()[:version],
      checksums: Path.expand("../checksum.exs", __DIR__),
      url: Application.get_env(:muontrap, :precompiled_url)
    }
  end

  # rebar_mix takes `ebin` out of the build path, and then removes that with the `priv` in it. What is in the source
  # tree stays, which is one of rebar3's own then.
  defp rebar3_priv do
    source = Path.expand("..", __DIR__)
    if source =~ ~r"/_build/[^/]+/lib/[^/]+$", do: Path.join(source, "priv")
  end

  defp manifest, do: Path.join(Mix.Project.manifest_path(), "compile.muontrap_native")

  defp sources do
    native = ~w(Cargo.* .cargo/* */Cargo.toml */build.rs */src/**/*.rs)

    patterns = [
      "*.exs",
      "native/*.exs",
      "../checksum.exs" | Enum.map(native, &("../native/" <> &1))
    ]

    Enum.flat_map(patterns, &Path.wildcard(Path.join(__DIR__, &1), match_dot: true))
  end

  defp unchanged?(sources) do
    with {:ok, content} <- File.read(manifest()),
         {circumstances, sources_then, watched} <- :erlang.binary_to_term(content) do
      circumstances == circumstances() and sources_then == stamps(sources) and
        Enum.all?(watched, fn {path, stamp} -> stamp != nil and stamp == stamp(path) end)
    else
      _none_or_of_another_version -> false
    end
  end

  # A file that is written to in the very second in which it was read looks the same afterwards.
  defp remember(now, sources, watched) do
    if Enum.any?(sources, fn {_path, {_size, changed}} -> changed >= now - 1 end) do
      File.rm(manifest())
    else
      File.mkdir_p!(Path.dirname(manifest()))
      content = {circumstances(), sources, stamps(watched)}
      File.write!(manifest(), :erlang.term_to_binary(content))
    end
  end

  defp circumstances do
    variables = for {name, value} <- System.get_env(), name =~ @variables, do: {name, value}
    {Enum.sort(variables), options()}
  end

  defp stamps(paths), do: for(path <- paths, do: {path, stamp(path)})

  defp stamp(path) do
    case File.stat(path, time: :posix) do
      {:ok, stat} -> {stat.size, stat.mtime}
      {:error, _reason} -> nil
    end
  end
end
