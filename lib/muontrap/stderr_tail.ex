# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.StderrTail do
  @moduledoc false
  # Standard error of a program whose failure is raised: it goes where it would go, and the end of it is kept for
  # the message.

  @kept_bytes 4096

  @typedoc "The end of it so far."
  @type t :: binary()

  @doc "Passes bytes on to the standard error of the VM, and keeps the last of them."
  @spec pass_on(t(), binary()) :: t()
  def pass_on(tail, bytes) do
    # Where there is no standard error nobody reads it.
    _ = :file.write(:standard_error, bytes)
    keep(tail, bytes)
  end

  @doc "Keeps the last of what somebody else shows."
  @spec keep(t(), binary()) :: t()
  def keep(_tail, bytes) when byte_size(bytes) >= @kept_bytes,
    do: bytes |> last() |> :binary.copy()

  def keep(tail, bytes), do: last(tail <> bytes)

  @doc "Its last lines, whole ones if there is more than one."
  @spec text(t()) :: binary()
  def text(tail) when byte_size(tail) < @kept_bytes, do: tail

  def text(tail) do
    case :binary.split(tail, "\n") do
      [_cut, rest] when rest != "" -> rest
      _one_line -> tail
    end
  end

  defp last(bytes) when byte_size(bytes) <= @kept_bytes, do: bytes
  defp last(bytes), do: binary_part(bytes, byte_size(bytes), -@kept_bytes)
end
