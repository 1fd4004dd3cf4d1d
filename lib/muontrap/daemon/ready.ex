# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Ready do
  @moduledoc false
  # How a Daemon finds out that its program is ready. The functions are called by the Daemon and return
  # a state that is `:ready` when it is.

  @poll_ms 20
  @connect_ms 1_000

  @type t ::
          :ready
          | {:output, Regex.t()}
          | {:task, (() -> boolean()), Task.t() | nil}
          | {:notify, port(), String.t()}

  @doc "Prepares for a program that is not started yet."
  @spec new(MuonTrap.Options.t()) :: {:ok, t()} | {:error, MuonTrap.Error.t()}
  def new(%{ready: nil}), do: {:ok, :ready}
  def new(%{ready: {:output, regex}}), do: {:ok, {:output, regex}}
  def new(%{ready: {:tcp, port}}), do: {:ok, {:task, fn -> accepts?(port) end, nil}}
  def new(%{ready: {:fun, fun}}), do: {:ok, {:task, fn -> fun.() == true end, nil}}

  def new(%{ready: :notify, command: command}) do
    # An abstract name needs no file that somebody has to remove, and no permission for another user.
    name = "muontrap-" <> Base.encode16(:rand.bytes(16), case: :lower)

    case :gen_udp.open(0, [:binary, active: :once, ifaddr: {:local, <<0, name::binary>>}]) do
      {:ok, socket} ->
        {:ok, {:notify, socket, "@" <> name}}

      {:error, reason} ->
        {:error, %MuonTrap.Error{step: :ready, subject: command, reason: reason}}
    end
  end

  @doc "What the program finds in its environment in addition."
  @spec env(t()) :: [{String.t(), String.t()}]
  def env({:notify, _socket, name}), do: [{"NOTIFY_SOCKET", name}]
  def env(_ready), do: []

  @doc "The program runs."
  @spec started(t()) :: t()
  def started({:task, ready?, nil}), do: {:task, ready?, Task.async(fn -> poll(ready?) end)}
  def started(ready), do: ready

  @doc "The program wrote these lines."
  @spec lines(t(), [binary()]) :: t()
  def lines({:output, regex} = ready, lines),
    do: if(Enum.any?(lines, &Regex.match?(regex, &1)), do: :ready, else: ready)

  def lines(ready, _lines), do: ready

  @doc "A task of the Daemon returned."
  @spec returned(t(), reference()) :: t()
  def returned({:task, _ready?, %Task{ref: ref}}, ref) do
    Process.demonitor(ref, [:flush])
    :ready
  end

  def returned(ready, _ref), do: ready

  @doc "A datagram came. The socket stays open: programs go on to report their state."
  @spec datagram(t(), port(), binary()) :: t()
  def datagram(ready, socket, data) do
    _ = :inet.setopts(socket, active: :once)

    case ready do
      {:notify, ^socket, _name} ->
        if "READY=1" in String.split(data, "\n"), do: :ready, else: ready

      _other ->
        ready
    end
  end

  @doc "Nobody waits any more."
  @spec stop(t()) :: :ok
  def stop({:task, _ready?, %Task{} = task}) do
    _ = Task.shutdown(task, :brutal_kill)
    :ok
  end

  def stop(_ready), do: :ok

  defp poll(ready?) do
    unless ready?.() do
      Process.sleep(@poll_ms)
      poll(ready?)
    end
  end

  defp accepts?(port) do
    Enum.any?([{{127, 0, 0, 1}, :inet}, {{0, 0, 0, 0, 0, 0, 0, 1}, :inet6}], fn {ip, family} ->
      case :gen_tcp.connect(ip, port, [family, active: false], @connect_ms) do
        {:ok, socket} -> :gen_tcp.close(socket) == :ok
        {:error, _not_yet} -> false
      end
    end)
  end
end
