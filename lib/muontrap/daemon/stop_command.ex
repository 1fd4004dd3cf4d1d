# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.StopCommand do
  @moduledoc false
  # A command that asks a program to stop, contained as any other: it runs as the program does, in a process of its own,
  # while the Daemon waits for the program.

  alias MuonTrap.{Daemon, Late, Options, StderrTail, Text}

  @inherited [:cd, :clear_env, :uid, :gid, :groups, :umask]

  @doc "Runs it for no longer than that. `options` are those of the Daemon, its environment among them."
  @spec start({String.t(), [String.t()]}, Options.t(), pos_integer(), non_neg_integer()) ::
          Task.t()
  def start({command, args}, options, os_pid, timeout_ms) do
    metadata = Logger.metadata()

    opts =
      for {key, value} when value != nil <- Map.take(options, @inherited),
          into: %{
            env: options.env ++ [{"MAINPID", "#{os_pid}"}],
            timeout: timeout_ms |> max(1) |> Late.at_once_ms(),
            stderr_to_stdout: true
          },
          do: {key, value}

    Task.async(fn ->
      Logger.metadata(metadata)
      run(command, args, opts, Text.repair(options.command))
    end)
  end

  defp run(command, args, opts, program) do
    {tail, result} =
      command
      |> MuonTrap.stream(args, opts)
      |> Enum.reduce({"", nil}, fn
        {:exit, result}, {tail, nil} -> {tail, result}
        bytes, {tail, nil} -> {StderrTail.keep(tail, bytes), nil}
      end)

    if result.status != {:exited, 0} do
      error = %MuonTrap.ExitError{command: command, result: result, stderr: StderrTail.text(tail)}
      complain(program, Exception.message(error))
    end
  rescue
    error -> complain(program, Exception.message(error))
  end

  defp complain(program, text), do: Daemon.log(:warning, "#{program}: stop command: #{text}")

  @doc "Waits for its end, which its time bounds."
  @spec await(Task.t(), integer()) :: :ok
  def await(task, margin_ms) do
    # Less than nothing is left after a long pause, or a long logging.
    margin_ms = margin_ms |> max(0) |> Late.at_once_ms()
    _ = Task.yield(task, margin_ms) || Task.shutdown(task, :brutal_kill)
    :ok
  end
end
