# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Bench.Svg do
  @moduledoc "Two kinds of plots. They have a background, so that they look the same in light and dark pages."

  alias Bench.Stats

  @width 760
  @colors [ours: "#0969da", variant: "#54aeff", theirs: "#bc4c00", floor: "#6e7781"]

  @typedoc "What says the colour: a side, or muontrap in another way."
  @type colour :: Bench.side() | :variant
  @type series :: {colour(), name :: String.t(), [number()]}
  @type bar :: {colour(), name :: String.t(), number()}

  @doc """
  How many of the measurements took how long at most, a line for each side. Ends where the slowest side has 99 of a
  hundred.
  """
  @spec distribution(String.t(), String.t(), [series()]) :: String.t()
  def distribution(title, unit, series) do
    {left, right, top, height} = {60, @width - 30, 56, 260}

    most =
      series
      |> Enum.map(fn {_side, _name, values} -> Stats.percentile(values, 99) end)
      |> Enum.max()

    step = step(most)
    x = fn value -> left + min(value / most, 1) * (right - left) end
    y = fn share -> top + height * (1 - share / 100) end

    grid =
      for share <- [0, 25, 50, 75, 100] do
        [
          line(left, y.(share), right, y.(share)),
          text(left - 8, y.(share) + 4, "#{share} %", "end")
        ]
      end

    ticks =
      for number <- 0..trunc(most / step) do
        [
          line(x.(number * step), top, x.(number * step), top + height),
          text(x.(number * step), top + height + 18, label(number * step), "middle")
        ]
      end

    lines =
      for {side, _name, values} <- series do
        points =
          for share <- 0..99, do: "#{at(x.(Stats.percentile(values, share)))},#{at(y.(share))}"

        ~s(<polyline points="#{Enum.join(points, " ")}" fill="none" stroke="#{@colors[side]}" stroke-width="2"/>)
      end

    unit = text(right, top + height + 36, unit, "end")
    names = for {side, name, _values} <- series, do: {side, name}
    frame(title, top + height + 50, [grid, ticks, lines, unit, legend(names)])
  end

  @doc "Groups of bars. The longest one sets the scale."
  @spec bars(String.t(), String.t(), [{String.t(), [bar()]}]) :: String.t()
  def bars(title, unit, groups) do
    {left, right, bar, gap} = {250, @width - 90, 18, 14}
    all = for {_group, bars} <- groups, {_side, _name, value} <- bars, do: value
    most = max(Enum.max(all), 1.0e-9)

    {drawn, bottom} =
      Enum.map_reduce(groups, 56, fn {group, bars}, top ->
        rows =
          for {{side, _name, value}, index} <- Enum.with_index(bars) do
            y = top + index * bar
            width = max(value, 0) / most * (right - left)

            [
              ~s(<rect x="#{left}" y="#{y}" width="#{at(width)}" height="#{bar - 3}" fill="#{@colors[side]}"/>),
              text(left + width + 6, y + 12, "#{Stats.short(value)} #{unit}", "start")
            ]
          end

        below = top + length(bars) * bar
        {[text(left - 10, (top + below) / 2 + 2, group, "end"), rows], below + gap}
      end)

    names = for {_group, bars} <- groups, {side, name, _value} <- bars, do: {side, name}
    frame(title, bottom + 10, [drawn, legend(Enum.uniq(names))])
  end

  # A round number, so that there are four to ten of them.
  defp step(most) do
    power = :math.pow(10, Float.floor(:math.log10(max(most, 1.0e-9))))
    Enum.find([0.1, 0.2, 0.5, 1], &(most / (&1 * power) <= 10)) * power
  end

  defp legend(names) do
    {drawn, _x} =
      Enum.map_reduce(names, 20, fn {side, name}, x ->
        mark = ~s(<rect x="#{x}" y="36" width="10" height="10" fill="#{@colors[side]}"/>)
        {[mark, text(x + 15, 45, name, "start")], x + 40 + 7 * String.length(name)}
      end)

    drawn
  end

  defp frame(title, height, content) do
    IO.iodata_to_binary([
      ~s(<svg xmlns="http://www.w3.org/2000/svg" width="#{@width}" height="#{at(height)}" ),
      ~s(viewBox="0 0 #{@width} #{at(height)}" font-family="sans-serif" font-size="12" fill="#24292f">),
      ~s(<rect x="0.5" y="0.5" width="#{@width - 1}" height="#{at(height - 1)}" rx="6" ),
      ~s(fill="#ffffff" stroke="#d0d7de"/>),
      ~s(<text x="20" y="24" font-size="15" font-weight="bold">#{escape(title)}</text>),
      content,
      "</svg>\n"
    ])
  end

  defp line(x1, y1, x2, y2),
    do: ~s(<line x1="#{at(x1)}" y1="#{at(y1)}" x2="#{at(x2)}" y2="#{at(y2)}" stroke="#eaeef2"/>)

  defp text(x, y, text, anchor),
    do: ~s(<text x="#{at(x)}" y="#{at(y)}" text-anchor="#{anchor}">#{escape(text)}</text>)

  defp label(number), do: :erlang.float_to_binary(number / 1, [:compact, decimals: 3])
  defp at(number), do: :erlang.float_to_binary(number / 1, decimals: 1)

  defp escape(text),
    do:
      text
      |> String.replace("&", "&amp;")
      |> String.replace("<", "&lt;")
      |> String.replace(">", "&gt;")
end
