# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Mix.Tasks.Muontrap.Checksum do
  @shortdoc "Writes the SHA-256 of muontrap's archives to a checksum.exs"

  @moduledoc """
  Writes the list of archives with native parts that a project may install.

      mix muontrap.checksum [FOLDER] [--output FILE] [--url URL]

  FOLDER is the folder where `bin/precompile` puts the archives, `_build/precompiled` by default. The list has all
  archives in it, also those of other versions.

    * `--output FILE` - the file to write, `checksum.exs` in FOLDER by default. A release of muontrap needs
      `checksum.exs` beside `mix.exs`, which goes into the package
    * `--url URL` - the address of the folder from which projects fetch the archives of the release. Without it, a
      project fetches archives only if it sets `config :muontrap, precompiled_url:`

  Raises `Mix.Error` if there is no archive.
  """

  use Mix.Task

  @impl Mix.Task
  def run(args) do
    # Since Elixir 1.15 a project has the path of what it names alone.
    if function_exported?(Mix, :ensure_application!, 1),
      do: apply(Mix, :ensure_application!, [:crypto])

    {options, arguments} = OptionParser.parse!(args, strict: [output: :string, url: :string])
    folder = List.first(arguments) || "_build/precompiled"
    output = options[:output] || Path.join(folder, "checksum.exs")

    archives = Path.wildcard(Path.join(folder, "muontrap-*-nif-*.tar.gz"))

    if archives == [] do
      Mix.raise("there is no archive in #{folder}. Build some with: bin/precompile TRIPLE...")
    end

    File.write!(output, text(options[:url], archives))
    Mix.shell().info("wrote #{output}: #{length(archives)} archives")
  end

  defp text(url, archives) do
    sums =
      for path <- archives do
        # Of no application that this one needs, so compilers must not see the call.
        hash = apply(:crypto, :hash, [:sha256, File.read!(path)])
        sum = Base.encode16(hash, case: :lower)
        "    #{inspect(Path.basename(path))} => #{inspect(sum)}"
      end

    """
    %{
      url: #{inspect(url)},
      sha256: %{
    #{Enum.join(sums, ",\n")}
      }
    }
    """
  end
end
