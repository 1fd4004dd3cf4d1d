# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Reason do
  @moduledoc false
  # What a Daemon stops with when its program has ended.

  alias MuonTrap.{Command, Error, Options}

  @doc "The reason, `ready?` being whether the program was ready before."
  @spec of(Command.terminal(), boolean(), Options.t(), Command.t()) :: term()
  def of({:ended, outcome}, ready?, options, _command) do
    status = Command.exit_status(outcome.status)

    cond do
      not ready? ->
        %Error{
          step: :ready,
          subject: options.command,
          reason: :exited,
          hint: hint(outcome, status)
        }

      status == 0 ->
        :normal

      options.exit_status_to_reason ->
        options.exit_status_to_reason.(status)

      outcome.oom_killed ->
        {:oom_killed, status}

      true ->
        :error_exit_status
    end
  end

  def of({:failed, failure}, _ready?, _options, command),
    do: Command.start_error(command, failure)

  def of({:lost, failure, _survivors}, _ready?, _options, _command), do: Command.error(failure)

  defp hint(%{oom_killed: true}, status),
    do: "the kernel killed it for its memory, exit status #{status}"

  defp hint(_outcome, status), do: "exit status #{status}"
end
