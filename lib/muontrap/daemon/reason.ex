# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Reason do
  @moduledoc false
  # What a Daemon stops with when its program has ended.

  alias MuonTrap.{Bounds, Call, Command, Error}
  alias MuonTrap.Daemon.{Output, State}

  @doc "The reason, for a program whose output is logged."
  @spec of(Command.terminal(), State.t()) :: term()
  def of({:ended, outcome}, %{options: options} = state) do
    status = Command.exit_status(outcome.status)

    cond do
      state.ready != :ready ->
        %Error{
          step: :ready,
          subject: options.command,
          reason: :exited,
          hint: hint(outcome, status)
        }

      status == 0 ->
        :normal

      options.exit_status_to_reason == :result ->
        {:exit_status, result(outcome, state)}

      options.exit_status_to_reason ->
        options.exit_status_to_reason.(status)

      outcome.oom_killed ->
        {:oom_killed, status}

      true ->
        :error_exit_status
    end
  end

  def of({:failed, failure}, state), do: Command.start_error(state.command, failure)
  def of({:lost, failure, _survivors}, _state), do: Command.error(failure)

  defp result(outcome, %{command: command, output: output}) do
    {stream, tail} = Output.tail(output)
    {stdout, stderr} = if stream == :stdout, do: {tail, nil}, else: {nil, tail}
    Call.result(command, outcome, Bounds.none(), stdout, stderr)
  end

  defp hint(%{oom_killed: true}, status),
    do: "the kernel killed it for its memory, exit status #{status}"

  defp hint(_outcome, status), do: "exit status #{status}"
end
