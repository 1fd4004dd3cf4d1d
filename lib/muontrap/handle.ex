# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Handle do
  @moduledoc false
  # What the owner of a command does with it, wherever it runs: in this VM (`MuonTrap.Nif`) or on another node
  # (`MuonTrap.Remote`).

  alias MuonTrap.{Native, Nif, Remote}

  @type t :: Nif.handle() | Remote.t()

  @doc "Acknowledges output and takes the next event, if there is one."
  @spec next(t(), non_neg_integer()) :: term() | nil
  def next(%Remote{} = remote, bytes), do: Remote.next(remote, bytes)
  def next(handle, bytes), do: Nif.next(handle, bytes)

  @doc "Acknowledges output. What comes next comes as a message."
  @spec ack(t(), non_neg_integer()) :: :ok
  def ack(%Remote{} = remote, bytes), do: Remote.ack(remote, bytes)
  def ack(handle, bytes), do: Nif.ack(handle, bytes)

  @doc "Asks the program to stop; the whole tree is killed after the grace."
  @spec stop(t(), non_neg_integer()) :: :ok
  def stop(%Remote{} = remote, grace_ms), do: Remote.stop(remote, grace_ms)
  def stop(handle, grace_ms), do: Nif.stop(handle, grace_ms)

  @doc "Sends the program a signal, or gives its terminal a size. Does not wait for the answer of another node."
  @spec ask(t(), Remote.question()) :: :ok | {:error, :file.posix()} | {:asked, reference()}
  def ask(%Remote{} = remote, question), do: {:asked, Remote.ask(remote, question)}
  def ask(handle, {:signal, number}), do: Nif.signal(handle, number)
  def ask(handle, {:resize, {rows, cols}}), do: Nif.resize(handle, rows, cols)

  @doc """
  Writes what there is room for to the program's input, and returns the rest. Raises `MuonTrap.Error` if there is no
  library.
  """
  @spec write(t(), binary()) :: {:ok, binary()} | {:error, :file.posix()}
  def write(%Remote{} = remote, bytes), do: Remote.write(remote, bytes)
  def write(handle, bytes), do: Native.write(handle, bytes)

  @doc "No more input comes."
  @spec close_stdin(t()) :: :ok
  def close_stdin(%Remote{} = remote), do: Remote.close_stdin(remote)
  def close_stdin(handle), do: Nif.close_stdin(handle)

  @doc "Whether the end of the command is known, or about to be."
  @spec news?(t()) :: boolean()
  def news?(%Remote{} = remote), do: Remote.news?(remote)
  def news?(handle), do: Nif.news?(handle)

  @doc "Whether neither output nor the end of the command is about to come, as far as is known here."
  @spec silent?(t()) :: boolean()
  def silent?(%Remote{} = remote), do: Remote.silent?(remote)
  def silent?(handle), do: Nif.silent?(handle)

  @doc "Lets the command that reads its output read to the end, and tells whether that still reads."
  @spec release(t()) :: boolean()
  # Nothing on another node is joined.
  def release(%Remote{}), do: false
  def release(handle), do: Nif.release(handle)

  @doc "Whether the owner has had the terminal event."
  @spec closed?(t()) :: boolean()
  def closed?(%Remote{} = remote), do: Remote.closed?(remote)
  def closed?(handle), do: Nif.closed?(handle)

  @doc "The owner has the terminal event."
  @spec close(t()) :: :ok
  def close(%Remote{} = remote), do: Remote.close(remote)
  def close(_handle), do: :ok
end
