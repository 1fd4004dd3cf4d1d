# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Build do
  @moduledoc false
  # What the Mix compiler does once there is something to do: finds the binaries for the target, checks that they
  # are for it, and puts them into `priv`.

  for part <- ~w(artifacts elf target cargo fetch precompiled),
      do: Code.require_file("#{part}.exs", __DIR__)

  alias MuonTrap.Build.{Artifacts, Cargo, Elf, Precompiled, Target}

  @doc """
  Installs what has changed. Returns whether anything had, and the files that it came from and went to: as long as
  these and the sources stay as they are there is nothing to do.
  """
  def run(options) do
    env = System.get_env()
    target = Target.resolve(env)
    files = binaries(target, env, options)
    check!(files, target)
    places = for priv <- privs(options), file <- files, do: {file, priv}
    changed = for {file, priv} <- places, do: install(file, priv)
    {Enum.any?(changed), Enum.flat_map(places, fn {file, priv} -> watched(file, priv) end)}
  end

  @doc "The folders that get the files."
  def privs(options), do: [options.priv | List.wrap(options[:rebar3_priv])]

  defp binaries(target, env, options) do
    prebuilt = env["MUONTRAP_NATIVE_PREBUILT"]

    cond do
      prebuilt ->
        tests = if options.tests?, do: Artifacts.test_programs(options.native), else: []
        for row <- Artifacts.all() ++ tests, do: read(row, Path.join(prebuilt, row.installed))

      archive = Precompiled.archive(target, env, options) ->
        archive

      true ->
        {_triple, rows} = Cargo.build(target, options.cargo_target, options.tests?)
        for {row, path} <- rows, do: read(row, path)
    end
  end

  defp read(row, path) do
    case File.read(path) do
      {:ok, content} ->
        %{name: row.installed, content: content, from: path}

      {:error, reason} ->
        Mix.raise(
          "muontrap's #{row.installed} should be at #{path}: #{:file.format_error(reason)}"
        )
    end
  end

  # The library is loaded into this VM unless a target was named. The programs run beside it.
  defp check!(files, target) do
    wanted = Elf.wanted(target.triple)

    for %{name: name, content: content, from: from} <- files do
      case Elf.parse(content) do
        {:ok, elf} ->
          case Elf.mismatches(elf, wanted) do
            [] ->
              :ok

            _keys ->
              Mix.raise(
                "#{from} is for #{Elf.describe(elf)}, but muontrap is compiled for #{target.triple}" <>
                  "#{Target.said(target)}, which is #{Elf.describe(wanted)}. #{mend(target)}"
              )
          end

        :error ->
          Mix.raise("#{from} is no binary for Linux (ELF). Take #{name} away and compile again.")
      end
    end
  end

  defp mend(%{from: nil}) do
    "Use a Rust toolchain for this machine (cargo -vV shows its host), and take away what was built for another."
  end

  defp mend(target) do
    "Correct the variable, name a linker for the target by #{Target.variable(target.triple, "LINKER")}, or take " <>
      "away what was built for another machine."
  end

  # A running VM may have the old file mapped: it is replaced, never written into.
  defp install(%{name: name, content: content}, priv) do
    to = Path.join(priv, name)

    if File.read(to) == {:ok, content} do
      false
    else
      new = "#{to}.#{System.pid()}.new"
      make_folder(Path.dirname(to), priv)
      File.write!(new, content)
      File.chmod!(new, 0o755)
      File.rename!(new, to)
      true
    end
  end

  # Mix links `priv` to that of the source tree when there is one.
  defp make_folder(folder, priv) do
    with {:ok, link} <- File.read_link(priv) do
      File.rm!(priv)
      File.cp_r!(Path.expand(link, Path.dirname(priv)), priv)
    end

    File.mkdir_p!(folder)
  end

  defp watched(file, priv), do: [file.from, Path.join(priv, file.name)]
end
