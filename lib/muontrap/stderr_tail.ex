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
    show(bytes)
    keep(tail, bytes)
  end

  @doc """
  Writes bytes to the standard error of the VM as they are; waits where it has no room.

  The process of that name takes bytes for latin1 and writes them as UTF-8, so they are given to its port. What stands
  in for it, to capture it, has none.
  """
  @spec show(iodata()) :: :ok
  def show(bytes) do
    with pid when is_pid(pid) <- Process.whereis(:standard_error),
         {:links, links} <- Process.info(pid, :links),
         port when port != nil <- Enum.find(links, &is_port/1) do
      Port.command(port, bytes)
    else
      _no_port -> bytes |> IO.iodata_to_binary() |> String.chunk(:valid) |> Enum.each(&put/1)
    end

    :ok
  rescue
    # Where there is no standard error nobody reads it.
    ArgumentError -> :ok
  end

  # From OTP 28 on there is no port, and the process takes characters alone: what is none comes as Latin-1.
  defp put(chunk) do
    if String.valid?(chunk),
      do: IO.write(:standard_error, chunk),
      else: :file.write(:standard_error, chunk)
  end

  @doc "Keeps the last of what somebody else shows."
  @spec keep(t(), binary(), pos_integer()) :: t()
  def keep(tail, bytes, kept_bytes \\ @kept_bytes)

  def keep(_tail, bytes, kept_bytes) when byte_size(bytes) >= kept_bytes,
    do: bytes |> last(kept_bytes) |> :binary.copy()

  def keep(tail, bytes, kept_bytes), do: last(tail <> bytes, kept_bytes)

  @doc "Its last lines, whole ones if there is more than one."
  @spec text(t(), non_neg_integer()) :: binary()
  def text(tail, kept_bytes \\ @kept_bytes)
  def text(tail, kept_bytes) when byte_size(tail) < kept_bytes, do: tail

  def text(tail, _kept_bytes) do
    case :binary.split(tail, "\n") do
      [_cut, rest] when rest != "" -> rest
      _one_line -> tail
    end
  end

  defp last(bytes, kept_bytes) when byte_size(bytes) <= kept_bytes, do: bytes
  defp last(bytes, kept_bytes), do: binary_part(bytes, byte_size(bytes), -kept_bytes)
end
