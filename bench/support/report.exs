# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule Bench.Report do
  @moduledoc "Answers as Markdown."

  alias Bench.{Row, Stats}

  # A run beside more of others' work than this says so.
  @foreign_most 0.10

  @intro """
  # Results

  `bin/bench` has written this file; `bench/` has the script of each question. All sides of a question take turns in
  one run. The floor is a small program that does the same with nothing around it: `posix_spawn` and `waitpid`, or a
  loop of `read`. p90 and p99 are what 90 and 99 of a hundred measurements are not above, the spread is how far apart
  the middle half of them is. Foreign load is the share of all processors' time that went to neither the VM nor what
  it started.
  """

  @heads ["question", "muontrap", "System.cmd or bare Port", "floor", "compared", "mark", "met"]

  @doc "Writes `RESULTS.md` and the plots, once each of the questions has an answer."
  @spec write(Path.t(), Path.t(), [String.t()]) :: :ok
  def write(answers, target, questions) do
    case Enum.reject(questions, &File.exists?(Path.join(answers, &1))) do
      [] ->
        answers = for name <- questions, do: read(Path.join(answers, name))
        plots = Path.join(target, "plots")
        File.mkdir_p!(plots)

        for %{plot: plot, name: name} when plot != nil <- answers,
            do: File.write!(Path.join(plots, name <> ".svg"), plot)

        file = Path.join(target, "RESULTS.md")
        File.write!(file, document(answers))
        IO.puts("#{file} is written.")

      missing ->
        IO.puts("No RESULTS.md: there are no answers yet to #{Enum.join(missing, ", ")}.")
    end
  end

  # The structures of a file that bin/bench has written itself.
  defp read(file), do: file |> File.read!() |> :erlang.binary_to_term()

  defp document(answers) do
    machines = answers |> Enum.map(& &1.machine) |> Enum.uniq() |> Enum.join("; ")
    loud = for answer <- answers, loud?(answer), do: answer.name

    warning =
      if loud != [], do: ["\n**Not a quiet machine**: ", Enum.join(loud, ", "), ".\n"], else: []

    [@intro, ?\n, machines, ".\n", warning, ?\n, table(answers)] ++
      for(answer <- answers, do: [?\n, section(answer), plot(answer)])
  end

  defp plot(%{plot: nil}), do: []
  defp plot(answer), do: "\n![#{answer.title}](plots/#{answer.name}.svg)\n"

  @doc "The table of some answers."
  @spec table([map()]) :: iodata()
  def table(answers),
    do: markdown([@heads | for(%{rows: rows} <- answers, row <- rows, do: cells(row))])

  defp cells(%Row{skipped: why} = row) when why != nil,
    do: [row.what, "–", "–", "–", "–", "–", "not run: #{why}"]

  defp cells(row) do
    met = if Row.met?(row), do: "yes", else: "**no**"

    [row.what | Enum.map([row.ours, row.theirs, row.floor], &value(&1, row.unit))] ++
      [compared(row), mark(row), met]
  end

  defp value(nil, _unit), do: "–"
  defp value(text, _unit) when is_binary(text), do: text
  defp value(number, unit), do: String.trim("#{Stats.short(number)} #{unit}")

  defp compared(%{judged: :value}), do: "–"
  defp compared(%{judged: :beyond} = row), do: "#{value(Row.judged(row), row.unit)} more"

  defp compared(row) do
    case Row.judged(row) do
      nil -> "–"
      ratio -> Stats.short(ratio / 1)
    end
  end

  defp mark(%{mark: {bound, number}, judged: judged, unit: unit}) do
    sign = if bound == :at_most, do: "≤", else: "≥"

    case judged do
      :value -> "#{sign} #{number} #{unit}"
      :beyond -> "#{sign} #{number} #{unit} more"
      :ratio -> "#{sign} #{number}"
      :floor_ratio -> "#{sign} #{number} of the floor"
    end
    |> String.trim()
  end

  @doc "All about one answer but its plot."
  @spec section(map()) :: iodata()
  def section(answer) do
    series =
      for {name, unit, values} <- answer.series do
        numbers = for part <- [50, 90, 99], do: Stats.percentile(values, part)
        cells = Enum.map(numbers ++ [Stats.spread(values)], &value(&1, unit))
        [name | cells] ++ ["#{length(values)}"]
      end

    [
      "## #{answer.title}\n\n",
      answer.text,
      ?\n,
      if(series == [],
        do: [],
        else: markdown([["", "median", "p90", "p99", "spread", "measured"] | series])
      ),
      "\n#{answer.day}, revision #{answer.revision}, ",
      if(answer.scale == :full, do: [], else: "a #{answer.scale} run, "),
      "foreign load #{Float.round(answer.foreign * 100, 1)} %",
      if(loud?(answer), do: ": **not a quiet machine**.\n", else: ".\n")
    ]
  end

  defp loud?(answer), do: answer.foreign > @foreign_most

  defp markdown([heads | rows]) do
    line = fn cells -> ["| ", Enum.intersperse(cells, " | "), " |\n"] end
    [line.(heads), line.(Enum.map(heads, fn _head -> "---" end)) | Enum.map(rows, line)]
  end

  @doc "This machine and what runs on it."
  @spec machine() :: String.t()
  def machine do
    model =
      case Regex.run(~r/^model name\s*: (.+)$/m, File.read!("/proc/cpuinfo")) do
        [_line, model] -> " of #{model}"
        nil -> ""
      end

    [kernel | _rest] =
      "/proc/sys/kernel/osrelease" |> File.read!() |> String.trim() |> String.split("-")

    "#{:erlang.system_info(:logical_processors_online)} processors#{model}, Linux #{kernel}, " <>
      "Elixir #{System.version()}, OTP #{System.otp_release()}"
  end
end
