# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/groups.exs", __DIR__)

alias Bench.{Groups, Row, Stats, Svg}
alias MuonTrap.Daemon

defmodule Bench.Memory do
  @moduledoc "Programs held by a VM in a cgroup."

  @ebin Application.app_dir(:muontrap, "ebin")
  @holder Path.join(__DIR__, "support/holder.exs")
  @interval_ms 50
  # The kernel counts in such portions.
  @steady_bytes 512 * 1024
  @patience 200

  @doc "KiB for each of so many."
  def of_each(kind, count) do
    {bench, tag} = {self(), make_ref()}

    {:ok, holder} =
      Daemon.start_link(
        "elixir",
        ["-pa", @ebin, @holder, kind, "#{count}"],
        [stdin: :pipe, stderr_to_stdout: true, logger_fun: &send(bench, {tag, &1})] ++
          Groups.options(["memory"])
      )

    share = share(tag)
    used = used(holder, [])
    :ok = Daemon.write(holder, "more\n")
    share = share(tag) - share
    used = used(holder, []) - used
    GenServer.stop(holder)
    %{all: used / 1024 / count, share: share / count}
  end

  defp share(tag) do
    receive do
      {^tag, line} -> String.to_integer(line)
    after
      60_000 -> raise "nothing comes from #{@holder}"
    end
  end

  # Bytes, once they have stopped moving.
  defp used(holder, seen) do
    receive(after: (@interval_ms -> :ok))
    seen = [Daemon.statistics(holder).cgroup.memory_current | seen]
    last = Enum.take(seen, 10)
    steady? = length(last) == 10 and Enum.max(last) - Enum.min(last) <= @steady_bytes

    if steady? or length(seen) == @patience, do: Stats.median(last), else: used(holder, seen)
  end
end

counts = Bench.scale([200, 1000], [200, 1000], [10])
title = "How much memory does an idle Daemon take?"
what = fn count -> "memory of the whole system for each of #{Stats.short(count)} idle Daemons" end

name = fn
  :ours -> "Daemon"
  :theirs -> "bare Port"
end

measure = fn ->
  measured =
    for count <- counts do
      sides = [
        ours: fn -> Bench.Memory.of_each("daemon", count) end,
        theirs: fn -> Bench.Memory.of_each("port", count) end
      ]

      {count, Bench.interleave(Bench.scale(7, 2, 1), 0, sides)}
    end

  series =
    for {count, samples} <- measured, {side, values} <- samples, part <- [:all, :share] do
      whose = if part == :all, do: "whole system", else: "VM and helpers, Pss"

      {{count, side, part}, "#{name.(side)}, #{Stats.short(count)}: #{whose}",
       Enum.map(values, & &1[part])}
    end

  medians = Map.new(series, fn {key, _name, values} -> {key, Stats.median(values)} end)

  %{
    title: title,
    text: """
    Each with a `sleep`, in a VM of its own in a cgroup, which counts the memory of the VM, its helpers and the programs and
    what the kernel keeps for them: how much that grows, divided by their number. `Pss` is what the VM and its helpers
    have of it, without the programs and the kernel.
    """,
    rows:
      for count <- counts do
        struct!(Row,
          what: what.(count),
          unit: "KiB",
          ours: medians[{count, :ours, :all}],
          theirs: medians[{count, :theirs, :all}],
          judged: :beyond,
          mark: {:at_most, 90}
        )
      end,
    series: for({_key, name, values} <- series, do: {name, "KiB", values}),
    plot:
      Svg.bars(
        "Memory of the whole system for each",
        "KiB",
        for count <- counts do
          {"#{Stats.short(count)} at once",
           for(side <- [:ours, :theirs], do: {side, name.(side), medians[{count, side, :all}]})}
        end
      )
  }
end

Bench.question("memory", fn ->
  case Groups.refusal(["memory"]) do
    nil ->
      measure.()

    why ->
      %{
        title: title,
        text: "Needs a cgroup that counts memory.\n",
        rows: for(count <- counts, do: Row.skipped(what.(count), why)),
        series: [],
        plot: nil
      }
  end
end)
