# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Session.Writers do
  @moduledoc false
  # Calls of `MuonTrap.Session.write/3` that wait for the program: each is answered when it has room for all of it. One
  # is written after the other, so no more than what callers hold themselves is waiting here.

  alias MuonTrap.{Command, Stdin}
  alias MuonTrap.Session.Waiting

  @enforce_keys [:stdin]
  defstruct [:stdin, queue: []]

  # queue: their requests are the bytes, or `{:begun, size}` for the first when its bytes are in `stdin`; then `:close`
  @type t :: %__MODULE__{stdin: Stdin.t(), queue: [Waiting.t() | :close]}

  @doc "The input of a program that has one to write to, or not."
  @spec new(:pipe | :null) :: t()
  def new(kind), do: %__MODULE__{stdin: Stdin.new(kind)}

  @doc "Whether more can be written."
  @spec open?(t()) :: boolean()
  def open?(writers), do: writers.stdin.state == :open and :close not in writers.queue

  @doc "Whether somebody waits."
  @spec waiting?(t()) :: boolean()
  def waiting?(writers), do: writers.queue != []

  @doc "Takes another one."
  @spec put(t(), Waiting.t(), Command.t()) :: t()
  def put(writers, writer, command),
    do: write(%{writers | queue: writers.queue ++ [writer]}, command)

  @doc "Ends the input after those that wait."
  @spec close(t(), Command.t()) :: t()
  def close(writers, command) do
    if open?(writers),
      do: write(%{writers | queue: writers.queue ++ [:close]}, command),
      else: writers
  end

  @doc "Writes what there is room for. When something is left an event `:writable` will come."
  @spec write(t(), Command.t()) :: t()
  def write(%{queue: []} = writers, _command), do: writers

  def write(%{queue: [:close]} = writers, command) do
    stdin = writers.stdin |> Stdin.close() |> Stdin.write(command)
    %{writers | stdin: stdin, queue: []}
  end

  def write(%{queue: [%{request: {:begun, _size}} = writer | others]} = writers, command) do
    case Stdin.write(writers.stdin, command) do
      %{state: :open, waiting: ""} = stdin ->
        Waiting.reply(writer, :ok)
        write(%{writers | stdin: stdin, queue: others}, command)

      %{state: :open} = stdin ->
        %{writers | stdin: stdin}

      stdin ->
        refuse(%{writers | stdin: stdin})
    end
  end

  def write(%{queue: [%{request: bytes} = writer | others]} = writers, command) do
    {:ok, stdin} = Stdin.put(writers.stdin, bytes)
    begun = %{writer | request: {:begun, byte_size(bytes)}}
    write(%{writers | stdin: stdin, queue: [begun | others]}, command)
  end

  @doc """
  The one that this monitor or timer is of does not wait any more. What it has begun to write is written to its end if
  it died: half of it would be of no use to anybody.
  """
  @spec give_up(t(), reference(), :timeout | :died, Command.t()) :: t()
  def give_up(writers, ref, why, command) do
    case Waiting.pop(writers.queue, ref) do
      nil ->
        writers

      {%{request: {:begun, _size}}, _others} when why == :died ->
        writers

      {%{request: {:begun, size}} = writer, others} ->
        {left, stdin} = Stdin.drop(writers.stdin)
        Waiting.reply(writer, {:error, {:timeout, size - left}})
        write(%{writers | stdin: stdin, queue: others}, command)

      {writer, others} ->
        if why == :timeout, do: Waiting.reply(writer, {:error, {:timeout, 0}})
        %{writers | queue: others}
    end
  end

  @doc "Nothing more is written."
  @spec refuse(t()) :: t()
  def refuse(writers) do
    for %Waiting{} = writer <- writers.queue, do: Waiting.reply(writer, {:error, :closed})
    {_left, stdin} = Stdin.drop(writers.stdin)
    %{writers | stdin: %{stdin | state: :closed}, queue: []}
  end
end
