# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Native do
  @moduledoc false
  # The calls of `MuonTrap.Nif` that carry what nobody else may read: environment, arguments, input.
  #
  # A call that fails leaves its arguments in the stack trace, from where they go to logs and crash reports.
  # So these fail with an error of ours, which has none.

  alias MuonTrap.{Cgroup, Error, Nif}

  # Whatever is in the pipe beyond this is copied more than once by a retry.
  @piece_bytes 65_536

  @build "build it on the machine it runs on: mix deps.compile muontrap --force"

  @doc "Raises, with the reason and what mends it, if the native library cannot be loaded."
  @spec ensure_loaded!() :: :ok
  def ensure_loaded! do
    case Code.ensure_loaded(Nif) do
      {:module, Nif} -> :ok
      {:error, reason} -> raise not_loaded(reason)
    end
  end

  @doc "Starts a command for the calling process: on its scheduler, or on a dirty one if that takes long."
  @spec start(reference(), map()) :: {:ok, Nif.handle()} | {:error, Error.t()}
  def start(ref, request) do
    case guarded(fn -> with(:busy <- Nif.try_start(ref, request), do: patiently(ref, request)) end) do
      {:ok, {:ok, handle}} -> {:ok, handle}
      {:ok, {:error, failure}} -> {:error, error(failure)}
      {:error, error} -> {:error, error}
    end
  end

  # Busy is the library of an earlier load that another build has replaced: the next call reaches that.
  defp patiently(ref, request),
    do: with(:busy <- Nif.start(ref, request), do: patiently(ref, request))

  @doc "The commands that `MuonTrap.Nif.predecessors/2` finds; none if there is no library."
  @spec predecessors(binary(), [binary()]) :: [non_neg_integer()]
  def predecessors(program, args) do
    case guarded(fn -> Nif.predecessors(program, args) end) do
      {:ok, ids} -> ids
      {:error, _start_says_it} -> []
    end
  end

  @doc "The sums of `MuonTrap.Nif.totals/0`; an error if there is no library."
  @spec totals() :: {:ok, %{atom() => non_neg_integer()}} | {:error, Error.t()}
  def totals, do: guarded(&Nif.totals/0)

  @doc """
  Writes a piece of these bytes to the program's input, as far as there is room for it, and returns the others.
  Raises `MuonTrap.Error` if there is no library.
  """
  @spec write(Nif.handle(), binary()) :: {:ok, binary()} | {:error, :file.posix()}
  def write(handle, bytes) do
    piece = binary_part(bytes, 0, min(byte_size(bytes), @piece_bytes))

    case guarded(fn -> Nif.write(handle, piece) end) do
      {:ok, {:ok, written}} -> {:ok, binary_part(bytes, written, byte_size(bytes) - written)}
      {:ok, {:error, _posix} = error} -> error
      {:error, error} -> raise error
    end
  end

  defp guarded(call) do
    {:ok, call.()}
  catch
    :error, reason when reason in [:undef, :not_loaded] -> {:error, not_loaded(reason)}
    :error, text when is_binary(text) -> {:error, failed(:badarg, text)}
    :error, reason when is_atom(reason) -> {:error, failed(reason, nil)}
    _kind, _reason -> {:error, failed(:badarg, nil)}
  end

  defp not_loaded(reason) do
    said = :persistent_term.get(Nif, "the code server says #{reason}")
    %Error{step: :nif, reason: :not_loaded, hint: "#{said}; #{@build}"}
  end

  defp failed(reason, hint), do: %Error{step: :nif, reason: reason, hint: hint}

  @doc "A failure of the native part as an exception."
  @spec error(Nif.failure() | Error.t()) :: Error.t()
  def error(%Error{} = explained), do: explained

  def error({step, subject, reason}) do
    error = %Error{step: step, subject: if(subject == "", do: nil, else: subject), reason: reason}
    Cgroup.explain(error)
  end
end
