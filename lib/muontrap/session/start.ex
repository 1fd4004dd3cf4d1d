# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Start do
  @moduledoc false
  # The start of the program of a session, the one thing for which its process waits.

  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Call, Command, Error, Options}

  @doc "Starts the program of a checked call, for the calling process, and waits until it runs."
  @spec start(Options.t()) :: {:ok, Command.t(), os_pid :: pos_integer()} | {:error, Error.t()}
  def start(options) do
    with {:ok, command} <- Call.start(options, Call.stderr(options, false), true, announce: true) do
      case Command.next(command, :infinity) do
        {{:started, os_pid}, command} ->
          {:ok, command, os_pid}

        {terminal, command} when is_terminal(terminal) ->
          Command.report(command, terminal)
          {:error, not_started(command, terminal)}
      end
    end
  end

  defp not_started(command, {:failed, failure}), do: Command.start_error(command, failure)
  defp not_started(_command, {:lost, failure, _survivors}), do: Command.error(failure)
end
