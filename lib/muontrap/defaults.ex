# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Defaults do
  @moduledoc """
  The application environment of `:muontrap`, read at run time.

  ## Configuration

      import Config

      config :muontrap,
        stdio_window: 10_240,
        delay_to_sigkill: 500,
        spawner_path: "/opt/muontrap/muontrap_spawner"

    * `:stdio_window` - bytes, the default of the option of that name (10,240)
    * `:delay_to_sigkill` - milliseconds, the default of the option of that name (500)
    * `:spawner_path` - absolute path of the helper binary; `nil` (the default) means the one in the
      application's `priv/`

  `validate!/0` runs when the application starts, so a typo in the configuration is an error then and not
  a value that is silently ignored.
  """

  alias MuonTrap.Options.Type

  @table [
    stdio_window: {:stdio_window, 10_240},
    delay_to_sigkill: {:delay, 500},
    spawner_path: {:absolute_path, nil}
  ]

  @doc "Returns the default output window in bytes."
  @spec stdio_window() :: pos_integer()
  def stdio_window, do: fetch!(:stdio_window)

  @doc "Returns the default time between the stop signal and SIGKILL in milliseconds."
  @spec delay_to_sigkill() :: non_neg_integer()
  def delay_to_sigkill, do: fetch!(:delay_to_sigkill)

  @doc "Returns the absolute path of the spawner binary, as the bytes that the kernel knows it by."
  @spec spawner_path() :: Path.t()
  def spawner_path, do: fetch!(:spawner_path) || in_priv("muontrap_spawner")

  @doc "Returns the absolute path of the program `muontrap`, in the same form."
  @spec program_path() :: Path.t()
  def program_path, do: in_priv("muontrap")

  defp in_priv(name), do: Path.join(bytes(:code.priv_dir(:muontrap)), name)

  # Not as Elixir does it, which makes UTF-8 of what a VM of latin1 has as one character per byte.
  defp bytes(path),
    do: :unicode.characters_to_binary(path, :unicode, :file.native_name_encoding())

  @doc """
  Checks the whole environment of the application.

  ## Errors

  Raises `ArgumentError` for a key that muontrap does not know and for a malformed value.
  """
  @spec validate!() :: :ok
  def validate! do
    for {key, value} <- Application.get_all_env(:muontrap) do
      unless Keyword.has_key?(@table, key) do
        raise ArgumentError,
              "unknown key #{inspect(key)} in the configuration of :muontrap, expected one of " <>
                "#{inspect(Keyword.keys(@table))}, got: #{inspect(value)}"
      end

      fetch!(key)
    end

    :ok
  end

  defp fetch!(key) do
    {type, default} = Keyword.fetch!(@table, key)

    case Application.get_env(:muontrap, key) do
      nil ->
        default

      value ->
        case Type.cast(type, value) do
          {:ok, value} ->
            value

          {:error, culprit} ->
            raise ArgumentError,
                  "invalid #{inspect(key)} in the configuration of :muontrap: expected " <>
                    "#{Type.describe(type)}, got: #{inspect(culprit)}"
        end
    end
  end
end
