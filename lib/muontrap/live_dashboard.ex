# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.LiveDashboard do
  @moduledoc """
  A page for Phoenix LiveDashboard: the commands of a node, as `MuonTrap.Top` shows them.

  Write a module of your own, and name it to the router:

      defmodule MyAppWeb.CommandsPage do
        use MuonTrap.LiveDashboard
      end

      live_dashboard "/dashboard",
        additional_pages: [commands: MyAppWeb.CommandsPage],
        allow_destructive_actions: true

  The page needs `{:phoenix_live_dashboard, "~> 0.8"}` among the dependencies of your application. muontrap itself
  does not depend on it: the page is compiled in your application. Without LiveDashboard, `use MuonTrap.LiveDashboard`
  raises `ArgumentError`.

  `MuonTrap.Top` describes the columns. Click a heading to sort by it. The search looks at the ID, the PID, the owner
  and the command. *Processes* shows the processes of each command. The page shows the commands of the node that is
  selected in the dashboard; its menu entry is grey for a node that does not run muontrap.

  With `allow_destructive_actions: true`, each command has two buttons: one stops it, as `MuonTrap.stop/1` does, the other
  sends it the signal that is selected above the table. Neither waits for the command to end. Without that option there are
  no buttons, and a forged request is refused.

  Each browser that shows the page has all processes of the node counted whenever the page is refreshed, which takes some
  milliseconds. If the connection to the node breaks, or the node does not answer within five seconds, the page crashes,
  and LiveDashboard mounts it again.
  """

  alias MuonTrap.Signal
  alias MuonTrap.Top.{Action, Cells, Keys, Sample}

  @builder Phoenix.LiveDashboard.PageBuilder
  @columns [
    :id,
    :pid,
    :cpu,
    :memory,
    :output,
    :window,
    :uptime,
    :contained,
    :owner,
    :command
  ]
  @searched [:id, :pid, :owner, :command]
  @signals for number <- 1..31, do: to_string(Signal.name(number))

  # A click redraws the table. Differences over less than this say nothing.
  @least_us 200_000
  @remote_ms 5_000

  @doc """
  Makes the calling module a page of LiveDashboard. It takes no options.

  ## Errors

    * `ArgumentError` - there is no `Phoenix.LiveDashboard.PageBuilder` to compile it with
  """
  defmacro __using__(_opts) do
    unless Code.ensure_loaded?(@builder) do
      raise ArgumentError,
            "use MuonTrap.LiveDashboard needs Phoenix LiveDashboard: " <>
              ~s(add {:phoenix_live_dashboard, "~> 0.8"} to deps in mix.exs)
    end

    quote do
      use Phoenix.LiveDashboard.PageBuilder

      @impl true
      def init(session), do: {:ok, session, application: :muontrap}

      @impl true
      def menu_link(_session, capabilities),
        do: MuonTrap.LiveDashboard.__menu_link__(capabilities)

      @impl true
      def mount(_params, _session, socket),
        do: {:ok, assign(socket, tree: false, signal: "sighup", said: nil)}

      @impl true
      def handle_refresh(socket), do: {:noreply, assign(socket, said: nil)}

      @impl true
      def handle_event(event, params, %{assigns: %{page: page}} = socket),
        do: {:noreply, assign(socket, MuonTrap.LiveDashboard.__event__(event, params, page))}

      @impl true
      # The template refers to it by this name.
      def render(var!(assigns)) do
        ~H"""
        <form id="muontrap-view" phx-change="view" class="form-inline mb-4">
          <label class="mr-4">
            <input type="checkbox" name="tree" value="true" checked={@tree} class="mr-1" /> Processes
          </label>
          <label :if={@page.allow_destructive_actions} class="mr-4">
            Signal
            <select name="signal" class="custom-select custom-select-sm ml-1">
              <option
                :for={name <- MuonTrap.LiveDashboard.__signals__()}
                value={name}
                selected={name == @signal}
              ><%= name %></option>
            </select>
          </label>
          <span><%= @said %></span>
        </form>
        <.live_table
          id="muontrap-commands"
          dom_id="muontrap-commands"
          page={@page}
          title="Commands"
          default_sort_by={:cpu}
          row_fetcher={{&MuonTrap.LiveDashboard.__fetch__/3, nil}}
        >
          <:col field={:id} header="ID" text_align="right" sortable={:asc} />
          <:col field={:pid} header="PID" text_align="right" sortable={:asc} />
          <:col field={:cpu} header="CPU%" text_align="right" sortable={:desc} />
          <:col field={:memory} header="Memory" text_align="right" sortable={:desc} />
          <:col field={:output} header="Output/s" text_align="right" sortable={:desc} />
          <:col field={:window} header="Window" text_align="right" sortable={:desc} />
          <:col field={:uptime} header="Uptime" text_align="right" sortable={:desc} />
          <:col field={:contained} header="In" sortable={:asc} />
          <:col field={:owner} header="Owner" sortable={:asc} />
          <:col field={:command} header="Command" sortable={:asc} :let={row}>
            <%= row.command %><pre :if={@tree} class="mb-0"><%= Enum.join(row.tree, "\n") %></pre>
          </:col>
          <:col field={:act} header="" :if={@page.allow_destructive_actions} :let={row}>
            <button
              type="button"
              class="btn btn-sm btn-danger"
              phx-click="stop"
              phx-value-id={row.id}
            >Stop</button>
            <button
              type="button"
              class="btn btn-sm btn-secondary"
              phx-click="signal"
              phx-value-id={row.id}
              phx-value-signal={@signal}
            >Signal</button>
          </:col>
        </.live_table>
        """
      end
    end
  end

  @doc false
  def __menu_link__(%{applications: applications}),
    do: if(:muontrap in applications, do: {:ok, "Commands"}, else: {:disabled, "Commands"})

  @doc false
  def __signals__, do: @signals

  @doc false
  # Called by the table: the rows that are to be shown, how many there are, and what it is to give the next time.
  def __fetch__(params, node, state) do
    %{search: search, sort_by: column, sort_dir: order, limit: limit} = params
    {now, before, _taken_us} = state = sample(node, state)

    rows =
      now
      |> Sample.rows(before)
      |> Enum.sort_by(&{Cells.value(column, &1), Cells.value(:id, &1)}, order)
      |> Enum.map(&row/1)
      |> Enum.filter(&found?(&1, search))

    {if(limit, do: Enum.take(rows, limit), else: rows), length(rows), state}
  end

  # Its own time: that of another node cannot be compared.
  defp sample(node, state) do
    now_us = System.monotonic_time(:microsecond)

    case state do
      {_now, _before, taken_us} when now_us - taken_us < @least_us ->
        state

      _none_or_old ->
        now = :erpc.call(node, Sample, :take, [], @remote_ms)
        {now, if(state, do: elem(state, 0), else: now), now_us}
    end
  end

  defp row(row),
    do:
      for(
        column <- @columns,
        into: %{tree: Cells.tree(row)},
        do: {column, Cells.text(column, row)}
      )

  defp found?(_row, nil), do: true

  defp found?(row, search) do
    search = String.downcase(search)
    Enum.any?(@searched, &(row[&1] |> String.downcase() |> String.contains?(search)))
  end

  @doc false
  # What an event changes of the assigns.
  def __event__("view", params, _page) do
    signal = Enum.find(@signals, &(&1 == params["signal"]))
    [{:tree, params["tree"] == "true"} | if(signal, do: [signal: signal], else: [])]
  end

  def __event__(event, params, %{allow_destructive_actions: true, node: node}),
    do: [said: event |> line(params) |> Keys.parse() |> act(node)]

  def __event__(_event, _params, _page), do: [said: "allow_destructive_actions is not set"]

  # What one would type into the table.
  defp line("stop", %{"id" => id}), do: "k #{id}"
  defp line("signal", %{"id" => id, "signal" => signal}), do: "s #{id} #{signal}"

  defp act(action, node) when elem(action, 0) in [:stop, :signal],
    do: :erpc.call(node, Action, :run, [action], @remote_ms)

  # A Daemon that waits has no ID.
  defp act(_unknown, _node), do: "no such command"
end
