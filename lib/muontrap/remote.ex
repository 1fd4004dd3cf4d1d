# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Remote do
  @moduledoc false
  # The caller's handle of a command on another node. It works like the handle of a command in this VM.
  #
  #     caller ◄──────── events ─────────── owner ── its command
  #        │  ───── acks, input, orders ──►   ▲
  #        └── line ◄──── each other's end ───┘
  #
  # The owner (`MuonTrap.Remote.Owner`) is a process on the other node, with an ordinary command of that node. The
  # line (`MuonTrap.Remote.Line`) is a process on this node, one for each command. It watches the caller and the
  # owner, and the owner watches the line. If the caller, its VM, the connection or the owner ends, the others
  # notice.
  #
  # All messages go to an alias of the caller. When the command is over, the alias is removed, so nothing that is
  # still on its way comes after the terminal event.

  alias MuonTrap.{Error, Mailbox, Options}
  alias MuonTrap.Remote.Line

  # How much input may be on its way to the program.
  @input_bytes 131_072

  # The cells of `input`: what may be sent, whether the caller waits for more, whether nobody reads any more.
  @room 1
  @waiting 2
  @deaf 3

  @enforce_keys [:node, :ref, :alias, :owner, :input]
  defstruct @enforce_keys

  @type t :: %__MODULE__{
          node: node(),
          ref: reference(),
          alias: reference(),
          owner: pid(),
          input: :atomics.atomics_ref()
        }

  @type question :: {:signal, 0..64} | {:resize, {rows :: 1..0xFFFF, cols :: 1..0xFFFF}}

  @typedoc "What to start, see `MuonTrap.Command.start/3`."
  @type request :: {Options.t(), tuple(), keyword()}

  @doc """
  Starts a command on a node, for the calling process. Waits some seconds at most for the answer of that node. A later
  event says whether the program could be started.
  """
  @spec start(node(), reference(), request()) :: {:ok, t()} | {:error, Error.t()}
  def start(node, ref, {options, stdio, more}) do
    to = :erlang.alias()
    input = :atomics.new(3, [])
    :atomics.put(input, @room, @input_bytes)
    Line.start(node, to, ref, &given(input, &1))

    receive do
      {:muontrap, ^ref, {:opened, owner}} ->
        Process.put({__MODULE__, ref}, node)
        # What is the caller's affair stays here. Functions and streams mean nothing elsewhere.
        tell(%{owner: owner}, {:start, {Map.drop(options, [:into, :input, :node]), stdio, more}})

        {:ok, %__MODULE__{node: node, ref: ref, alias: to, owner: owner, input: input}}

      {:muontrap, ^ref, {:refused, error}} ->
        :erlang.unalias(to)
        {:error, error}
    end
  end

  # In the line. True if the caller is to hear of it.
  defp given(input, news) do
    case news do
      {:room, bytes} -> :atomics.add(input, @room, bytes)
      :deaf -> :atomics.put(input, @deaf, 1)
    end

    :atomics.exchange(input, @waiting, 0) == 1
  end

  @doc "Acknowledges output and takes the next event out of the mailbox, if there is one."
  @spec next(t(), non_neg_integer()) :: term() | nil
  def next(%{ref: ref} = remote, bytes) do
    ack(remote, bytes)

    receive do
      {:muontrap, ^ref, event} -> event
    after
      0 -> nil
    end
  end

  @doc "Acknowledges output."
  @spec ack(t(), non_neg_integer()) :: :ok
  def ack(_remote, 0), do: :ok
  def ack(remote, bytes), do: tell(remote, {:ack, bytes})

  @doc "Asks the program to stop."
  @spec stop(t(), non_neg_integer()) :: :ok
  def stop(remote, grace_ms), do: tell(remote, {:stop, grace_ms})

  @doc """
  Sends a signal to the program, or sets the size of its terminal. The calling process gets the answer as
  `{ref, answer}`, or `:DOWN` with this reference if the owner is gone.
  """
  @spec ask(t(), question()) :: reference()
  def ask(%{owner: owner} = remote, question) do
    monitor = :erlang.monitor(:process, owner, alias: :reply_demonitor)
    tell(remote, {:ask, monitor, question})
    monitor
  end

  @doc "Sends as many of these bytes as may be on their way, and returns the rest."
  @spec write(t(), binary()) :: {:ok, binary()} | {:error, :file.posix()}
  def write(%{input: input} = remote, bytes) do
    room = :atomics.get(input, @room)

    cond do
      :atomics.get(input, @deaf) == 1 -> {:error, :epipe}
      room > 0 -> write(remote, bytes, min(room, byte_size(bytes)))
      wait?(input) -> {:error, :eagain}
      true -> write(remote, bytes)
    end
  end

  defp write(remote, bytes, count) do
    :atomics.sub(remote.input, @room, count)
    tell(remote, {:write, binary_part(bytes, 0, count)})
    {:ok, binary_part(bytes, count, byte_size(bytes) - count)}
  end

  # What came before the line knew of it would never be told.
  defp wait?(input) do
    :atomics.put(input, @waiting, 1)
    :atomics.get(input, @room) <= 0 and :atomics.get(input, @deaf) == 0
  end

  @doc "Closes the standard input of the program."
  @spec close_stdin(t()) :: :ok
  def close_stdin(remote), do: tell(remote, :close_stdin)

  @doc "Whether the mailbox of the calling process holds no event."
  @spec silent?(t()) :: boolean()
  def silent?(%{ref: ref}) do
    {:messages, messages} = Process.info(self(), :messages)
    not Enum.any?(messages, &match?({:muontrap, ^ref, _event}, &1))
  end

  @doc "Whether the caller has received the terminal event."
  @spec closed?(t()) :: boolean()
  def closed?(%{ref: ref}), do: Process.get({__MODULE__, ref}) == nil

  @doc "Whether the terminal event is in the mailbox of the calling process."
  @spec news?(t()) :: boolean()
  def news?(%{ref: ref}) do
    {:messages, messages} = Process.info(self(), :messages)
    Enum.any?(messages, &terminal?(&1, ref))
  end

  defp terminal?({:muontrap, ref, event}, ref) when is_tuple(event),
    do: elem(event, 0) in [:ended, :failed, :lost]

  defp terminal?(_message, _ref), do: false

  @doc "Removes the alias and empties the mailbox: no message comes any more. The line ends with the owner."
  @spec close(t()) :: :ok
  def close(%{ref: ref} = remote) do
    :erlang.unalias(remote.alias)
    Process.delete({__MODULE__, ref})
    Mailbox.flush(ref)
  end

  @doc "Whether a process of this VM has commands on other nodes."
  @spec any?(pid()) :: boolean()
  def any?(pid) do
    case Process.info(pid, :dictionary) do
      {:dictionary, dictionary} -> Enum.any?(dictionary, &match?({{__MODULE__, _ref}, _node}, &1))
      nil -> false
    end
  end

  # Sending to a node that is not connected would connect it, and to what: another VM of that name perhaps.
  defp tell(%{owner: owner}, message) do
    _sent? = :erlang.send(owner, message, [:noconnect])
    :ok
  end
end
