# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.PlanTest do
  use ExUnit.Case, async: true

  alias MuonTrap.Cgroup.Plan
  alias MuonTrap.Error

  @defaults %{
    cgroup_base: nil,
    cgroup_path: nil,
    cgroup: %{},
    cgroup_controllers: [],
    cgroup_sets: []
  }

  defp hierarchy(mount, controllers, own \\ "") do
    %{mount: "/cg/" <> mount, controllers: controllers, own: own, delegated: nil}
  end

  defp v2(controllers \\ ~w(cpuset cpu io memory pids)),
    do: %{v2: hierarchy("unified", controllers, "app.slice/vm.service"), v1: []}

  defp v1 do
    %{
      v2: nil,
      v1: [
        hierarchy("systemd", ["name=systemd"]),
        hierarchy("cpu,cpuacct", ["cpu", "cpuacct"]),
        hierarchy("memory", ["memory"], "vm"),
        hierarchy("blkio", ["blkio"]),
        hierarchy("pids", ["pids"]),
        hierarchy("freezer", ["freezer"])
      ]
    }
  end

  defp hybrid, do: %{v1() | v2: hierarchy("unified", [])}

  defp make(layout, options, usable? \\ fn _hierarchy, _path -> true end) do
    Plan.make(Map.merge(@defaults, Map.new(options)), layout, "fresh", usable?)
  end

  defp groups({:ok, plan}), do: for(group <- plan.groups, do: {group.path, group.version})
  defp settings({:ok, plan}), do: for(set <- plan.settings, do: {set.key, set.file, set.value})

  test "a base holds a fresh group, a path is taken as it is" do
    assert {:ok, %{path: "base/fresh", base: "base"}} = make(v2(), cgroup_base: "base")
    assert {:ok, %{path: "a/b", base: nil}} = make(v2(), cgroup_path: "a/b")
  end

  test "a limit brings its controller, in whichever hierarchy it is" do
    limits = [cgroup_base: "base", cgroup: %{memory_max: 64, cpu_max: {20_000, 100_000}}]

    on_v2 = make(v2(), limits)
    assert groups(on_v2) == [{"/cg/unified/base/fresh", {:v2, ["cpu", "memory"]}}]

    assert settings(on_v2) == [
             {"cpu_max", "/cg/unified/base/fresh/cpu.max", "20000 100000"},
             {"memory_max", "/cg/unified/base/fresh/memory.max", "64"}
           ]

    on_v1 = make(v1(), limits)

    assert groups(on_v1) == [
             {"/cg/cpu,cpuacct/base/fresh", :v1},
             {"/cg/memory/base/fresh", :v1},
             {"/cg/freezer/base/fresh", :v1}
           ]

    assert settings(on_v1) == [
             {"cpu_max", "/cg/cpu,cpuacct/base/fresh/cpu.cfs_period_us", "100000"},
             {"cpu_max", "/cg/cpu,cpuacct/base/fresh/cpu.cfs_quota_us", "20000"},
             {"memory_max", "/cg/memory/base/fresh/memory.limit_in_bytes", "64"}
           ]

    on_hybrid = make(hybrid(), limits)

    assert groups(on_hybrid) == [
             {"/cg/cpu,cpuacct/base/fresh", :v1},
             {"/cg/memory/base/fresh", :v1},
             {"/cg/unified/base/fresh", {:v2, []}}
           ]

    assert settings(on_hybrid) == settings(on_v1)
  end

  test "a hybrid machine may have a controller in v2" do
    layout = %{hybrid() | v2: hierarchy("unified", ["hugetlb"])}

    assert groups(make(layout, cgroup_path: "p", cgroup_controllers: ["hugetlb", "pids"])) == [
             {"/cg/unified/p", {:v2, ["hugetlb"]}},
             {"/cg/pids/p", :v1}
           ]
  end

  test "old options work on v2 and new ones on v1" do
    old = [
      cgroup_controllers: ["memory", "cpuacct", "freezer"],
      cgroup_base: "base",
      cgroup_sets: [
        {"memory", "memory.limit_in_bytes", "268435456"},
        {"blkio", "blkio.weight", "100"}
      ]
    ]

    assert groups(make(v2(), old)) == [{"/cg/unified/base/fresh", {:v2, ["memory", "io"]}}]

    assert settings(make(v2(), old)) == [
             {"memory.limit_in_bytes", "/cg/unified/base/fresh/memory.max", "268435456"},
             {"blkio.weight", "/cg/unified/base/fresh/io.weight", "100"}
           ]

    new = [cgroup_path: "p", cgroup: %{io_weight: 100, memory_low: 0, memory_high: :max}]
    assert [{"/cg/blkio/p", :v1}, {"/cg/freezer/p", :v1}] = groups(make(v1(), new))
    assert settings(make(v1(), new)) == [{"io_weight", "/cg/blkio/p/blkio.bfq.weight", "100"}]
  end

  test "the limit of memory and swap comes last" do
    options = [
      cgroup_path: "p",
      cgroup: %{memory_swap_max: 10, pids_max: 5},
      cgroup_sets: [{"memory", "memory.limit_in_bytes", "1K"}]
    ]

    assert settings(make(v1(), options)) == [
             {"pids_max", "/cg/pids/p/pids.max", "5"},
             {"memory.limit_in_bytes", "/cg/memory/p/memory.limit_in_bytes", "1K"},
             {"memory_swap_max", "/cg/memory/p/memory.memsw.limit_in_bytes", "1034"}
           ]
  end

  test "sets of one controller belong together wherever they stand" do
    sets = [
      {"cpu", "cpu.cfs_quota_us", "50000"},
      {"pids", "pids.max", "9"},
      {"cpu", "cpu.cfs_period_us", "200000"}
    ]

    assert settings(make(v2(), cgroup_path: "p", cgroup_sets: sets)) == [
             {"cpu.cfs_quota_us", "/cg/unified/p/cpu.max", "50000 200000"},
             {"pids.max", "/cg/unified/p/pids.max", "9"}
           ]
  end

  test "plain containment takes v2, or the first v1 hierarchy that can be used" do
    assert groups(make(v2([]), cgroup_base: "b")) == [{"/cg/unified/b/fresh", {:v2, []}}]
    assert groups(make(hybrid(), cgroup_base: "b")) == [{"/cg/unified/b/fresh", {:v2, []}}]
    assert groups(make(v1(), cgroup_base: "b")) == [{"/cg/freezer/b/fresh", :v1}]

    only_memory = fn hierarchy, "b/fresh" -> hierarchy.mount == "/cg/memory" end

    assert groups(make(hybrid(), [cgroup_base: "b"], only_memory)) == [
             {"/cg/memory/b/fresh", :v1}
           ]

    none = fn _hierarchy, _path -> false end

    assert groups(make(hybrid(), [cgroup_base: "b"], none)) == [
             {"/cg/unified/b/fresh", {:v2, []}}
           ]
  end

  test "what is taken in addition has to be usable" do
    none = fn _hierarchy, _path -> false end
    limit = [cgroup_base: "b", cgroup: %{memory_max: 1}]
    assert groups(make(hybrid(), limit, none)) == [{"/cg/memory/b/fresh", :v1}]
  end

  test "CPU time is counted where it is limited elsewhere" do
    apart = [hierarchy("cpu", ["cpu"]), hierarchy("cpuacct", ["cpuacct"])]
    layout = %{v2: nil, v1: apart}

    assert groups(make(layout, cgroup_path: "p", cgroup: %{cpu_weight: 1})) == [
             {"/cg/cpu/p", :v1},
             {"/cg/cpuacct/p", :v1}
           ]
  end

  test ":self is below the VM's own group, or below what systemd delegated" do
    assert {:ok, %{path: "app.slice/vm.service/fresh", base: "app.slice/vm.service"}} =
             make(v2(), cgroup_base: :self)

    layout = put_in(v2(), [:v2, :own], "app.slice/vm.service/main")
    layout = put_in(layout, [:v2, :delegated], "app.slice/vm.service")
    assert {:ok, %{path: "app.slice/vm.service/fresh"}} = make(layout, cgroup_base: :self)

    assert {:ok, %{path: "fresh", base: "."}} =
             make(put_in(v2(), [:v2, :own], ""), cgroup_base: :self)

    assert groups(make(v1(), cgroup_base: :self, cgroup_controllers: ["memory", "pids"])) == [
             {"/cg/memory/vm/fresh", :v1},
             {"/cg/pids/fresh", :v1},
             {"/cg/freezer/fresh", :v1}
           ]

    assert {:error, %Error{step: :cgroup_create, hint: "the VM's own group" <> _}} =
             make(put_in(v2(), [:v2, :own], nil), cgroup_base: :self)
  end

  test "the VM's own group is refused" do
    assert {:error,
            %Error{
              step: :cgroup_create,
              reason: :own_cgroup,
              subject: "/cg/unified/app.slice/vm.service"
            }} = make(v2(), cgroup_path: "app.slice/vm.service")

    assert {:error, %Error{reason: :own_cgroup}} =
             make(v1(), cgroup_path: "vm", cgroup_controllers: ["memory"])
  end

  test "a missing controller is an error that names the key and the remedy" do
    assert {:error, %Error{} = error} =
             make(v2(["cpu"]), cgroup_path: "p", cgroup: %{memory_max: 1})

    assert %{step: :cgroup_enable, reason: :no_controller, subject: "memory_max: memory"} = error
    assert error.hint =~ "cgroup_enable=memory"

    assert {:error, %Error{reason: :no_controller, subject: "devices"}} =
             make(v2(), cgroup_path: "p", cgroup_controllers: ["devices"])

    assert {:error, %Error{reason: :not_mounted}} = make(%{v2: nil, v1: []}, cgroup_path: "p")
  end

  test "a limit that this version cannot enforce is an error, not silence" do
    for {key, value} <- [memory_high: 1, memory_low: 1, memory_min: 1, memory_oom_group: true] do
      assert {:error, %Error{} = error} =
               make(hybrid(), cgroup_path: "p", cgroup: %{key => value})

      assert %{step: :cgroup_write, reason: :no_counterpart} = error
      assert error.subject == Atom.to_string(key)
      assert error.hint =~ "needs cgroup v2: boot with"
    end

    assert {:error, %Error{subject: "memory.swappiness", reason: :no_counterpart}} =
             make(v2(), cgroup_path: "p", cgroup_sets: [{"memory", "memory.swappiness", "0"}])
  end
end
