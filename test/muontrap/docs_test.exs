# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DocsTest do
  @moduledoc "The documentation is complete, and what it refers to is there."

  use ExUnit.Case, async: true

  alias MuonTrap.Docs

  # Who reads these wants to see what is inside, and what was once elsewhere.
  @of_internals ["guides/architecture.md", "guides/guarantees.md", "CHANGELOG.md"]
  # What upstream has and muontrap has not.
  @elsewhere ["MuonTrap.Cgroups", "MuonTrap.Daemon.process_data/1"]

  setup_all do
    %{docs: Map.new(Docs.modules())}
  end

  test "every module says what it is, or that it is internal", %{docs: docs} do
    silent = for {module, chunk} <- docs, elem(chunk, 4) == :none, do: module
    assert silent == []
    assert Map.has_key?(docs, MuonTrap)
  end

  test "every function, macro, callback and type of a public module is documented, or hidden" do
    silent =
      for {module, docs} <- Docs.public(),
          {{kind, name, arity}, _, _, text, _} <- elem(docs, 6),
          text == :none,
          # What `use` and `defexception` define.
          {name, arity} not in [child_spec: 1, exception: 1, message: 1],
          do: "#{kind} #{inspect(module)}.#{name}/#{arity}"

    assert silent == []
  end

  test "the modules, functions, types and tasks that the documentation names are there", %{
    docs: docs
  } do
    modules =
      for {module, docs} <- Docs.public(),
          {where, text} <- Docs.texts(module, docs),
          do: {where, module, text, false}

    files = for file <- Docs.files(), do: {file, nil, File.read!(file), file in @of_internals}

    lost =
      for {where, module, text, internals?} <- modules ++ files,
          [_all, code] <- Regex.scan(~r/(?<!`)`([^`\n]+)`(?!`)/, Docs.prose(text)),
          code not in @elsewhere,
          lost?(code, module, internals?, docs),
          do: "#{where}: `#{code}`"

    assert lost == []
  end

  test "the types of public functions are those of public modules", %{docs: docs} do
    hidden =
      for {module, {_, _, _, _, _, _, entries}} <- Docs.public(),
          shown = for({{:function, name, arity}, _, _, %{}, _} <- entries, do: {name, arity}),
          {:ok, specs} <- [Code.Typespec.fetch_specs(module)],
          {{name, arity}, clauses} <- specs,
          {name, arity} in shown,
          of <- remote_types(clauses),
          Map.has_key?(docs, of) and not module?(of, false, docs),
          do: "#{inspect(module)}.#{name}/#{arity}: #{inspect(of)}"

    assert hidden == []
  end

  test "every link leads to a file, and to a heading that it has" do
    sources = for file <- Docs.files(), do: {file, File.read!(file), Path.dirname(file)}

    # ExDoc has all files in one folder.
    texts =
      for {module, docs} <- Docs.public(),
          {where, text} <- Docs.texts(module, docs),
          do: {where, text, nil}

    lost =
      for {where, text, folder} <- sources ++ texts,
          [_all, target] <- Regex.scan(~r/\]\(([^)\s]+)\)/, Docs.prose(text)),
          not (target =~ ~r"^https?://"),
          lost_link?(target, where, folder),
          do: "#{where}: #{target}"

    assert lost == []
  end

  test "every file of the project that the documentation names is there" do
    all =
      Path.wildcard("{bin,config,guides,lib,livebooks,mix,native,src,test}/**", match_dot: false)

    lost =
      for file <- Docs.files(),
          [_all, name] <-
            Regex.scan(
              ~r/`([\w.\/-]+\.(?:exs?|rs|md|livemd|cheatmd|erl)|(?:bin|test|bench|lib|native)\/[\w.\/]*)`/,
              Docs.prose(File.read!(file))
            ),
          not made?(name),
          not Enum.any?(
            all ++ Path.wildcard("*"),
            &(&1 == String.trim_trailing(name, "/") or String.ends_with?(&1, "/" <> name))
          ),
          not File.exists?(name),
          do: "#{file}: #{name}"

    assert lost == []
  end

  test "all that the documentation shows is in the package, and has a place in the sidebar" do
    patterns = Mix.Project.config()[:package][:files]
    packaged = for pattern <- patterns, path <- Path.wildcard(pattern), do: path
    groups = Mix.Project.config()[:docs][:groups_for_extras]

    for file <- Docs.files() do
      assert Enum.any?(packaged, &(file == &1 or String.starts_with?(file, &1 <> "/"))), file
      assert Enum.any?(groups, fn {_name, pattern} -> file =~ pattern end), file
    end
  end

  defp remote_types({:remote_type, _line, [{:atom, _, module} | more]}),
    do: [module | remote_types(more)]

  defp remote_types(form) when is_tuple(form), do: form |> Tuple.to_list() |> remote_types()
  defp remote_types(forms) when is_list(forms), do: Enum.flat_map(forms, &remote_types/1)
  defp remote_types(_leaf), do: []

  # Written by a command, or by the reader.
  defp made?(name), do: name in ["checksum.exs", "bench/RESULTS.md", "tour.livemd"]

  defp lost_link?(target, where, folder) do
    {path, anchor} =
      case String.split(target, "#", parts: 2) do
        [path] -> {path, nil}
        [path, anchor] -> {path, anchor}
      end

    file =
      cond do
        path == "" -> where
        folder -> folder |> Path.join(path) |> Path.expand() |> Path.relative_to_cwd()
        true -> Enum.find(Docs.files(), path, &(Path.basename(&1) == path))
      end

    not File.exists?(file) or (anchor != nil and anchor not in Docs.anchors(File.read!(file)))
  end

  # A task, `Module`, `Module.function/arity`, `t:Module.type/0`, `c:Module.callback/1`, or `function/arity` alone.
  defp lost?("mix muontrap." <> task, _module, _internals?, _docs) do
    [name | _args] = String.split(task, " ")
    not Code.ensure_loaded?(Module.concat(Mix.Tasks.Muontrap, Macro.camelize(name)))
  end

  defp lost?(code, module, internals?, docs) do
    form = ~r/^([tc]:)?(?:(MuonTrap(?:\.[A-Z]\w*)*)(?:\.|$))?(?:([a-z_]\w*[?!]?)\/(\d))?$/

    case Regex.run(form, code, capture: :all_but_first) do
      nil ->
        false

      [_kind, named] ->
        not module?(Module.concat([named]), internals?, docs)

      [kind, "", name, arity] ->
        not in_reach?(module, {kind, name, arity}, docs)

      [kind, named, name, arity] ->
        not has?(Module.concat([named]), {kind, name, arity}, internals?, docs)
    end
  end

  # Alone, a function is of the module itself, or of one that the reader knows.
  defp in_reach?(module, {_kind, name, arity} = what, docs) do
    {function, arity} = {String.to_atom(name), String.to_integer(arity)}

    # Inside a module its own hidden ones as well, where a comment of its types says so.
    Enum.any?(Map.keys(docs), &has?(&1, what, &1 == module, docs)) or
      Enum.any?(
        [Kernel, IEx.Helpers, :erlang, GenServer, Exception],
        &callback?(&1, function, arity)
      ) or
      macro_exported?(Kernel, function, arity)
  end

  defp callback?(module, function, arity) do
    Code.ensure_loaded!(module)

    function_exported?(module, function, arity) or
      (function_exported?(module, :behaviour_info, 1) and
         {function, arity} in module.behaviour_info(:callbacks))
  end

  defp module?(module, internals?, docs) do
    case docs do
      %{^module => chunk} -> internals? or elem(chunk, 4) != :hidden
      _unknown -> false
    end
  end

  defp has?(module, {kind, name, arity}, internals?, docs) do
    {name, arity} = {String.to_atom(name), String.to_integer(arity)}

    kinds =
      case kind do
        "t:" -> [:type, :opaque]
        "c:" -> [:callback, :macrocallback]
        "" -> [:function, :macro]
      end

    module?(module, internals?, docs) and
      Enum.any?(elem(docs[module], 6), fn {{its_kind, its_name, most}, _, _, text, meta} ->
        its_kind in kinds and its_name == name and
          arity in (most - (meta[:defaults] || 0))..most and (internals? or text != :hidden)
      end)
  end
end
