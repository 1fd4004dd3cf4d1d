# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Pty do
  @moduledoc false
  # The option `:pty`: a terminal for a program.

  alias MuonTrap.Options.Type

  # What a terminal has that nobody has asked anything of: since the VT100.
  @rows 24
  @cols 80
  # What a program may take for granted that knows nothing of who reads it, as in Docker.
  @term "xterm"

  # A winsize holds 16 bits, and 0 for what is not known.
  @most 0xFFFF

  @typedoc "`term`: nil if the caller has not said."
  @type t :: %{rows: pos_integer(), cols: pos_integer(), term: String.t() | nil}

  defguardp is_size(number) when is_integer(number) and number in 1..@most

  @doc "Checks the option. The culprit is the entry of the list that makes no sense."
  @spec cast(term()) :: {:ok, t() | nil} | {:error, culprit :: term()}
  def cast(off) when off in [nil, false], do: {:ok, nil}
  def cast(true), do: cast([])

  def cast(list) do
    if Keyword.keyword?(list),
      do: Enum.reduce_while(list, {:ok, %{rows: @rows, cols: @cols, term: nil}}, &put/2),
      else: {:error, list}
  end

  defp put({key, size}, {:ok, pty}) when key in [:rows, :cols] and is_size(size),
    do: {:cont, {:ok, Map.put(pty, key, size)}}

  defp put({:term, term} = entry, {:ok, pty}) do
    if term != "" and Type.string?(term),
      do: {:cont, {:ok, %{pty | term: term}}},
      else: {:halt, {:error, entry}}
  end

  defp put(entry, _pty), do: {:halt, {:error, entry}}

  @doc "Checks a new size. Raises `ArgumentError` for what is none."
  @spec size!(term(), term()) :: {pos_integer(), pos_integer()}
  def size!(rows, cols) when is_size(rows) and is_size(cols), do: {rows, cols}

  def size!(rows, cols) do
    raise ArgumentError,
          "expected rows and columns from 1 to #{@most}, got: #{inspect(rows)} and #{inspect(cols)}"
  end

  @doc "The variables that a program gets, with the name of its terminal among them."
  @spec env(MuonTrap.Options.t()) :: [{String.t(), String.t() | nil}]
  def env(%{pty: %{term: nil}, env: env}), do: List.keystore(env, "TERM", 0, term(env))
  def env(%{pty: %{term: term}, env: env}), do: List.keystore(env, "TERM", 0, {"TERM", term})
  def env(%{env: env}), do: env

  # That of the VM, if it has one, is about another terminal.
  defp term(env), do: List.keyfind(env, "TERM", 0, {"TERM", @term})
end
