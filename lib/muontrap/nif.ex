# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Nif do
  @moduledoc false
  # The functions of native/muontrap_nif, see nifs.rs there.

  alias MuonTrap.Defaults

  # Where this is compiled there may be no library yet, or one for another machine.
  @compile {:autoload, false}
  @on_load :load

  @typedoc "A running command, held by its owner."
  @type handle :: reference()
  @typedoc "`{step, subject, reason}`"
  @type failure :: {atom(), binary(), atom()}

  # What library.rs refuses an upgrade with.
  @refusals %{
    ~c"Library upgrade-call unsuccessful (2)." =>
      "another build of it runs commands: end them (MuonTrap.list/0 shows them) and load it again, or " <>
        "restart the VM",
    ~c"Library upgrade-call unsuccessful (3)." =>
      "an older version that cannot be replaced is loaded: restart the VM"
  }

  @doc false
  def load do
    with {:ok, folder} <- Defaults.priv_dir(), :ok <- load(folder) do
      _ = :persistent_term.erase(__MODULE__)
      :ok
    else
      {:error, reason} ->
        # For whoever finds the module missing; the code server logs what is returned and forgets it.
        :persistent_term.put(__MODULE__, reason)
        {:error, reason}
    end
  end

  defp load(folder) do
    encoding = :file.native_name_encoding()
    # A list of what file names are made of here, bytes or characters.
    path = :unicode.characters_to_list(Path.join(folder, "muontrap_nif"), encoding)

    case :erlang.load_nif(path, {Defaults.spawner_path(folder), encoding == :latin1}) do
      :ok ->
        :ok

      {:error, {kind, text}} ->
        {:error, Map.get_lazy(@refusals, text, fn -> "#{text} (#{kind})" end)}
    end
  end

  @spec try_start(reference(), map()) :: {:ok, handle()} | :busy | {:error, failure()}
  def try_start(_ref, _request), do: :erlang.nif_error(:not_loaded)

  @spec start(reference(), map()) :: {:ok, handle()} | :busy | {:error, failure()}
  def start(_ref, _request), do: :erlang.nif_error(:not_loaded)

  @spec next(handle(), non_neg_integer()) :: nil | term()
  def next(_handle, _bytes), do: :erlang.nif_error(:not_loaded)

  @spec ack(handle(), non_neg_integer()) :: :ok
  def ack(_handle, _bytes), do: :erlang.nif_error(:not_loaded)

  @spec stop(handle(), non_neg_integer()) :: :ok
  def stop(_handle, _grace_ms), do: :erlang.nif_error(:not_loaded)

  @spec signal(handle(), 0..64) :: :ok | {:error, :file.posix()}
  def signal(_handle, _number), do: :erlang.nif_error(:not_loaded)

  @spec stop_by_id(non_neg_integer()) :: boolean()
  def stop_by_id(_id), do: :erlang.nif_error(:not_loaded)

  @spec signal_by_id(non_neg_integer(), 0..64) :: :ok | {:error, :file.posix()}
  def signal_by_id(_id, _number), do: :erlang.nif_error(:not_loaded)

  @spec write(handle(), binary()) :: {:ok, non_neg_integer()} | {:error, :file.posix()}
  def write(_handle, _bytes), do: :erlang.nif_error(:not_loaded)

  @spec close_stdin(handle()) :: :ok
  def close_stdin(_handle), do: :erlang.nif_error(:not_loaded)

  @spec resize(handle(), 1..0xFFFF, 1..0xFFFF) :: :ok | {:error, :file.posix()}
  def resize(_handle, _rows, _cols), do: :erlang.nif_error(:not_loaded)

  @spec news?(handle()) :: boolean()
  def news?(_handle), do: :erlang.nif_error(:not_loaded)

  @spec silent?(handle()) :: boolean()
  def silent?(_handle), do: :erlang.nif_error(:not_loaded)

  @spec release(handle()) :: boolean()
  def release(_handle), do: :erlang.nif_error(:not_loaded)

  @spec closed?(handle()) :: boolean()
  def closed?(_handle), do: :erlang.nif_error(:not_loaded)

  @spec info(handle()) :: map()
  def info(_handle), do: :erlang.nif_error(:not_loaded)

  @spec list() :: [map()]
  def list, do: :erlang.nif_error(:not_loaded)

  @spec predecessors(binary(), [binary()]) :: [non_neg_integer()]
  def predecessors(_program, _args), do: :erlang.nif_error(:not_loaded)

  @spec notify_gone(non_neg_integer()) :: boolean()
  def notify_gone(_id), do: :erlang.nif_error(:not_loaded)

  @spec spawner_pid() :: pos_integer() | nil
  def spawner_pid, do: :erlang.nif_error(:not_loaded)

  @spec ready_shims() :: non_neg_integer()
  def ready_shims, do: :erlang.nif_error(:not_loaded)

  @spec totals() :: %{atom() => non_neg_integer()}
  def totals, do: :erlang.nif_error(:not_loaded)

  @typedoc "`{pid, parent, cpu_us, resident_bytes, name}`"
  @type os_process ::
          {pos_integer(), non_neg_integer(), non_neg_integer(), non_neg_integer(), binary()}

  @spec processes() :: [os_process()] | nil
  def processes, do: :erlang.nif_error(:not_loaded)

  @spec probe() :: %{pidfd: :ok | :file.posix(), subreaper: :ok | :file.posix()}
  def probe, do: :erlang.nif_error(:not_loaded)

  @spec cgroup_layout() :: {:ok, map()} | {:error, :file.posix()}
  def cgroup_layout, do: :erlang.nif_error(:not_loaded)

  @spec cgroup_name(non_neg_integer()) :: String.t()
  def cgroup_name(_id), do: :erlang.nif_error(:not_loaded)

  @spec cgroup_sweep(binary()) :: {[{binary(), [failure()]}], boolean()}
  def cgroup_sweep(_directory), do: :erlang.nif_error(:not_loaded)
end
