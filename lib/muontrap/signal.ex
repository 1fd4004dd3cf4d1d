# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Signal do
  @moduledoc """
  Names and numbers of Linux signals, see `signal(7)`.

  Where a signal is expected, give its name (`:sigterm`) or its number (`1..64`); real-time signals
  (`34..64`) have numbers only. The numbers are those of x86, ARM, RISC-V and most other architectures
  (not of MIPS, Alpha, SPARC and PA-RISC).
  """

  @names [
    sighup: 1,
    sigint: 2,
    sigquit: 3,
    sigill: 4,
    sigtrap: 5,
    sigabrt: 6,
    sigbus: 7,
    sigfpe: 8,
    sigkill: 9,
    sigusr1: 10,
    sigsegv: 11,
    sigusr2: 12,
    sigpipe: 13,
    sigalrm: 14,
    sigterm: 15,
    sigstkflt: 16,
    sigchld: 17,
    sigcont: 18,
    sigstop: 19,
    sigtstp: 20,
    sigttin: 21,
    sigttou: 22,
    sigurg: 23,
    sigxcpu: 24,
    sigxfsz: 25,
    sigvtalrm: 26,
    sigprof: 27,
    sigwinch: 28,
    sigio: 29,
    sigpwr: 30,
    sigsys: 31
  ]
  @aliases [sigiot: 6, sigpoll: 29]
  @max 64

  @typedoc "A signal by name."
  @type name ::
          unquote(
            (Keyword.keys(@names) ++ Keyword.keys(@aliases))
            |> Enum.reduce(&{:|, [], [&1, &2]})
          )

  @typedoc "A signal by name or number."
  @type t :: name() | 1..64

  @doc """
  Returns the number of a signal, or `:error` for what is none.

      iex> MuonTrap.Signal.number(:sigterm)
      {:ok, 15}
      iex> MuonTrap.Signal.number(34)
      {:ok, 34}
      iex> MuonTrap.Signal.number(:sigfoo)
      :error
  """
  @spec number(term()) :: {:ok, 1..64} | :error
  def number(number) when is_integer(number) and number in 1..@max, do: {:ok, number}

  for {name, number} <- @names ++ @aliases do
    def number(unquote(name)), do: {:ok, unquote(number)}
  end

  def number(_other), do: :error

  @doc """
  Like `number/1`, but raises `ArgumentError` for what is no signal.

      iex> MuonTrap.Signal.number!(:sighup)
      1
  """
  @spec number!(term()) :: 1..64
  def number!(signal) do
    case number(signal) do
      {:ok, number} -> number
      :error -> raise ArgumentError, "#{refusal(signal)}, got: #{inspect(signal)}"
    end
  end

  @doc """
  Returns the name of a signal number; a number without a name comes back as it is.

      iex> MuonTrap.Signal.name(9)
      :sigkill
      iex> MuonTrap.Signal.name(40)
      40
  """
  @spec name(1..64) :: t()
  for {name, number} <- @names do
    def name(unquote(number)), do: unquote(name)
  end

  def name(number) when is_integer(number) and number in 1..@max, do: number

  @doc false
  @spec expected() :: String.t()
  def expected, do: "a signal name such as `:sigterm`, or a number from 1 to #{@max}"

  @doc false
  # With the signal that was meant by "SIGTERM", :term or the like.
  @spec refusal(term()) :: String.t()
  def refusal(value) do
    expected = String.replace("expected " <> expected(), "`", "")
    near = if is_atom(value) or is_binary(value), do: near(value)
    if near, do: "#{expected}; did you mean #{inspect(near)}?", else: expected
  end

  defp near(name) do
    bare = name |> to_string() |> String.downcase() |> String.replace_prefix("sig", "")
    Enum.find(Keyword.keys(@names ++ @aliases), &(Atom.to_string(&1) == "sig" <> bare))
  end
end
