# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Priv do
  @moduledoc false
  # The folder of the native parts: the application's `priv`, or for an escript, which is one file, a folder of the
  # user's that they are put into.
  #
  # That folder is in the user's cache and named by what is in it. Nothing is taken from it that others could have
  # written: folder and files belong to this user, nobody else may write to them, and each time every byte is
  # compared with the escript's before a file is used.

  import Bitwise

  @mend "add escript: [include_priv_for: [:muontrap]] to the project, or put muontrap's priv folder somewhere " <>
          "and name it in config :muontrap, priv_dir:"

  @doc "Returns the folder as the bytes that the kernel knows it by, or what is in the way, in words."
  @spec dir() :: {:ok, Path.t()} | {:error, String.t()}
  def dir do
    path = application()

    case if(not File.dir?(path), do: escript(path)) do
      nil -> {:ok, path}
      escript -> extract(escript)
    end
  end

  defp application do
    case :code.priv_dir(:muontrap) do
      {:error, :bad_name} -> beam() |> Path.dirname() |> Path.join("../priv") |> Path.expand()
      path -> bytes(path)
    end
  end

  # In an escript the modules of all applications lie side by side.
  defp beam do
    case :code.which(__MODULE__) do
      [_ | _] = path -> bytes(path)
      _not_told -> "/"
    end
  end

  # The file that this VM runs, if the code comes from within it.
  defp escript(path) do
    beam = beam()
    archive(path) || archive(Path.dirname(beam)) || if not File.regular?(beam), do: script()
  end

  defp script do
    with [name | _arguments] <- :init.get_plain_arguments(),
         path = bytes(name),
         true <- File.regular?(path),
         do: path,
         else: (_none -> nil)
  end

  # Not as Elixir does it, which makes UTF-8 of what a VM of latin1 has as one character per byte.
  defp bytes(path),
    do: :unicode.characters_to_binary(path, :unicode, :file.native_name_encoding())

  # The file that a path leads through as if it were a folder.
  defp archive(path) do
    parent = Path.dirname(path)

    cond do
      File.regular?(path) -> path
      parent == path -> nil
      true -> archive(parent)
    end
  end

  defp extract(escript) do
    with {:ok, files} <- contents(escript),
         name =
           "escript-" <> Base.encode16(:erlang.md5(:erlang.term_to_binary(files)), case: :lower),
         {:ok, cache} <- cache(),
         folder = Path.join(cache, name),
         :ok <- private(cache),
         :ok <- private(folder),
         :ok <- each(files, fn {file, content} -> put(Path.join(folder, file), content) end) do
      {:ok, folder}
    end
  end

  defp contents(escript) do
    with {:ok, sections} <- :escript.extract(to_charlist(escript), []),
         archive when is_binary(archive) <- sections[:archive],
         {:ok, entries} <- :zip.unzip(archive, [:memory, file_filter: &ours?/1]),
         [_ | _] = files <- for({name, content} <- entries, do: {Path.basename(name), content}) do
      {:ok, Enum.sort(files)}
    else
      _none -> {:error, "#{escript} holds no native part of muontrap: #{@mend}"}
    end
  end

  # `{:zip_file, name, info, comment, offset, size}`. Some versions of Mix keep the folders of `priv` and some do not.
  defp ours?(entry) do
    name = to_string(elem(entry, 1))

    Path.dirname(name) in [".", "muontrap/priv"] and
      String.starts_with?(Path.basename(name), "muontrap") and
      Path.extname(name) in ["", ".so"]
  end

  defp cache do
    {:ok, to_string(:filename.basedir(:user_cache, ~c"muontrap"))}
  rescue
    _no_home ->
      {:error,
       "there is no HOME to put the native parts into: set it or XDG_CACHE_HOME, or #{@mend}"}
  catch
    _kind, _no_home ->
      {:error,
       "there is no HOME to put the native parts into: set it or XDG_CACHE_HOME, or #{@mend}"}
  end

  # Makes a folder, or finds one that nobody else can have put something into.
  defp private(folder) do
    made =
      with :ok <- File.mkdir_p(Path.dirname(folder)),
           :ok <- File.mkdir(folder),
           do: File.chmod(folder, 0o700)

    case made do
      result when result in [:ok, {:error, :eexist}] ->
        if own?(folder, :directory), do: :ok, else: {:error, not_private(folder)}

      {:error, reason} ->
        {:error,
         "cannot make #{folder}: #{:file.format_error(reason)}; set XDG_CACHE_HOME, or #{@mend}"}
    end
  end

  defp not_private(path) do
    "#{path} is another user's, or others may write to it, so nothing is run from there: take it away, set " <>
      "XDG_CACHE_HOME, or #{@mend}"
  end

  # Never follows a link.
  defp own?(path, type) do
    case File.lstat(path) do
      {:ok, %{type: ^type, uid: uid, mode: mode}} -> uid == user() and (mode &&& 0o022) == 0
      _other -> false
    end
  end

  # The effective user, whom files that this VM makes belong to.
  defp user do
    with {:ok, status} <- File.read("/proc/self/status"),
         [_line, uid] <- Regex.run(~r/^Uid:\s+\d+\s+(\d+)/m, status) do
      String.to_integer(uid)
    else
      _no_proc -> made_by_us()
    end
  end

  defp made_by_us do
    probe =
      Path.join(
        System.tmp_dir!(),
        "muontrap-#{System.pid()}-#{System.unique_integer([:positive])}"
      )

    :ok = File.write(probe, "", [:exclusive])
    %{uid: uid} = File.lstat!(probe)
    File.rm!(probe)
    uid
  end

  # A running VM may have the old file mapped: it is replaced, never written into.
  defp put(path, content) do
    if own?(path, :regular) and File.read(path) == {:ok, content} do
      :ok
    else
      new = "#{path}.#{System.pid()}.#{System.unique_integer([:positive])}"

      with :ok <- File.write(new, content, [:exclusive]),
           :ok <- File.chmod(new, 0o700),
           :ok <- File.rename(new, path) do
        :ok
      else
        {:error, reason} ->
          _ = File.rm(new)

          {:error,
           "cannot write #{path}: #{:file.format_error(reason)}; set XDG_CACHE_HOME, or #{@mend}"}
      end
    end
  end

  defp each(list, fun), do: Enum.reduce_while(list, :ok, fn item, :ok -> go_on(fun.(item)) end)
  defp go_on(:ok), do: {:cont, :ok}
  defp go_on(error), do: {:halt, error}
end
