# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Input.Feeder do
  @moduledoc false
  # Pulls an enumerable in a process of its own, a piece or @ahead_bytes ahead of the owner of the command.
  #
  # A stream may block for ever, or never end and never yield: neither must hold its owner. Two processes:
  #
  #   * the puller runs the enumerable and sends each piece. It goes on as long as it has credit: a piece takes as
  #     much of it as it has bytes, and the owner gives that back once the piece is written. Between two pieces it
  #     hears that it is to halt, and halts the enumerable as `Enum.take/2` does, so its `after_fun` runs.
  #   * the guard sees to it that it halts: when the owner says so or ends. One that is stuck inside the enumerable
  #     hears nothing; it is killed after a while, and then its `after_fun` cannot run.
  #
  # Events go to an alias of the owner and not to its pid, so that none comes after the owner has stopped it.

  alias MuonTrap.{Mailbox, Nif, Remote}
  alias MuonTrap.Options.Words
  require Logger

  @interrupt :halt
  @ahead_bytes 4_096
  # The owner need not say it of each piece.
  @give_back_bytes div(@ahead_bytes, 2)
  @halt_ms 5_000
  # How long the owner waits for that: a puller that is between two pieces hears it at once.
  @release_ms 200

  @enforce_keys [:guard, :puller, :alias, :ref]
  defstruct [:guard, :puller, :alias, :ref, written: 0]

  # written: bytes that the puller does not know of yet
  @type t :: %__MODULE__{
          guard: pid(),
          puller: pid(),
          alias: reference(),
          ref: reference(),
          written: non_neg_integer()
        }

  @type event ::
          {:piece, binary()} | :done | {:raised, :error | :exit | :throw, term(), list()}

  @doc "Starts to pull. Events come to the caller as `{:muontrap, ref, {:input, event}}`."
  @spec start(Enumerable.t(), reference()) :: t()
  def start(input, ref) do
    owner = self()
    to = :erlang.alias()
    callers = [owner | Process.get(:"$callers", [])]
    tell = fn event -> send(to, {:muontrap, ref, {:input, event}}) end

    puller =
      spawn(fn ->
        Process.put(:"$callers", callers)
        Process.put(__MODULE__, @interrupt)
        # Not before somebody guards it.
        monitor = Process.monitor(owner)

        receive do
          :go -> tell.(pull(input, tell))
          {:DOWN, ^monitor, :process, ^owner, _reason} -> :ok
        end
      end)

    guard = spawn(fn -> guard(owner, puller, tell) end)
    %__MODULE__{guard: guard, puller: puller, alias: to, ref: ref}
  end

  @doc """
  The message by which the calling process hears, wherever it waits, that nobody wants more of what it pulls. `nil`
  if it pulls nothing.
  """
  @spec interrupt() :: term()
  def interrupt, do: Process.get(__MODULE__)

  @doc "So many bytes of the pieces are written."
  @spec wrote(t(), non_neg_integer()) :: t()
  def wrote(%{written: before} = feeder, bytes) when before + bytes < @give_back_bytes,
    do: %{feeder | written: before + bytes}

  def wrote(%{written: before} = feeder, bytes) do
    send(feeder.puller, {:credit, before + bytes})
    %{feeder | written: 0}
  end

  @doc """
  Has the enumerable halted. No event comes after that.

  Waits a moment for the `after_fun`, but not for what is stuck inside the enumerable. Programs that it runs are
  waited for until nothing of them is left; on other nodes for no longer than the puller may be stuck.
  """
  @spec stop(t()) :: :ok
  def stop(%{guard: guard, puller: puller} = feeder) do
    :erlang.unalias(feeder.alias)
    monitor = Process.monitor(guard)
    send(guard, :halt)

    receive do
      {:DOWN, ^monitor, :process, ^guard, _reason} -> :ok
    after
      @release_ms ->
        if Remote.any?(puller),
          do: receive(do: ({:DOWN, ^monitor, :process, ^guard, _reason} -> :ok))

        Process.demonitor(monitor, [:flush])

        for %{owner: ^puller, id: id} <- Nif.list(),
            Nif.notify_gone(id),
            do: Mailbox.await_gone(id)
    end

    flush(feeder.ref)
  end

  defp flush(ref) do
    receive do
      {:muontrap, ^ref, {:input, _event}} -> flush(ref)
    after
      0 -> :ok
    end
  end

  defp guard(owner, puller, tell) do
    owner_monitor = Process.monitor(owner)
    monitor = Process.monitor(puller)
    send(puller, :go)

    receive do
      {:DOWN, ^monitor, :process, ^puller, :normal} -> :ok
      # By a link, for example.
      {:DOWN, ^monitor, :process, ^puller, reason} -> tell.({:raised, :exit, reason, []})
      :halt -> halt(puller, monitor)
      {:DOWN, ^owner_monitor, :process, ^owner, _reason} -> halt(puller, monitor)
    end
  end

  defp halt(puller, monitor) do
    send(puller, @interrupt)

    receive do
      {:DOWN, ^monitor, :process, ^puller, _reason} -> :ok
    after
      @halt_ms -> Process.exit(puller, :kill)
    end
  end

  defp pull(input, tell) do
    _left = Enum.reduce_while(input, @ahead_bytes, &give(binary(&1), &2, tell))
    :done
  catch
    kind, reason -> raised(kind, reason, __STACKTRACE__)
  end

  defp binary(piece) do
    IO.iodata_to_binary(piece)
  rescue
    # Without the piece, which the stack trace would show.
    ArgumentError ->
      raise ArgumentError,
            "every element of :input must be iodata, such as a string, got: #{Words.kind(piece)}"
  end

  # An empty piece needs no credit, but may be one of an endless row.
  defp give("", credit, _tell), do: go_on(max(credit, 1))

  defp give(bytes, credit, tell) do
    tell.({:piece, bytes})
    go_on(credit - byte_size(bytes))
  end

  defp go_on(credit) do
    receive do
      @interrupt ->
        Process.put(:halted?, true)
        {:halt, credit}

      {:credit, more} ->
        go_on(credit + more)
    after
      if(credit > 0, do: 0, else: :infinity) -> {:cont, credit}
    end
  end

  # Nobody listens any more to one that was halted.
  defp raised(kind, reason, stacktrace) do
    if Process.get(:halted?) do
      text = Exception.format(kind, reason, stacktrace)
      Logger.error("an enumerable :input failed while it was halted, after its program: " <> text)
    end

    {:raised, kind, reason, stacktrace}
  end
end
