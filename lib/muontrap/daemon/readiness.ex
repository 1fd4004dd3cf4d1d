# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.Readiness do
  @moduledoc false
  # How a Daemon finds out that its program is ready. What has to be asked again and again is asked by a
  # linked process, which sends `{ref, :ready}`.

  @interval_ms 20
  @connect_timeout_ms 1000

  @type t ::
          nil | :ready | {:output, Regex.t()} | {:asking, reference(), pid()} | {:notify, port()}

  @doc "Prepares before the program starts; with what its environment needs."
  @spec prepare(term()) :: {t() | term(), [{String.t(), String.t()}]}
  def prepare(:notify) do
    # An abstract address leaves no file behind, see unix(7).
    name = "muontrap-#{System.pid()}-#{System.unique_integer([:positive])}"

    {:ok, socket} =
      :gen_udp.open(0, [:binary, active: true, ifaddr: {:local, <<0, name::binary>>}])

    {{:notify, socket}, [{"NOTIFY_SOCKET", "@" <> name}]}
  end

  def prepare(ready), do: {ready, []}

  @doc "Begins to ask once the program runs."
  @spec begin(term()) :: t()
  def begin(nil), do: :ready
  def begin({:tcp, port}), do: ask(fn -> accepts?(port) end)
  def begin({:fun, fun}), do: ask(fn -> fun.() == true end)
  def begin(ready), do: ready

  defp ask(question) do
    {daemon, ref} = {self(), make_ref()}
    {:asking, ref, spawn_link(fn -> poll(question, daemon, ref) end)}
  end

  defp poll(question, daemon, ref) do
    if question.() do
      send(daemon, {ref, :ready})
    else
      receive(after: (@interval_ms -> poll(question, daemon, ref)))
    end
  end

  defp accepts?(port) do
    case :gen_tcp.connect({127, 0, 0, 1}, port, [], @connect_timeout_ms) do
      {:ok, socket} -> :gen_tcp.close(socket) == :ok
      {:error, _reason} -> false
    end
  end

  @doc "Whether these lines of output say that the program is ready."
  @spec lines(t(), [binary()]) :: t()
  def lines({:output, regex} = ready, lines) do
    if Enum.any?(lines, &Regex.match?(regex, &1)), do: :ready, else: ready
  end

  def lines(ready, _lines), do: ready

  @doc "Whether this message says so."
  @spec message(t(), term()) :: t()
  def message({:asking, ref, _pid}, {ref, :ready}), do: :ready

  def message({:notify, socket} = ready, {:udp, socket, _address, _port, text}) do
    # See sd_notify(3): variables, one on each line.
    if "READY=1" in String.split(text, "\n"), do: :ready, else: ready
  end

  def message(ready, _message), do: ready
end
