# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Mix.Tasks.Compile.MuontrapNative do
  @moduledoc """
  Builds the native parts with Cargo and puts them into the application's `priv` folder.

  Runs `cargo build --release --locked` on the workspace in `native/`, then copies

    * `libmuontrap_nif.so` to `priv/muontrap_nif.so`,
    * `muontrap_spawner` and `muontrap` to `priv/`, linked statically if there is a static C library
      (forks take a tenth of a command's time less then, and `muontrap` runs in any container), and
      as usual if not,
    * with `MIX_ENV=test` each program of `muontrap_test_programs` to `priv/test_programs/`.
      A project that depends on muontrap compiles it in the `:prod` environment and gets none.

  Everything is written below the build path (`_build/ENV/`), so the source tree may be read-only.
  `priv` there is a real folder: `mix release` takes it along as it does any other.

  ## Environment

    * `CARGO_TARGET_DIR` - where Cargo keeps what it built, to share it between builds; default
      `muontrap_native` in the build path.
    * `MUONTRAP_NATIVE_TARGET` - the target triple of a cross build, handed to `cargo --target`.
      Cargo takes the linker from its own settings, `CARGO_TARGET_<TRIPLE>_LINKER`.
    * `MUONTRAP_NATIVE_PREBUILT` - a folder with what would be copied to `priv`, under the names
      there. Nothing is built then, and no Cargo is needed.

  ## Errors

  Raises `Mix.Error` that names what to install when `cargo` is missing, older than the
  `rust-version` of `native/Cargo.toml`, or finds no linker; and when the build fails, after
  Cargo's own messages.
  """

  use Mix.Task.Compiler

  @native Path.expand("../native", __DIR__)
  @manifest Path.join(@native, "Cargo.toml")
  # What is linked statically where that is possible, and the packages that it comes from.
  @programs ["muontrap_spawner", "muontrap"]
  @packages ["muontrap_spawner", "muontrap_program"]
  @install "Install Rust from https://rustup.rs or your distribution, then compile again."

  @impl Mix.Task.Compiler
  def run(_args) do
    programs = unless prebuilt(), do: build()
    if Enum.count(artifacts(programs), &install/1) > 0, do: {:ok, []}, else: {:noop, []}
  end

  @impl Mix.Task.Compiler
  def clean do
    Enum.each(["muontrap_nif.so", "test_programs" | @programs], &File.rm_rf!(priv(&1)))
    unless System.get_env("CARGO_TARGET_DIR"), do: File.rm_rf!(target_dir())
  end

  defp find_cargo do
    System.find_executable("cargo") ||
      Mix.raise(
        "muontrap builds its native part with Cargo, and there is no cargo in PATH. #{@install}"
      )
  end

  defp check_version(cargo) do
    {output, _status} = System.cmd(cargo, ["--version"], cd: @native, stderr_to_stdout: true)
    [_, wanted] = Regex.run(~r/^rust-version\s*=\s*"([\d.]+)"/m, File.read!(@manifest))

    case Regex.run(~r/^cargo (\d+)\.(\d+)/m, output) do
      [found | numbers] ->
        if Enum.map(numbers, &String.to_integer/1) < minor(wanted) do
          Mix.raise("muontrap needs Rust #{wanted} or newer, got: #{found}. #{@install}")
        end

        found

      nil ->
        Mix.raise("#{cargo} does not work, got: #{String.trim(output)}. #{@install}")
    end
  end

  defp minor(version) do
    version |> String.split(".") |> Enum.take(2) |> Enum.map(&String.to_integer/1)
  end

  # Returns where the programs are.
  defp build do
    cargo = find_cargo()
    version = check_version(cargo)

    case link_statically(cargo, version) do
      {:ok, programs} ->
        build_workspace(cargo, [])
        programs

      :error ->
        build_workspace(cargo, @packages)
        release_dir()
    end
  end

  # A failure is remembered, not tried again each time.
  defp link_statically(cargo, version) do
    directory = Path.join(target_dir(), "static")
    failed = Path.join(directory, "failed")
    target = triple() || host(cargo)

    args =
      ["build", "--profile", "spawner", "--locked", "--manifest-path", @manifest] ++
        ["--target-dir", directory, "--target", target] ++
        Enum.flat_map(@packages, &["--package", &1])

    flags =
      "#{System.get_env("RUSTFLAGS")} -C target-feature=+crt-static -C relocation-model=static"

    with true <- File.read(failed) != {:ok, version},
         # What the linker says is shown by the build that follows, if that fails as well.
         {_, 0} <- run_cargo(cargo, args, &(&1 =~ ~r/^\s*Compiling /), RUSTFLAGS: flags) do
      {:ok, Path.join([directory, target, "spawner"])}
    else
      _failed_now_or_before ->
        File.mkdir_p!(directory)
        File.write!(failed, version)
        :error
    end
  end

  defp host(cargo) do
    {output, 0} = System.cmd(cargo, ["-vV"], cd: @native)
    [_line, host] = Regex.run(~r/^host: (.+)$/m, output)
    host
  end

  defp build_workspace(cargo, more) do
    args = ["build", "--release", "--locked" | build_args(more)]
    {lines, status} = run_cargo(cargo, args, &(not (&1 =~ ~r/^\s*Finished /)), [])

    cond do
      status == 0 ->
        :ok

      problem = Enum.find(lines, &(&1 =~ ~r/linker `.+` not found|linking with `.+` failed/)) ->
        Mix.raise(
          "muontrap's native part needs a linker and the C library, got: #{problem}. Install " <>
            "them, for example with: apt-get install gcc libc6-dev"
        )

      true ->
        Mix.raise("muontrap's native part did not build: cargo exited with #{status}")
    end
  end

  defp build_args(more) do
    packages = ["muontrap_nif"] ++ more ++ if(test?(), do: ["muontrap_test_programs"], else: [])

    ["--manifest-path", @manifest, "--target-dir", target_dir()] ++
      Enum.flat_map(packages, &["--package", &1]) ++
      if(triple(), do: ["--target", triple()], else: [])
  end

  # Cargo's messages as they come, those that `show?` picks.
  defp run_cargo(cargo, args, show?, env) do
    env = for {name, value} <- env, do: {~c"#{name}", ~c"#{value}"}
    options = [:binary, :exit_status, :stderr_to_stdout, line: 65_536, args: args, cd: @native]
    port = Port.open({:spawn_executable, cargo}, [{:env, env} | options])
    relay(port, show?, [])
  end

  defp relay(port, show?, lines) do
    receive do
      {^port, {:data, {_eol, line}}} ->
        if show?.(line), do: Mix.shell().info(line)
        relay(port, show?, [line | lines])

      {^port, {:exit_status, status}} ->
        {lines, status}
    end
  end

  # What to copy to which place below `priv`.
  defp artifacts(programs) do
    test_programs =
      if test?(), do: Path.wildcard(Path.join(@native, "test_programs/src/bin/*.rs")), else: []

    built =
      [{Path.join(release_dir(), "libmuontrap_nif.so"), "muontrap_nif.so"}] ++
        Enum.map(@programs, &{Path.join(programs || "", &1), &1}) ++
        Enum.map(test_programs, &test_program/1)

    for {from, name} <- built do
      {if(prebuilt(), do: Path.join(prebuilt(), name), else: from), priv(name)}
    end
  end

  defp test_program(source) do
    name = Path.basename(source, ".rs")
    {Path.join(release_dir(), name), Path.join("test_programs", name)}
  end

  # Returns whether the file had to be written. A running VM may have the old one mapped: it is
  # replaced, never written into.
  defp install({from, to}) do
    content = File.read!(from)

    if File.read(to) == {:ok, content} do
      false
    else
      new = "#{to}.#{System.pid()}.new"
      make_folder(Path.dirname(to))
      File.cp!(from, new)
      File.rename!(new, to)
      true
    end
  end

  # Mix links `priv` to that of the source tree when there is one.
  defp make_folder(folder) do
    with {:ok, link} <- File.read_link(priv("")) do
      File.rm!(priv(""))
      File.cp_r!(Path.expand(link, Mix.Project.app_path()), priv(""))
    end

    File.mkdir_p!(folder)
  end

  defp priv(name), do: Path.join([Mix.Project.app_path(), "priv", name])

  defp target_dir do
    Path.expand(
      System.get_env("CARGO_TARGET_DIR") || Path.join(Mix.Project.build_path(), "muontrap_native")
    )
  end

  defp release_dir, do: Path.join([target_dir(), triple() || "", "release"])
  defp prebuilt, do: System.get_env("MUONTRAP_NATIVE_PREBUILT")
  defp triple, do: System.get_env("MUONTRAP_NATIVE_TARGET")
  defp test?, do: Mix.env() == :test
end
