# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# Loaded by one test alone: until then LiveDashboard is missing, as it is for most applications.
defmodule Phoenix.LiveDashboard.PageBuilder do
  @moduledoc """
  Stands in for the behaviour of this name.

  Its `~H` reads the one table of a template: `render/1` returns its attributes, and for each column the attributes and a
  function from a row to the text of the cell.
  """

  @callback init(term()) :: {:ok, term()} | {:ok, term(), keyword()}
  @callback menu_link(term(), map()) :: {:ok, String.t()} | {:disabled, String.t()} | :skip
  @callback mount(map(), term(), map()) :: {:ok, map()}
  @callback render(map()) :: term()
  @callback handle_event(String.t(), map(), map()) :: {:noreply, map()}
  @callback handle_refresh(map()) :: {:noreply, map()}
  @optional_callbacks mount: 3, handle_event: 3, handle_refresh: 1

  defmacro __using__(_opts) do
    quote do
      import Phoenix.LiveDashboard.PageBuilder
      @behaviour Phoenix.LiveDashboard.PageBuilder
      def init(opts), do: {:ok, opts}
      defoverridable init: 1
    end
  end

  @doc "As that of `Phoenix.Component`."
  def assign(socket, assigns),
    do: %{socket | assigns: Map.merge(socket.assigns, Map.new(assigns))}

  defmacro sigil_H({:<<>>, _meta, [template]}, []) do
    [_all, own, inside] = Regex.run(~r"<\.live_table(.*?)\n *>\n(.*)</\.live_table>"s, template)

    columns =
      for [_all, attributes | body] <- Regex.scan(~r"<:col(.*?) ?(?:/>|>(.*?)</:col>)"s, inside),
          do: column(attributes(attributes), body)

    quote do
      %{
        table: Map.new(unquote(attributes(own))),
        columns: Enum.filter(unquote(columns), & &1[:if])
      }
    end
  end

  # name="text" or name={expression}
  defp attributes(text) do
    for [_all, name, value] <- Regex.scan(~r/([:\w]+)=("[^"]*"|{(?:[^{}]|{[^{}]*})*})/s, text) do
      name = name |> String.trim_leading(":") |> String.to_atom()
      {name, value(value)}
    end
  end

  defp column(attributes, body) do
    {row, attributes} = Keyword.pop(attributes, :let, Macro.var(:_row, nil))
    cell = cell(attributes[:field], row, body)
    quote do: Map.new([if: true, cell: unquote(cell)] ++ unquote(attributes))
  end

  defp cell(field, _row, []), do: quote(do: fn row -> to_string(row[unquote(field)]) end)

  defp cell(_field, row, [body]) do
    texts =
      for part <- Regex.split(~r/<%=.*?%>|(?<==){.*?}/s, body, include_captures: true),
          do: text(part)

    quote do: fn unquote(row) -> Enum.join(unquote(texts)) end
  end

  defp text("<%=" <> code), do: code |> String.trim_trailing("%>") |> expression()
  defp text("{" <> code), do: value("{" <> code)
  defp text(html), do: html

  defp value("\"" <> text), do: String.trim_trailing(text, "\"")
  defp value("{" <> code), do: code |> String.slice(0..-2//1) |> expression()

  defp expression(code) do
    code
    |> Code.string_to_quoted!()
    |> Macro.prewalk(fn
      {:@, _meta, [{name, _, nil}]} ->
        quote(do: Map.fetch!(unquote(Macro.var(:assigns, nil)), unquote(name)))

      other ->
        other
    end)
  end
end
