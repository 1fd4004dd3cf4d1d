# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Docs do
  @moduledoc "What is written for readers: of modules, from their docs chunks, and in Markdown files."

  @doc "The modules of the library itself, test support left out, with what `Code.fetch_docs/1` says."
  @spec modules() :: [{module(), tuple()}]
  def modules do
    Application.load(:muontrap)

    for module <- Application.spec(:muontrap, :modules),
        ours?(module),
        {:docs_v1, _, _, _, _, _, _} = docs <- [Code.fetch_docs(module)],
        do: {module, docs}
  end

  # Erlang modules and implementations of protocols have no documentation of their own.
  defp ours?(module) do
    Code.ensure_loaded!(module)

    source = to_string(module.module_info(:compile)[:source])

    String.ends_with?(source, ".ex") and String.contains?(source, "/lib/") and
      not function_exported?(module, :__impl__, 1)
  end

  @doc "Those that readers see."
  @spec public() :: [{module(), tuple()}]
  def public, do: Enum.reject(modules(), fn {_module, docs} -> elem(docs, 4) == :hidden end)

  @doc "The Markdown that readers see of a module: where it is, and the text."
  @spec texts(module(), tuple()) :: [{String.t(), String.t()}]
  def texts(module, {:docs_v1, _, _, _, moduledoc, _, entries}) do
    entries =
      for {{_kind, name, arity}, _, _, %{"en" => text}, _} <- entries,
          do: {"#{inspect(module)}.#{name}/#{arity}", text}

    case moduledoc do
      %{"en" => text} -> [{inspect(module), text} | entries]
      _none_or_hidden -> entries
    end
  end

  @doc "The Markdown files that the documentation consists of."
  @spec files() :: [Path.t()]
  def files do
    Mix.Project.config()[:docs][:extras]
    |> Enum.reject(&String.starts_with?(&1, "bench/"))
    |> Enum.filter(&File.exists?/1)
  end

  @doc "The text without its blocks of code."
  @spec prose(String.t()) :: String.t()
  def prose(text), do: Regex.replace(~r/^( *)```.*?^\1```/ms, text, "")

  @doc "The anchors of a Markdown file, as GitHub and ExDoc make them of its headings."
  @spec anchors(String.t()) :: [String.t()]
  def anchors(text) do
    for [_all, heading] <- Regex.scan(~r/^#+ +(.+)$/m, prose(text)) do
      heading
      |> String.replace(["`", "*"], "")
      |> String.downcase()
      |> String.replace(~r/[^\p{L}\p{N} _-]/u, "")
      |> String.trim()
      |> String.replace(" ", "-")
    end
  end
end
