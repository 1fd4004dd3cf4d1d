# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Nif do
  @moduledoc false
  # The functions of native/muontrap_nif, see nifs.rs there.

  alias MuonTrap.Defaults

  @on_load :load

  @typedoc "A running command, held by its owner."
  @type handle :: reference()
  @typedoc "`{step, subject, reason}`"
  @type failure :: {atom(), binary(), atom()}

  @doc false
  def load do
    path = :filename.join(:code.priv_dir(:muontrap), ~c"muontrap_nif")
    :erlang.load_nif(path, Defaults.spawner_path())
  end

  @spec try_start(reference(), map()) :: {:ok, handle()} | :busy | {:error, failure()}
  def try_start(_ref, _request), do: :erlang.nif_error(:not_loaded)

  @spec start(reference(), map()) :: {:ok, handle()} | {:error, failure()}
  def start(_ref, _request), do: :erlang.nif_error(:not_loaded)

  @spec next(handle(), non_neg_integer()) :: nil | term()
  def next(_handle, _bytes), do: :erlang.nif_error(:not_loaded)

  @spec ack(handle(), non_neg_integer()) :: :ok
  def ack(_handle, _bytes), do: :erlang.nif_error(:not_loaded)

  @spec stop(handle(), non_neg_integer()) :: :ok
  def stop(_handle, _grace_ms), do: :erlang.nif_error(:not_loaded)

  @spec signal(handle(), 0..64) :: :ok | {:error, :file.posix()}
  def signal(_handle, _number), do: :erlang.nif_error(:not_loaded)

  @spec write(handle(), binary()) :: {:ok, non_neg_integer()} | {:error, :file.posix()}
  def write(_handle, _bytes), do: :erlang.nif_error(:not_loaded)

  @spec close_stdin(handle()) :: :ok
  def close_stdin(_handle), do: :erlang.nif_error(:not_loaded)

  @spec info(handle()) :: map()
  def info(_handle), do: :erlang.nif_error(:not_loaded)

  @spec list() :: [map()]
  def list, do: :erlang.nif_error(:not_loaded)

  @spec notify_gone(non_neg_integer()) :: boolean()
  def notify_gone(_id), do: :erlang.nif_error(:not_loaded)

  @spec spawner_pid() :: pos_integer() | nil
  def spawner_pid, do: :erlang.nif_error(:not_loaded)

  @spec cgroup_layout() :: {:ok, map()} | {:error, :file.posix()}
  def cgroup_layout, do: :erlang.nif_error(:not_loaded)

  @spec cgroup_name(non_neg_integer()) :: String.t()
  def cgroup_name(_id), do: :erlang.nif_error(:not_loaded)

  @spec cgroup_sweep(binary()) :: [{binary(), [failure()]}]
  def cgroup_sweep(_directory), do: :erlang.nif_error(:not_loaded)
end
