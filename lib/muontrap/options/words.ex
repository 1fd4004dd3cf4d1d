# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options.Words do
  @moduledoc false
  # The words for the value types of the option table: what is expected in documentation and messages, and what came.

  alias MuonTrap.Cgroup.Keys
  alias MuonTrap.Options.Type
  alias MuonTrap.Signal

  # A limit that only a mistake exceeds.
  @endless 1_000_000_000

  @doc "What a type takes, as Markdown."
  @spec describe(Type.t()) :: String.t()
  def describe(:boolean), do: "a boolean"
  def describe(:string), do: "a string"

  def describe(:env), do: "`{name, value}` pairs in a list, a map or another enumerable"
  def describe(:collectable), do: "a Collectable, such as a string or a list"
  def describe(:input), do: "iodata or an enumerable of iodata"
  def describe(:signal), do: Signal.expected()

  def describe(:rlimits),
    do: "a keyword list or map; each limit is an integer, `:infinity` or `{soft, hard}`"

  def describe(:user), do: "a user other than root, as a name or an id"
  def describe(:group), do: "a group other than root's, as a name or an id"
  def describe(:groups), do: "a list of groups other than root's, as names or ids"
  def describe(:absolute_path), do: "an absolute path"

  def describe(:cgroup_path), do: "a path below the mount point, without `.` and `..`"
  def describe(:cgroup_base), do: describe(:cgroup_path) <> ", or `:self`"
  def describe(:cgroup_controllers), do: "a list of names, such as `[\"memory\", \"pids\"]`"

  def describe(:cgroup_sets),
    do:
      "a list such as `[{\"memory\", \"memory.max\", \"100M\"}]`, with strings or integers as values"

  def describe(:cgroup),
    do: "a map or keyword list of limits, such as `%{memory_max: \"100M\"}`"

  def describe(type) when type in [:stdio_window, :line_max], do: "bytes"
  def describe(type) when type in [:delay, :milliseconds], do: "milliseconds"
  def describe(type) when type in [:linger, :timeout], do: "milliseconds or `:infinity`"

  def describe(:max_output),
    do: "a number of bytes, `{bytes, :truncate}`, `{bytes, :stop}` or `:infinity`"

  def describe(:max_output_stop), do: "`{bytes, :stop}` or `:infinity`"

  def describe(:umask), do: "an integer from `0o000` to `0o777`"
  def describe(:name), do: "an atom, `{:global, term}` or `{:via, module, term}`"
  def describe(:log_level), do: "a Logger level, such as `:info`"

  def describe(:logger_fun),
    do: "a function of one argument, `{module, function}` or `{module, function, arguments}`"

  def describe(:keyword), do: "a keyword list"

  def describe(:ready),
    do:
      "`{:output, regex}`, `{:tcp, port}`, `{:fun, function}` with a function without arguments, or `:notify`"

  def describe(:exit_reason), do: describe({:function, 1}) <> ", or `:result`"

  def describe(:stop),
    do:
      "a signal name or `{command, arguments}`, or a list of those, each with a pause in milliseconds after it or not"

  def describe(:restart_backoff),
    do:
      "`true`, or a keyword list with `:first`, `:max`, `:healthy_after` (milliseconds, 1 or more, `:first` at most `:max`) " <>
        "and `:on` (`:failure` or `:end`)"

  def describe(:pty),
    do: "`true`, `false`, or a keyword list of `rows:`, `cols:` (1 to 65535 each) and `term:`"

  def describe(:node), do: "the name of a node, such as `:\"worker@host\"`"
  def describe(:active), do: "`true`, `false`, `:once` or a number of events"

  def describe({:integer, %{first: 1, last: last}}) when last >= @endless,
    do: "an integer, 1 or more"

  def describe({:integer, range}), do: "an integer from #{range.first} to #{range.last}"
  def describe({:function, 0}), do: "a function without arguments"
  def describe({:function, 1}), do: "a function of one argument"
  def describe({:one_of, atoms}), do: Enum.map_join(atoms, " or ", &"`#{inspect(&1)}`")

  @doc "What a refusal says that it expected in place of `culprit`, the value or the part of it that is wrong."
  @spec expected(Type.t(), term()) :: String.t()
  def expected(type, culprit) do
    text = special(type, culprit) || "expected " <> describe(type)
    String.replace(text, "`", "")
  end

  defp special(:string, text) when is_binary(text), do: "expected a string without NUL bytes"

  defp special(:env, {name, value}) when is_binary(name) and (is_binary(value) or value == nil),
    do:
      "expected names that are neither empty nor hold \"=\", and names and values without NUL bytes"

  defp special(:signal, value), do: Signal.refusal(value)

  defp special(:rlimits, {resource, limit}) do
    cond do
      resource not in Type.resources() ->
        "expected one of the resources #{list(Type.resources())}"

      match?({soft, hard} when hard < soft, limit) ->
        "expected a soft limit that is not over the hard one"

      true ->
        "expected a limit or {soft, hard}, each :infinity or an integer from 0 to 2^64 - 2"
    end
  end

  defp special(type, id) when type in [:user, :group] and id in [0, "0", "root"],
    do: "expected #{describe(type)}; without this option the program runs as the VM does"

  defp special(:groups, group) when group in [0, "0", "root"],
    do: "expected #{describe(:groups)}; a program has root's group only where the VM has it"

  defp special(:groups, list) when is_list(list), do: nil
  defp special(:groups, _entry), do: "expected " <> describe(:group)

  defp special(:cgroup, {key, value}), do: Keys.expected(key, value)

  defp special(:max_output_stop, bytes) when is_integer(bytes) and bytes >= 0,
    do: special(:max_output_stop, {bytes, :truncate})

  defp special(:max_output_stop, {bytes, :truncate}),
    do:
      "expected `{#{inspect(bytes)}, :stop}` or `:infinity`, as nobody can wait for an answer that is dropped"

  defp special(:boolean, _value), do: "expected `true` or `false`"
  defp special(:log_level, _value), do: "expected one of #{list(Type.log_levels())}"

  defp special(type, number) do
    range = Type.range(type)

    cond do
      range == nil ->
        nil

      is_integer(number) and number > range.last and range.last >= @endless ->
        "expected #{describe(type)}, at most #{range.last}"

      describe(type) =~ ~r/^(bytes|milliseconds)/ ->
        "expected #{String.replace(describe(type), ~r/^\w+/, "\\0 (an integer, #{range.first} or more)")}"

      true ->
        nil
    end
  end

  @doc """
  What a refusal says that it got. Of the environment and of input nothing but the kind is shown: they may hold a
  secret.
  """
  @spec shown(Type.t(), term()) :: String.t()
  def shown(:env, {name, value}) when is_binary(name), do: "{#{inspect(name)}, #{kind(value)}}"
  def shown(type, value) when type in [:env, :input], do: kind(value)
  # The same holds for the arguments of a command.
  def shown(:stop, {command, _args}), do: "{#{inspect(command)}, ...}"
  def shown(:stop, line) when is_binary(line), do: "a string"
  def shown({:one_of, _atoms}, text) when is_binary(text), do: "a string"

  def shown(:cgroup, {key, value}),
    do: if(key in Keys.all(), do: inspect(value), else: inspect(key))

  def shown(_type, value), do: inspect(value)

  @doc "A kind of value in words."
  @spec kind(term()) :: String.t()
  def kind(value) when value in [nil, true, false], do: inspect(value)
  def kind(value) when is_atom(value), do: "an atom"

  def kind(value) when is_binary(value),
    do: if(Type.string?(value), do: "a string", else: "a string with a NUL byte")

  def kind([]), do: "an empty list"
  def kind(value) when is_list(value), do: if(charlist?(value), do: "a charlist", else: "a list")
  def kind(value) when is_integer(value), do: "an integer"
  def kind(value) when is_float(value), do: "a float"
  def kind(value) when is_tuple(value), do: "a tuple of #{tuple_size(value)}"
  def kind(value) when is_function(value), do: "a function"
  def kind(%module{}), do: "a #{inspect(module)}"
  def kind(value) when is_map(value), do: "a map"
  def kind(_value), do: "something else"

  defp charlist?(list), do: not List.improper?(list) and List.ascii_printable?(list)

  defp list(atoms), do: Enum.map_join(atoms, ", ", &"`#{inspect(&1)}`")
end
