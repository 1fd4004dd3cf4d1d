# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ExitError do
  @moduledoc """
  A program did not exit with status 0. `MuonTrap.run!/3`, `MuonTrap.cmd!/3`, `MuonTrap.stream!/3` and
  `MuonTrap.pipe!/4` raise this error.

  ## Fields

    * `:command` - the program without its arguments, which may hold a secret
    * `:result` - the `MuonTrap.Result`. For a stream its `:output` is `nil`, because the stream has emitted the output
    * `:stderr` - the end of standard error, whole lines of up to 4 KiB; `""` if an option sent it elsewhere

  ## Examples

      iex> try do
      ...>   MuonTrap.cmd!("sh", ["-c", "exit 3"])
      ...> rescue
      ...>   error in MuonTrap.ExitError -> Exception.message(error)
      ...> end
      "sh exited with status 3"
  """

  alias MuonTrap.{Result, Text}

  @typedoc "The fields above."
  @type t :: %__MODULE__{command: String.t(), result: Result.t(), stderr: binary()}

  @enforce_keys [:command, :result]
  defexception [:command, :result, stderr: ""]

  @impl Exception
  def message(%{command: command, result: result, stderr: stderr}) do
    end_of_stderr =
      case String.trim_trailing(Text.repair(stderr)) do
        "" -> ""
        text -> ". The end of its standard error:\n" <> text
      end

    "#{Path.basename(Text.repair(command))} #{how(result)}#{end_of_stderr}"
  end

  defp how(%{status: :timeout}), do: "did not end in time and was stopped"
  defp how(%{status: :idle_timeout}), do: "wrote nothing for too long and was stopped"
  defp how(%{status: :max_output}), do: "wrote more than it may and was stopped"
  defp how(%{status: {:exited, code}}), do: "exited with status #{code}"
  defp how(%{status: {:signaled, _}, oom_killed: true}), do: "ran out of memory and was killed"

  defp how(%{status: {:signaled, signal}}) when is_atom(signal),
    do: "was ended by #{signal |> Atom.to_string() |> String.upcase()}"

  defp how(%{status: {:signaled, number}}), do: "was ended by signal #{number}"
end
