# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options.Refusal do
  @moduledoc false
  # What is said of a call that cannot be right: what was expected, what to write instead, and what came.
  #
  # Arguments, environment and input may hold secrets, and messages go to logs: of these only the kind is shown.

  alias MuonTrap.Options.{Type, Words}
  alias MuonTrap.Text

  # What to use instead of an option that another function has.
  @instead [
    {:capture_stderr, [:cmd],
     "use MuonTrap.run/3, whose result has :stderr, or stderr_to_stdout: true"},
    {:capture_stderr, [:daemon], "use log_stderr: to log it, or stderr_to_stdout: true"},
    {:timeout, [:daemon],
     "a Daemon runs until it is stopped; start_timeout: limits its start, watchdog: its silence"},
    {:into, [:daemon], "use log_output: or logger_fun: for the output"},
    {:into, [:stream], "use Enum.into/2 on the stream"},
    {:lines, [:daemon], "output comes in lines always; use log_output: or logger_fun: for it"},
    {:use_stdio, [:stream, :daemon],
     "use MuonTrap.cmd/3 for a program with the VM's own streams"},
    {:stderr, [:cmd, :run, :stream],
     "standard error is the VM's unless stderr_to_stdout: or capture_stderr_only: takes it"},
    {:log_stderr, [:cmd, :run, :stream], "use capture_stderr: with MuonTrap.run/3, and log that"}
  ]

  @doc "For a command that is no string, or none that the kernel can take."
  @spec command!(String.t(), term()) :: no_return()
  def command!(function, command) when is_binary(command) do
    raise ArgumentError,
          "cannot execute #{function} for program with null byte: expected a command without NUL bytes, " <>
            "got: #{inspect(command)}"
  end

  def command!(function, command) do
    such_as =
      cond do
        command in [nil, true, false] -> nil
        is_atom(command) -> Atom.to_string(command)
        Words.kind(command) == "a charlist" -> List.to_string(command)
        true -> nil
      end

    raise ArgumentError,
          "#{function} expects a string as the command, such as #{inspect(such_as || "ls")}, " <>
            "got: #{if such_as, do: inspect(command), else: Words.kind(command)}"
  end

  @doc "For arguments that are no list."
  @spec arguments!(String.t(), term()) :: no_return()
  def arguments!(function, args) do
    raise ArgumentError,
          ~s(#{function} expects a list of arguments, such as ["-l", "/tmp"], got: #{Words.kind(args)})
  end

  @doc "For an argument that is no string, or none that the kernel can take. `position` is 1 for the first."
  @spec argument!(String.t(), term(), pos_integer()) :: no_return()
  def argument!(function, arg, position) do
    instead =
      cond do
        Words.kind(arg) == "a charlist" -> " (strings in double quotes)"
        is_atom(arg) or is_number(arg) -> " (to_string/1 makes one)"
        true -> nil
      end

    raise ArgumentError,
          "all arguments for #{function} must be binaries without NUL bytes#{instead}, " <>
            "got: #{Words.kind(arg)} as argument #{position}"
  end

  @doc "For options that are neither a keyword list nor a map."
  @spec options!(String.t(), term()) :: no_return()
  def options!(function, opts) do
    raise ArgumentError,
          "#{function} expects options as a keyword list or a map with atoms as keys, such as " <>
            "[cd: \"/tmp\"], got: #{got_options(opts)}"
  end

  defp got_options([_ | _] = opts) do
    case Enum.find_index(opts, &(not match?({key, _value} when is_atom(key), &1))) do
      nil -> "a list"
      index -> got_option(Enum.at(opts, index), index + 1)
    end
  rescue
    # An improper list.
    FunctionClauseError -> "a list"
  end

  defp got_options(opts), do: Words.kind(opts)

  defp got_option({key, _value}, _position) when is_binary(key), do: "the key #{inspect(key)}"
  defp got_option(key, _position) when is_atom(key), do: "#{inspect(key)} without a value"
  defp got_option(other, position), do: "#{Words.kind(other)} as element #{position}"

  @doc "For a key that no function has."
  @spec unknown!(String.t(), atom(), [atom()]) :: no_return()
  def unknown!(function, key, keys) do
    advice =
      case Text.near(key, keys) do
        nil -> "h #{function |> String.split("/") |> hd()} in IEx lists what there is"
        near -> "did you mean #{inspect(near)}?"
      end

    raise ArgumentError, "unknown option #{inspect(key)} for #{function}; #{advice}"
  end

  @doc "For an option that only `others` take."
  @spec elsewhere!(atom(), String.t(), atom(), [String.t()]) :: no_return()
  def elsewhere!(kind, function, key, others) do
    advice =
      Enum.find_value(@instead, fn {option, kinds, text} ->
        if option == key and kind in kinds, do: text
      end)

    advice =
      advice ||
        "#{Enum.join(others, " and ")} #{if match?([_], others), do: "takes", else: "take"} it"

    raise ArgumentError, "option #{inspect(key)} is not for #{function}; #{advice}"
  end

  @doc "For a value, or a part of it, that the type of an option does not take."
  @spec value!(String.t(), atom(), Type.t(), term(), term()) :: no_return()
  def value!(function, key, type, value, culprit) do
    entry? = type == :groups and culprit != value
    what = if entry?, do: "invalid :groups entry", else: "invalid option #{inspect(key)}"
    instead = if key == :stdin and is_binary(value), do: " (use input: for something to read)"

    raise ArgumentError,
          "#{what} for #{function}: #{Words.expected(type, culprit)}#{instead}, " <>
            "got: #{Words.shown(type, culprit)}"
  end

  @doc "For a path that begins with the mount point of a cgroup hierarchy; `below` is what is behind it."
  @spec mounted!(String.t(), atom(), String.t(), String.t(), String.t()) :: no_return()
  def mounted!(function, key, path, mount, below) do
    instead = if below == "", do: "name a group below it", else: "write #{inspect(below)} instead"

    raise ArgumentError,
          "invalid option #{inspect(key)} for #{function}: expected a path relative to the mount point " <>
            "#{mount}, #{instead}, got: #{inspect(path)}"
  end

  @doc "For two options that exclude each other."
  @spec exclusive!(String.t(), atom(), atom(), String.t(), map()) :: no_return()
  def exclusive!(function, left, right, why, options) do
    raise ArgumentError,
          "#{function} cannot take #{inspect(left)} together with #{inspect(right)}: #{why}, " <>
            "got: #{got(options, [left, right])}"
  end

  @doc "For an option that needs another one."
  @spec lacking!(String.t(), [atom()], String.t(), map()) :: no_return()
  def lacking!(function, keys, what, options),
    do: raise(ArgumentError, "#{function} #{what}, got: #{got(options, keys)}")

  defp got(options, keys) do
    shown =
      Enum.map_join(keys, ", ", fn
        key when key in [:input, :env] -> "#{key}: #{Words.kind(options[key])}"
        key -> "#{key}: #{inspect(options[key])}"
      end)

    "[#{shown}]"
  end
end
