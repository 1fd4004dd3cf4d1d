# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Terminal do
  @moduledoc """
  A conversation with a program on a terminal, for tests: waits for what it shows, and types.
  """

  import ExUnit.Assertions
  import MuonTrap.Command, only: [is_terminal: 1]

  alias MuonTrap.{Command, Native, Nif, Options}

  # A bound for a test that fails. A slow machine is no failure.
  @patience_ms 60_000

  defstruct [:command, :ended, shown: ""]

  @type t :: %__MODULE__{
          command: Command.t(),
          ended: Command.terminal() | nil,
          shown: binary()
        }

  @doc "Starts a program on a terminal, for the calling process."
  @spec open(String.t(), [String.t()], keyword()) :: t()
  def open(command, args, opts \\ []) do
    opts = Keyword.merge([pty: true, stdin: :open, delay_to_sigkill: 50], opts)
    options = Options.validate!(:run, command, args, opts)
    {:ok, command} = Command.start(options, {:pipe, :pipe, :stdout}, announce: true)
    hear(%__MODULE__{command: command})
  end

  @doc "Waits until it shows something. Returns what it showed until then, and what is known from then on."
  @spec expect(t(), Regex.t() | String.t()) :: {binary(), t()}
  def expect(terminal, wanted) do
    case shown(terminal.shown, wanted) do
      {at, length} ->
        {until, rest} = :erlang.split_binary(terminal.shown, at + length)
        {until, %{terminal | shown: rest}}

      nil ->
        if terminal.ended, do: flunk("no #{inspect(wanted)} in #{inspect(terminal.shown)}")
        terminal |> hear() |> expect(wanted)
    end
  end

  defp shown(text, %Regex{} = regex) do
    with [{at, length} | _groups] <- Regex.run(regex, text, return: :index), do: {at, length}
  end

  defp shown(text, string) do
    with :nomatch <- :binary.match(text, string), do: nil
  end

  @doc "Types something, to its last byte."
  @spec type(t(), binary()) :: t()
  def type(terminal, ""), do: terminal

  def type(terminal, bytes) do
    case Native.write(terminal.command.handle, bytes) do
      {:ok, rest} -> type(terminal, rest)
      {:error, :eagain} -> terminal |> hear() |> type(bytes)
    end
  end

  @doc "Ends the input."
  @spec close(t()) :: t()
  def close(terminal) do
    Nif.close_stdin(terminal.command.handle)
    terminal
  end

  @doc "Waits for the end. How the program ended, and what it still showed."
  @spec finish(t()) :: {{:exited, 0..255} | {:signaled, MuonTrap.Signal.t()}, binary()}
  def finish(%{ended: {:ended, outcome}, shown: shown}), do: {Command.status(outcome), shown}
  def finish(%{ended: nil} = terminal), do: terminal |> hear() |> finish()

  @doc "Ends the program."
  @spec stop(t()) :: Command.terminal()
  def stop(terminal), do: Command.abort(terminal.command)

  defp hear(terminal) do
    {event, command} =
      Command.next(terminal.command, System.monotonic_time(:millisecond) + @patience_ms)

    terminal = %{terminal | command: command}

    case event do
      {:stdout, bytes} -> %{terminal | shown: terminal.shown <> bytes}
      event when is_terminal(event) -> %{terminal | ended: event}
      :timeout -> flunk("it shows only #{inspect(terminal.shown)}")
      _started_or_writable -> terminal
    end
  end
end
