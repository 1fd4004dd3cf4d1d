# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Build.Cargo do
  @moduledoc false
  # Builds all artifacts from one graph of crates: the same profile, target and flags for each of them, so that
  # what they share is compiled once. What a program needs beyond that is said for its last crate alone.

  alias MuonTrap.Build.{Artifacts, Target}

  @native Path.expand("../../native", __DIR__)
  @manifest Path.join(@native, "Cargo.toml")
  @install "Install Rust from https://rustup.rs or your distribution, then compile again"

  # See bford.info/cachedir.
  @cache_signature "Signature: 8a477f597d28d172789f06886806bc55\n"

  # Programs have one thread, and a panic is told by their hook. Linked statically less is mapped, and forks are
  # what they are for.
  @program "-C panic=abort"
  @static "-C target-feature=+crt-static -C relocation-model=static"

  @doc """
  Builds for a target, and returns `{triple, rows}`: the target as Cargo knows it, and for each row of the table
  and, if `tests?`, of the tests' programs `{row, path}`.
  """
  def build(target, directory, tests?) do
    cargo = find_cargo()
    version = check_version(cargo)
    triple = if target.from, do: target.triple, else: host(cargo)
    env = environment(target, triple)
    make(directory)
    common = ["--release", "--locked", "--manifest-path", @manifest]
    common = common ++ ["--target-dir", directory, "--target", triple]

    packages = Enum.map(Artifacts.all(), & &1.package)
    packages = packages ++ if tests?, do: [Artifacts.test_package()], else: []
    build = ["build" | common] ++ Enum.flat_map(packages, &["--package", &1])

    unless build_statically(cargo, build, env, directory, {triple, version}) do
      must(run(cargo, build, [wrapper(directory, "usual", @program) | env]), triple)
    end

    release = Path.join([directory, triple, "release"])
    rows = Artifacts.all() ++ if tests?, do: Artifacts.test_programs(@native), else: []
    {triple, for(row <- rows, do: {row, Path.join(release, row.built)})}
  end

  # Marks it as what it is for those that copy, as Cargo does only where it makes the folder itself.
  defp make(directory) do
    File.mkdir_p!(directory)
    tag = Path.join(directory, "CACHEDIR.TAG")
    unless File.exists?(tag), do: File.write!(tag, @cache_signature)
  end

  # A failure is remembered, not tried again each time.
  defp build_statically(cargo, build, env, directory, {triple, version}) do
    failed = Path.join(directory, "#{triple}-not-static")
    wrapper = wrapper(directory, "static", "#{@program} #{@static}")

    with true <- File.read(failed) != {:ok, version},
         # What the linker says is shown by the build that follows, if that fails as well.
         {_lines, 0} <- run(cargo, build, [wrapper | env], &(&1 =~ ~r/^\s*Compiling /)) do
      true
    else
      _failed_now_or_before ->
        File.write!(failed, version)
        false
    end
  end

  # The last crate of a program has flags of its own. `cargo rustc` would give it those, but it builds one package,
  # with other features of what is shared, and so all of that a second time.
  defp wrapper(directory, name, flags) do
    script = Path.join(directory, "rustc-#{name}")
    programs = Enum.map_join(Artifacts.programs(), "|", &~s(*" --crate-name #{&1.built} "*))

    content = """
    #!/bin/sh
    # Written by mix/native/cargo.exs: runs rustc, with more flags for the programs.
    case " $* " in
      *" --crate-type bin "*)
        case " $* " in #{programs}) exec "$@" #{flags} ;; esac ;;
    esac
    exec "$@"
    """

    if File.read(script) != {:ok, content} do
      File.write!(script, content)
      File.chmod!(script, 0o755)
    end

    {"RUSTC_WORKSPACE_WRAPPER", script}
  end

  defp find_cargo do
    System.find_executable("cargo") ||
      Mix.raise(
        "muontrap builds its native part with Cargo, and there is no cargo in PATH. #{@install}, or see " <>
          "guides/installation.md for what is built already."
      )
  end

  defp check_version(cargo) do
    {output, _status} = System.cmd(cargo, ["--version"], cd: @native, stderr_to_stdout: true)
    [_, wanted] = Regex.run(~r/^rust-version\s*=\s*"([\d.]+)"/m, File.read!(@manifest))

    case Regex.run(~r/^cargo (\d+)\.(\d+)/m, output) do
      [found | numbers] ->
        if Enum.map(numbers, &String.to_integer/1) < minor(wanted) do
          Mix.raise("muontrap needs Rust #{wanted} or newer, got: #{found}. #{@install}.")
        end

        found

      nil ->
        Mix.raise("#{cargo} does not work, got: #{String.trim(output)}. #{@install}.")
    end
  end

  defp minor(version) do
    version |> String.split(".") |> Enum.take(2) |> Enum.map(&String.to_integer/1)
  end

  defp host(cargo) do
    {output, 0} = System.cmd(cargo, ["-vV"], cd: @native)
    [_line, host] = Regex.run(~r/^host: (.+)$/m, output)
    host
  end

  # Flags go where Cargo looks for those of the target, unless RUSTFLAGS hides these.
  defp environment(target, triple) do
    {linker, linker_flags} = linker(target, triple)

    # A library of musl is linked dynamically, into a VM that has it. Cargo asks for that before it builds.
    musl_flags = if triple =~ "musl", do: ["-C", "target-feature=-crt-static"], else: []
    flags = Enum.join(musl_flags ++ linker_flags, " ")

    name =
      if System.get_env("RUSTFLAGS"),
        do: "RUSTFLAGS",
        else: Target.variable(triple, "RUSTFLAGS")

    linker ++
      if flags == "",
        do: [],
        else: [{name, String.trim("#{System.get_env(name)} #{flags}")}]
  end

  defp linker(target, triple) do
    name = Target.variable(triple, "LINKER")

    cond do
      System.get_env(name) ->
        {[], []}

      target.linker ->
        [linker | flags] = String.split(target.linker)
        {[{name, linker}], Enum.flat_map(flags, &["-C", "link-arg=#{&1}"])}

      target.from ->
        usual = Enum.find(Target.usual_linkers(triple), &System.find_executable/1)
        {if(usual, do: [{name, usual}], else: []), []}

      true ->
        {[], []}
    end
  end

  # Cargo's messages as they come, those that `show?` picks.
  defp run(cargo, args, env, show? \\ &(not (&1 =~ ~r/^\s*Finished /))) do
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

  defp must({_lines, 0}, _triple), do: :ok

  defp must({lines, status}, triple) do
    found = fn pattern -> Enum.find(Enum.reverse(lines), &(&1 =~ pattern)) end

    cond do
      found.(~r/target may not be installed|can't find crate for `(core|std)`/) ->
        Mix.raise(
          "Rust has no standard library for #{triple} here. Add it, for example with: " <>
            "rustup target add #{triple}"
        )

      problem = found.(~r/could not find specification for target/) ->
        Mix.raise(
          "Rust knows no target #{triple}, got: #{problem}. Those that it knows: " <>
            "rustc --print target-list"
        )

      problem = found.(~r/linker `.+` not found|linking with `.+` failed/) ->
        Mix.raise(
          "muontrap's native part needs a linker and the C library for #{triple}, got: #{problem}. Install " <>
            "them, for example with: apt-get install gcc libc6-dev; another linker is named by " <>
            Target.variable(triple, "LINKER")
        )

      true ->
        Mix.raise("muontrap's native part did not build: cargo exited with #{status}")
    end
  end
end
