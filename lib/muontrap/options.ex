# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options do
  @moduledoc """
  The check of a call against the one table of all options.

  `MuonTrap` and `MuonTrap.Daemon` call `validate!/4` before anything is started. Their documentation lists their
  options with a sentence each, from the same table. Call `validate!/4` directly to see what options come to.

  ## Details of some options

  #{MuonTrap.Options.Docs.details()}\
  """

  alias MuonTrap.{Cgroup, Defaults}
  alias MuonTrap.Options.{Conflicts, Docs, Legacy, Refusal, Table, Type}

  @typedoc "The function that the options are for."
  @type kind :: :cmd | :run | :stream | :pipeline | :daemon | :session

  @typedoc """
  A checked call: `:command`, `:args` and every option of the function, those not given with their default.

  Normalized are `:env` (a list of `{name, value | nil}`, each name once), `:stop_signal` (a number),
  `:rlimits` (a sorted list of `{resource, {soft, hard}}`), `:cgroup_sets` (string values), ids given as
  strings of digits (integers), `:logger_fun` (a function or `{module, function, args}`) and log levels
  (`:warn` is `:warning`).
  """
  @type t :: %{
          required(:command) => String.t(),
          required(:args) => [String.t()],
          optional(atom()) => term()
        }

  @functions [
    cmd: "MuonTrap.cmd/3",
    run: "MuonTrap.run/3",
    stream: "MuonTrap.stream/3",
    pipeline: "MuonTrap.pipeline/2",
    daemon: "MuonTrap.Daemon.start_link/3",
    session: "MuonTrap.open/3"
  ]

  @all Keyword.keys(@functions)
  @keys Table.rows() |> Enum.map(&elem(&1, 0)) |> Enum.uniq()

  @doc """
  Checks a call and returns it normalized, with the defaults filled in.

  Options are a keyword list, or a map.

  ## Errors

  Raises `ArgumentError`, with what was expected, what to write instead and what came, for a command or argument that
  is not a string or holds a NUL byte, an unknown option, a malformed value, and options that exclude each other. Of
  arguments, environment and input the message shows only the kind of value: they may hold a secret.
  """
  @spec validate!(kind(), term(), term(), term()) :: t()
  def validate!(kind, command, args, opts) when kind in @all do
    unless Type.string?(command), do: Refusal.command!(name(kind), command)

    unless is_list(args) and not List.improper?(args), do: Refusal.arguments!(name(kind), args)

    for {arg, position} <- Enum.with_index(args, 1), not Type.string?(arg) do
      Refusal.argument!(name(kind), arg, position)
    end

    opts = keyword!(opts, kind)

    opts
    |> Enum.reduce(defaults(kind), &put_option!(&2, kind, &1))
    |> check_conflicts!(kind, opts)
    |> settle(kind)
    |> put_log_prefix(command)
    |> Map.merge(%{command: command, args: args})
  end

  @doc """
  Checks a call as `validate!/4` does, and returns it in the form that MuonTrap 1.x and 2.x have.

  That is a map with `:cmd` (the absolute path), `:args`, `:into` (`""` unless given) and those options that were
  given. It is there for code that was written against it, and to look at options without running anything.

    * `:env` - a list of `{name, value | false}` with charlists, as `Port.open/2` takes it
    * `:logger_fun` - a function or `{module, function, args}`
    * `:cgroup_base` - a random path below it is in `:cgroup_path` as well
    * `:cgroup` - becomes `:cgroup_controllers` and `:cgroup_sets`, with the file names of cgroup v2

  ## Errors

    * `ArgumentError` as `validate!/4` raises it
    * `ErlangError` with `:enoent` - there is no such program in `PATH`

  ## Examples

      iex> MuonTrap.Options.validate(:cmd, "/bin/sh", ["-c", "true"], timeout: 100)
      %{cmd: "/bin/sh", args: ["-c", "true"], into: "", timeout: 100}
  """
  @spec validate(:cmd | :daemon, binary(), [binary()], keyword() | map()) :: map()
  def validate(kind, command, args, opts) when kind in [:cmd, :daemon] do
    checked = validate!(kind, command, args, opts)
    # Without the arguments, which would be in the stack trace: they may hold a secret.
    path = System.find_executable(command) || :erlang.error(:enoent)
    given = Map.new(opts)
    Enum.reduce(given, %{cmd: path, args: args, into: ""}, &Legacy.put(&2, &1, checked))
  end

  @doc """
  Returns the options of a function as Markdown, for its documentation: in groups, each with a sentence, what it takes,
  and its default.
  """
  @spec docs(kind()) :: String.t()
  def docs(kind) when kind in @all, do: Docs.of(kind)

  @doc """
  Returns the keys that a function takes, in the order of the documentation.
  """
  @spec keys(kind()) :: [atom()]
  def keys(kind) when kind in @all, do: for(row <- Table.rows(kind), do: elem(row, 0))

  defp name(kind), do: Keyword.fetch!(@functions, kind)

  defp put_option!(options, kind, {key, value}) do
    case for {^key, kinds, type, _default, _doc} <- Table.rows(), do: {kinds, type} do
      [] ->
        Refusal.unknown!(name(kind), key, @keys)

      rows ->
        type = Enum.find_value(rows, fn {kinds, type} -> if kind in kinds, do: type end)
        unless type, do: Refusal.elsewhere!(kind, name(kind), key, others(rows))
        if type in [:cgroup_base, :cgroup_path], do: check_relative!(kind, key, value)
        Map.put(options, key, cast!(type, kind, key, value))
    end
  end

  defp others(rows), do: for({kinds, _type} <- rows, kind <- kinds, do: name(kind))

  # "/a" is "a"; what begins with a mount point would be a group of that name below another one.
  defp check_relative!(kind, key, "/" <> _rest = path) do
    with {mount, below} <- Cgroup.below_mount(path),
         do: Refusal.mounted!(name(kind), key, path, mount, below)
  end

  defp check_relative!(_kind, _key, _value), do: :ok

  defp keyword!(opts, kind) when is_map(opts) and not is_struct(opts),
    do: opts |> Map.to_list() |> keyword!(kind)

  defp keyword!(opts, kind) do
    unless Keyword.keyword?(opts), do: Refusal.options!(name(kind), opts)
    opts
  end

  defp cast!(type, kind, key, value) do
    case Type.cast(type, value) do
      {:ok, value} -> value
      {:error, culprit} -> Refusal.value!(name(kind), key, type, value, culprit)
    end
  end

  for kind <- @all do
    defaults =
      for {key, _kinds, type, default, _doc} <- Table.rows(kind), into: %{} do
        case default do
          default when default == nil or is_tuple(default) -> {key, nil}
          default -> {key, type |> Type.cast(default) |> elem(1)}
        end
      end

    defp defaults(unquote(kind)) do
      %{
        unquote(Macro.escape(defaults))
        | stdio_window: Defaults.stdio_window(),
          delay_to_sigkill: Defaults.delay_to_sigkill()
      }
    end
  end

  defp check_conflicts!(options, kind, given) do
    with {left, right, why} <- Conflicts.exclusive(options, given),
         do: Refusal.exclusive!(name(kind), left, right, why, options)

    with {keys, what} <- Conflicts.lacking(options),
         do: Refusal.lacking!(name(kind), keys, what, options)

    options
  end

  # Upstream takes both; standard output is dropped then.
  defp settle(%{capture_stderr_only: true, stderr_to_stdout: true} = options, kind),
    do: settle(%{options | stderr_to_stdout: false}, kind)

  # The input is all that there is to read then.
  defp settle(%{input: input} = options, :daemon) when input != nil, do: %{options | stdin: :null}
  defp settle(options, _kind), do: options

  defp put_log_prefix(%{log_prefix: nil} = options, command),
    do: %{options | log_prefix: command <> ": "}

  defp put_log_prefix(options, _command), do: options
end
