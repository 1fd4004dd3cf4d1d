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
        priv_dir: "/opt/muontrap",
        spawner_path: "/opt/muontrap/muontrap_spawner",
        precompiled_url: "https://example.com/muontrap"

    * `:stdio_window` - bytes, the default of the option `:stdio_window` (10,240)
    * `:delay_to_sigkill` - milliseconds, the default of the option `:delay_to_sigkill` (500)
    * `:priv_dir` - absolute path of the folder with the native parts, read when the library is loaded. `nil` (the
      default) means the application's `priv/`. In an escript it means a folder in the user's cache, where the escript
      puts them
    * `:spawner_path` - absolute path of the helper binary. `nil` (the default) means the one in that folder
    * `:precompiled_url` - address of the folder with archives of the native parts, already built. Read when muontrap is
      compiled. `nil` (the default) means the address of the muontrap release. See the guide on installation

  `validate!/0` runs when the application starts. So a typo in the configuration is an error, and is not silently
  ignored.
  """

  alias MuonTrap.Options.{Type, Words}
  alias MuonTrap.Priv

  @table [
    stdio_window: {:stdio_window, 10_240},
    delay_to_sigkill: {:delay, 500},
    priv_dir: {:absolute_path, nil},
    spawner_path: {:absolute_path, nil},
    precompiled_url: {:string, nil}
  ]

  @doc "Returns the value of a key that is not configured."
  @spec built_in(atom()) :: term()
  def built_in(key), do: @table |> Keyword.fetch!(key) |> elem(1)

  @doc "Returns the default output window in bytes."
  @spec stdio_window() :: pos_integer()
  def stdio_window, do: fetch!(:stdio_window)

  @doc "Returns the default time between the stop signal and SIGKILL in milliseconds."
  @spec delay_to_sigkill() :: non_neg_integer()
  def delay_to_sigkill, do: fetch!(:delay_to_sigkill)

  @doc """
  Returns `{:ok, path}` with the folder of the native parts, or `{:error, text}` that says what is wrong. The path has
  the bytes that the kernel uses. In an escript the call first puts the native parts there, or checks that they are
  those of the escript. That takes some milliseconds.
  """
  @spec priv_dir() :: {:ok, Path.t()} | {:error, String.t()}
  def priv_dir do
    case fetch!(:priv_dir) do
      nil -> Priv.dir()
      path -> {:ok, path}
    end
  end

  @doc """
  Returns the absolute path of the program `muontrap`, in the same form. Raises `RuntimeError`, which says what is
  wrong, if there is no folder with the native parts.
  """
  @spec program_path() :: Path.t()
  def program_path do
    case priv_dir() do
      {:ok, folder} -> Path.join(folder, "muontrap")
      {:error, text} -> raise text
    end
  end

  @doc "Returns the absolute path of the spawner binary. The argument is the folder of the native parts."
  @spec spawner_path(Path.t()) :: Path.t()
  def spawner_path(priv_dir), do: fetch!(:spawner_path) || Path.join(priv_dir, "muontrap_spawner")

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
                "#{Enum.map_join(Keyword.keys(@table), ", ", &inspect/1)}, got: #{inspect(value)}"
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
                  "invalid #{inspect(key)} in the configuration of :muontrap: " <>
                    "#{Words.expected(type, culprit)}, got: #{inspect(culprit)}"
        end
    end
  end
end
