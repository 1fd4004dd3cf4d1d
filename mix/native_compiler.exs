# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Mix.Tasks.Compile.MuontrapNative do
  @moduledoc """
  Builds the native parts with Cargo and puts them into the application's `priv` folder.

  Runs `cargo build --release --locked` on the workspace in `native/`, then copies

    * `libmuontrap_nif.so` to `priv/muontrap_nif.so`,
    * `muontrap_spawner` to `priv/muontrap_spawner`,
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
  @install "Install Rust from https://rustup.rs or your distribution, then compile again."

  @impl Mix.Task.Compiler
  def run(_args) do
    unless prebuilt() do
      cargo = find_cargo()
      check_version(cargo)
      build(cargo)
    end

    if Enum.count(artifacts(), &install/1) > 0, do: {:ok, []}, else: {:noop, []}
  end

  @impl Mix.Task.Compiler
  def clean do
    Enum.each(["muontrap_nif.so", "muontrap_spawner", "test_programs"], &File.rm_rf!(priv(&1)))
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

      nil ->
        Mix.raise("#{cargo} does not work, got: #{String.trim(output)}. #{@install}")
    end
  end

  defp minor(version) do
    version |> String.split(".") |> Enum.take(2) |> Enum.map(&String.to_integer/1)
  end

  defp build(cargo) do
    {lines, status} = run_cargo(cargo, ["build", "--release", "--locked" | build_args()])

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

  defp build_args do
    packages = [
      "muontrap_nif",
      "muontrap_spawner" | if(test?(), do: ["muontrap_test_programs"], else: [])
    ]

    ["--manifest-path", @manifest, "--target-dir", target_dir()] ++
      Enum.flat_map(packages, &["--package", &1]) ++
      if(triple(), do: ["--target", triple()], else: [])
  end

  # Cargo's messages as they come; its "Finished" would be all that most compilations say.
  defp run_cargo(cargo, args) do
    options = [:binary, :exit_status, :stderr_to_stdout, line: 65_536, args: args, cd: @native]
    port = Port.open({:spawn_executable, cargo}, options)
    relay(port, [])
  end

  defp relay(port, lines) do
    receive do
      {^port, {:data, {_eol, line}}} ->
        unless line =~ ~r/^\s*Finished /, do: Mix.shell().info(line)
        relay(port, [line | lines])

      {^port, {:exit_status, status}} ->
        {lines, status}
    end
  end

  # What to copy to which place below `priv`.
  defp artifacts do
    programs =
      if test?(), do: Path.wildcard(Path.join(@native, "test_programs/src/bin/*.rs")), else: []

    for {built, name} <-
          [{"libmuontrap_nif.so", "muontrap_nif.so"}, {"muontrap_spawner", "muontrap_spawner"}] ++
            Enum.map(programs, &program/1) do
      from = if prebuilt(), do: Path.join(prebuilt(), name), else: Path.join(release_dir(), built)
      {from, priv(name)}
    end
  end

  defp program(source) do
    name = Path.basename(source, ".rs")
    {name, Path.join("test_programs", name)}
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
