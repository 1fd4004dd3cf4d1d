# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Build.Precompiled do
  @moduledoc false
  # Archives of what was built elsewhere: from a folder, the cache, or an address. Nothing is unpacked before its
  # SHA-256 is the one that is known, and nothing that the table of artifacts does not name is taken from one.
  #
  # checksum.exs is `%{url: address or nil, sha256: %{name of an archive => 64 hexadecimal digits}}`. The package
  # brings its own; that of the folder counts for what was built by oneself.

  alias MuonTrap.Build.{Artifacts, Fetch, Target}

  # Not in every OTP, see Fetch.start!/1.
  @compile {:no_warn_undefined, :crypto}

  # The oldest interface that is used: OTP 25 has 2.16.
  @nif_version "2.15"
  @build "Set MUONTRAP_BUILD=1 to build it here with Cargo."

  @doc "What an archive is called."
  def name(version, triple), do: "muontrap-#{version}-nif-#{@nif_version}-#{triple}.tar.gz"

  @doc """
  Returns the files for a target, or `nil` if they shall be built here. Raises `Mix.Error` if they cannot be had.
  """
  def archive(target, env, options) do
    name = name(options.version, usual(target.triple))

    cond do
      env["MUONTRAP_BUILD"] in ["1", "true"] -> nil
      folder = env["MUONTRAP_PRECOMPILED_DIR"] -> from_folder(folder, name, target, options)
      options.tests? -> nil
      true -> from_release(name, target, options)
    end
  end

  # Other vendors name the same machine: aarch64-alpine-linux-musl.
  defp usual(triple), do: String.replace(triple, ~r/^([^-]+)-[^-]+-linux-/, "\\1-unknown-linux-")

  defp from_folder(folder, name, target, options) do
    path = Path.join(folder, name)

    unless File.dir?(folder) do
      Mix.raise(
        "MUONTRAP_PRECOMPILED_DIR names no folder, got: #{folder}. Correct it or unset it."
      )
    end

    content =
      case File.read(path) do
        {:ok, content} ->
          content

        {:error, reason} ->
          Mix.raise(
            "MUONTRAP_PRECOMPILED_DIR has no archive for #{target.triple}#{Target.said(target)}: #{path}: " <>
              "#{:file.format_error(reason)}. Build it with: bin/precompile #{target.triple}. Or unset the variable."
          )
      end

    own = read(options.checksums).sha256

    sums =
      if Map.has_key?(own, name), do: own, else: read(Path.join(folder, "checksum.exs")).sha256

    unless Map.has_key?(sums, name) do
      Mix.raise(
        "nothing tells the SHA-256 of #{path}: neither muontrap's checksum.exs nor one in that folder names it. " <>
          "Write one with: mix muontrap.checksum #{folder}"
      )
    end

    case verify(content, sums[name]) do
      :ok ->
        unpack(content, name, path)

      {:error, found} ->
        Mix.raise(
          "#{path} is not what checksum.exs says: its SHA-256 is #{found}, expected #{sums[name]}. It was cut " <>
            "off, changed or built again: copy it anew, or write the list again with: mix muontrap.checksum #{folder}"
        )
    end
  end

  defp from_release(name, target, options) do
    %{url: url, sha256: sums} = read(options.checksums)
    url = options.url || url

    cond do
      sums == %{} ->
        nil

      not Map.has_key?(sums, name) ->
        say("nothing is built for #{target.triple} in advance, so Cargo builds it")
        nil

      url == nil ->
        nil

      true ->
        cached(name, sums[name]) || fetch(url, name, sums[name], options)
    end
  end

  defp cached(name, sum) do
    path = Path.join(cache(), name)

    with {:ok, content} <- File.read(path) do
      case verify(content, sum) do
        :ok ->
          unpack(content, name, path)

        {:error, _found} ->
          # It is fetched again.
          _ = File.rm(path)
          nil
      end
    else
      {:error, _reason} -> nil
    end
  end

  defp fetch(url, name, sum, options) do
    address = String.trim_trailing(url, "/") <> "/" <> name

    content =
      case Fetch.get(address, Map.to_list(Map.take(options, [:timeout_ms]))) do
        {:ok, content} ->
          content

        {:error, reason} ->
          Mix.raise(
            "cannot fetch #{address}: #{reason}. Compile again when it can be reached, put the archive into a folder " <>
              "and name that by MUONTRAP_PRECOMPILED_DIR, or set config :muontrap, precompiled_url:. #{@build}"
          )
      end

    case verify(content, sum) do
      :ok ->
        keep(name, content)
        unpack(content, name, address)

      {:error, found} ->
        Mix.raise(
          "#{address} is not what muontrap's checksum.exs says: the SHA-256 of its #{byte_size(content)} bytes is " <>
            "#{found}, expected #{sum}. It was cut off or changed, and is not used. Compile again to fetch it anew. " <>
            @build
        )
    end
  end

  # The next build does without where nothing can be kept.
  defp keep(name, content) do
    path = Path.join(cache(), name)
    new = "#{path}.#{System.pid()}.new"

    with :ok <- File.mkdir_p(cache()), :ok <- File.write(new, content), do: File.rename(new, path)
  end

  defp cache, do: Path.join(to_string(:filename.basedir(:user_cache, "muontrap")), "precompiled")

  @doc "Reads a checksum.exs. Raises `Mix.Error` if it is there and is none."
  def read(path) do
    with {:ok, text} <- File.read(path),
         {:ok, quoted} <- Code.string_to_quoted(text),
         # A literal: nothing of it is run.
         {%{sha256: %{} = sums} = content, _binding} <-
           Macro.quoted_literal?(quoted) && Code.eval_quoted(quoted) do
      %{url: content[:url], sha256: sums}
    else
      {:error, :enoent} ->
        %{url: nil, sha256: %{}}

      _malformed ->
        Mix.raise("#{path} is no list of checksums. Write it again with: mix muontrap.checksum")
    end
  end

  defp verify(content, sum) do
    Fetch.start!(:crypto)
    found = :crypto.hash(:sha256, content) |> Base.encode16(case: :lower)
    if found == sum, do: :ok, else: {:error, found}
  end

  defp unpack(content, name, from) do
    entries =
      case :erl_tar.extract({:binary, content}, [:compressed, :memory]) do
        {:ok, entries} -> Map.new(entries, fn {file, content} -> {to_string(file), content} end)
        {:error, reason} -> Mix.raise("cannot unpack #{from}: #{inspect(reason)}. #{@build}")
      end

    missing = Artifacts.names() -- Map.keys(entries)
    if missing != [], do: Mix.raise("#{from} lacks #{Enum.join(missing, ", ")}. #{@build}")
    say("took #{name} from #{Path.dirname(from)}, its SHA-256 is the one expected")
    # Watched as what the installed files come from.
    for file <- Artifacts.names(), do: %{name: file, content: entries[file], from: from}
  end

  defp say(text), do: Mix.shell().info("muontrap: " <> text)
end
