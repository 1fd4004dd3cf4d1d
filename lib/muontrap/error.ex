# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Error do
  @moduledoc """
  The system refused something: a command could not be started, contained or stopped.

  Mistakes in a call raise `ArgumentError` instead. `MuonTrap.cmd/3` raises a bare errno in the same cases as
  `System.cmd/3`.

  ## Fields

    * `:step` - the step that failed, to match on, see `t:step/0`
    * `:subject` - what the step was about: a path, user, group, file or limit; or `nil`
    * `:reason` - why, see `t:reason/0`
    * `:hint` - how to fix it on this machine, or `nil`. `message/1` has general hints for some steps and reasons

  ## Examples

      iex> error = %MuonTrap.Error{step: :chdir, subject: "/nowhere", reason: :enoent}
      iex> Exception.message(error)
      ~S'cannot change to directory "/nowhere": no such file or directory (enoent); ' <>
        "make the directory first, or check cd:"
      iex> inspect(error) == "#MuonTrap.Error<" <> Exception.message(error) <> ">"
      true

      iex> try do
      ...>   MuonTrap.run("no-such-program", [])
      ...> rescue
      ...>   error in MuonTrap.Error -> {error.step, error.subject, error.reason}
      ...> end
      {:lookup, "no-such-program", :enoent}
  """

  alias MuonTrap.Error.Steps

  @typedoc """
  The step that failed.

  A later version may have more steps, so end a `case` with a clause for all others.

  #{Steps.docs()}
  """
  @type step :: unquote(Enum.reduce(Steps.all(), quote(do: atom()), &{:|, [], [&1, &2]}))

  @typedoc """
  An errno of the kernel as a lower-case atom (`:enoent`, `:eacces`), or one of muontrap's own:

  #{Steps.docs_of_reasons()}
  """
  @type reason :: File.posix() | atom()

  @typedoc "The fields above."
  @type t :: %__MODULE__{
          step: step(),
          subject: String.t() | nil,
          reason: reason(),
          hint: String.t() | nil
        }

  @enforce_keys [:step, :reason]
  defexception [:step, :subject, :reason, :hint]

  @impl true
  def message(%__MODULE__{step: step, subject: subject, reason: reason} = error) do
    hint = error.hint || Steps.hint(step, reason, subject)

    "cannot #{Steps.operation(step, subject)}: #{Steps.reason(reason)} (#{reason})" <>
      if(hint, do: "; " <> hint, else: "")
  end

  @doc false
  # For an errno that is raised bare: what formats it looks here, see `MuonTrap.Call.fail!/2` and EEP 54.
  @spec format_error(term(), Exception.stacktrace()) :: map()
  def format_error(_errno, [{_module, _function, _arguments, info} | _callers]),
    do: %{general: message(info[:error_info].cause)}

  # In logs and under supervisors nobody calls message/1. The fields are there to match on, and `inspect/2` shows them
  # with `structs: false`.
  defimpl Inspect do
    def inspect(error, _opts), do: "#MuonTrap.Error<#{Exception.message(error)}>"
  end
end
