# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("support/bench.exs", __DIR__)
Code.require_file("support/death.exs", __DIR__)
Code.require_file("support/groups.exs", __DIR__)

alias Bench.{Death, Groups, Programs, Row, Stats, Svg}

tree = Programs.path("mixed_tree")
args = ["100"]
no_cgroup = Groups.refusal([])

name = fn
  :ours -> "owner killed"
  :cgroup -> "owner killed, with a cgroup"
  :floor -> "SIGKILL to each"
end

Bench.question("tree", fn ->
  watcher = Programs.open("watch", [])

  of_owner = fn opts ->
    fn -> Death.of_owner(watcher, tree, args, [ready: {:output, ~r/ready/}] ++ opts) end
  end

  await_ready = fn port -> receive(do: ({^port, {:data, "ready\n"}} -> :ok)) end

  sides =
    [ours: of_owner.([])] ++
      if(no_cgroup, do: [], else: [cgroup: of_owner.(Groups.options([]))]) ++
      [floor: fn -> Death.of_processes(watcher, tree, args, await_ready) end]

  samples = Bench.interleave(Bench.scale(100, 15, 2), Bench.scale(3, 2, 0), sides)
  medians = for {side, values} <- samples, do: {side, Stats.median(values)}

  row = fn what, side, most ->
    struct!(Row,
      what: what,
      unit: "ms",
      ours: medians[side],
      theirs: "never",
      floor: medians[:floor],
      judged: :value,
      mark: {:at_most, most}
    )
  end

  with_cgroup = "the same with a cgroup"

  %{
    title: "How soon is a tree of 100 gone when its owner is killed?",
    text: """
    The program has 100 processes below it, in turn of its process group, of one of their own, of a session of their own,
    detached as daemons are, ignoring SIGTERM, and stopped. The owner is killed as above; the floor is another program that
    has their list and kills one after the other.
    """,
    rows: [
      row.("owner killed, tree of 100 gone, median", :ours, 6.0),
      if(no_cgroup,
        do: Row.skipped(with_cgroup, no_cgroup),
        else: row.(with_cgroup, :cgroup, 5.5)
      )
    ],
    series: for({side, values} <- samples, do: {name.(side), "ms", values}),
    plot:
      Svg.bars("Until a tree of 100 is gone", "ms", [
        {"median",
         for {side, median} <- medians do
           {if(side == :cgroup, do: :variant, else: side), name.(side), median}
         end}
      ])
  }
end)
