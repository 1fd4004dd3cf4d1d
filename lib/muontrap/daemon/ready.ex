# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Ready do
  @moduledoc false
  # How a Daemon finds out that its program is ready. The functions are called by the Daemon and return
  # a state that is `:ready` when it is.

  alias MuonTrap.Text

  @poll_ms 20
  @connect_ms 1_000
  # systemd takes 4,096.
  @datagram_bytes 65_536
  # No more fit into the queue of a socket, see net.unix.max_dgram_qlen; a stranger could go on for ever.
  @datagrams_left 1_024

  @type t ::
          :ready
          | {:output, Regex.t()}
          | {:task, {:tcp, :inet.port_number()} | {:fun, (() -> term())}, Task.t() | nil}
          | {:notify, port(), String.t()}

  @doc """
  Waits until nobody accepts connections on the port that tells of readiness, or would a stranger be taken for the
  program. For `:start_timeout` at most, or until the caller's parent ends.
  """
  @spec await_free(MuonTrap.Options.t(), pid() | nil) :: :ok | {:error, MuonTrap.Error.t()}
  def await_free(%{ready: {:tcp, port}, start_timeout: timeout_ms}, parent) do
    deadline = if timeout_ms == :infinity, do: :infinity, else: now_ms() + timeout_ms
    await_free(port, deadline, parent)
  end

  def await_free(_options, _parent), do: :ok

  defp await_free(port, deadline, parent) do
    cond do
      not taken?(port) ->
        :ok

      # An atom is greater than any number.
      now_ms() >= deadline ->
        taken(port)

      true ->
        receive do
          {:EXIT, ^parent, reason} = message ->
            # For whoever handles messages next.
            send(self(), message)
            {:error, %{(taken(port) |> elem(1)) | reason: :exited, hint: inspect(reason)}}
        after
          @poll_ms -> await_free(port, deadline, parent)
        end
    end
  end

  defp taken(port) do
    hint = "another process accepts connections on it already; stop it, or choose another port"
    {:error, %MuonTrap.Error{step: :port, subject: "#{port}", reason: :eaddrinuse, hint: hint}}
  end

  defp now_ms, do: System.monotonic_time(:millisecond)

  @doc "Prepares for a program that is not started yet."
  @spec new(MuonTrap.Options.t()) :: {:ok, t()} | {:error, MuonTrap.Error.t()}
  def new(%{ready: nil}), do: {:ok, :ready}
  def new(%{ready: {:output, regex}}), do: {:ok, {:output, regex}}
  def new(%{ready: {kind, _what} = sign}) when kind in [:tcp, :fun], do: {:ok, {:task, sign, nil}}

  def new(%{ready: :notify, command: command}) do
    # An abstract name needs no file that somebody has to remove, and no permission for another user.
    name = "muontrap-" <> Base.encode16(:rand.bytes(16), case: :lower)

    # With the default buffer, what comes after 1,460 bytes of a datagram is lost.
    options = [:binary, active: :once, buffer: @datagram_bytes]

    case :gen_udp.open(0, [{:ifaddr, {:local, <<0, name::binary>>}} | options]) do
      {:ok, socket} ->
        {:ok, {:notify, socket, "@" <> name}}

      {:error, reason} ->
        {:error, %MuonTrap.Error{step: :ready, subject: command, reason: reason}}
    end
  end

  @doc "What the program finds in its environment in addition."
  @spec env(t(), pos_integer() | nil) :: [{String.t(), String.t() | nil}]
  def env({:notify, _socket, name}, nil), do: [{"NOTIFY_SOCKET", name}]

  # A VM that is a service itself has a WATCHDOG_PID, and a program believes that none but its own pid is meant.
  def env({:notify, _socket, name}, watchdog_ms),
    do: [
      {"NOTIFY_SOCKET", name},
      {"WATCHDOG_USEC", "#{watchdog_ms * 1000}"},
      {"WATCHDOG_PID", nil}
    ]

  def env(_ready, _watchdog_ms), do: []

  @doc "The program runs."
  @spec started(t()) :: t()
  def started({:task, sign, nil}), do: {:task, sign, Task.async(__MODULE__, :poll, [sign])}
  def started(ready), do: ready

  @doc "The program wrote these lines."
  @spec lines(t(), [binary()]) :: t()
  def lines({:output, regex} = ready, lines),
    do: if(Enum.any?(lines, &Regex.match?(regex, Text.repair(&1))), do: :ready, else: ready)

  def lines(ready, _lines), do: ready

  @doc "A task of the Daemon returned."
  @spec returned(t(), reference()) :: t()
  def returned({:task, _sign, %Task{ref: ref}}, ref) do
    Process.demonitor(ref, [:flush])
    :ready
  end

  def returned(ready, _ref), do: ready

  @doc "The program has said so itself."
  @spec notified(t()) :: t()
  def notified({:notify, _socket, _name}), do: :ready
  def notified(ready), do: ready

  @doc "Nobody waits any more."
  @spec stop(t()) :: :ok
  def stop({:task, _sign, %Task{} = task}) do
    _ = Task.shutdown(task, :brutal_kill)
    :ok
  end

  def stop(_ready), do: :ok

  @doc "The error of a function that has ended its process in good order, and so will never say anything."
  @spec no_answer(MuonTrap.Options.t()) :: MuonTrap.Error.t()
  def no_answer(%{command: command}) do
    hint = "the function in ready: has ended its process by exit(:normal) instead of returning"
    %MuonTrap.Error{step: :ready, subject: command, reason: :exited, hint: hint}
  end

  @doc "Whether this is the process that finds out whether the program is ready, by its id or its monitor."
  @spec task?(t(), pid() | reference()) :: boolean()
  def task?({:task, _sign, %Task{pid: pid, ref: ref}}, which), do: which in [pid, ref]
  def task?(_ready, _which), do: false

  @doc "The socket on which the program tells of itself."
  @spec socket(t()) :: port() | nil
  def socket({:notify, socket, _name}), do: socket
  def socket(_ready), do: nil

  @doc "What has come to it and was not read yet. No message of it comes after that."
  @spec rest(port() | nil) :: [binary()]
  def rest(nil), do: []

  def rest(socket) do
    _ = :inet.setopts(socket, active: false)
    rest(socket, @datagrams_left)
  end

  defp rest(_socket, 0), do: []

  defp rest(socket, left) do
    receive do
      {:udp, ^socket, _address, _port, datagram} -> [datagram | rest(socket, left - 1)]
    after
      0 ->
        case :gen_udp.recv(socket, 0, 0) do
          {:ok, {_address, _port, datagram}} -> [datagram | rest(socket, left - 1)]
          {:error, _timeout} -> []
        end
    end
  end

  @doc "Closes it. Nothing of it is in the mailbox after that."
  @spec close(port() | nil) :: :ok
  def close(nil), do: :ok

  def close(socket) do
    :ok = :gen_udp.close(socket)
    flush(socket)
  end

  defp flush(socket) do
    receive do
      {:udp, ^socket, _address, _port, _data} -> flush(socket)
    after
      0 -> :ok
    end
  end

  @doc "Returns once the sign is there. Goes on in the code of an upgrade."
  @spec poll({:tcp, :inet.port_number()} | {:fun, (() -> term())}) :: :ok
  def poll(sign) do
    if there?(sign) do
      :ok
    else
      Process.sleep(@poll_ms)
      __MODULE__.poll(sign)
    end
  end

  defp there?({:tcp, port}), do: accepts?(port)
  defp there?({:fun, fun}), do: fun.() == true

  defp accepts?(port), do: Enum.any?(connect(port), &(&1 == :ok))

  # Whoever does not get round to accepting has the port as well.
  defp taken?(port), do: Enum.any?(connect(port), &(&1 in [:ok, {:error, :timeout}]))

  defp connect(port) do
    Stream.map([{{127, 0, 0, 1}, :inet}, {{0, 0, 0, 0, 0, 0, 0, 1}, :inet6}], fn {ip, family} ->
      with {:ok, socket} <- :gen_tcp.connect(ip, port, [family, active: false], @connect_ms),
           do: :gen_tcp.close(socket)
    end)
  end
end
