# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor.ChecksTest do
  @moduledoc "What each check says of machines that are not here."

  use ExUnit.Case, async: true

  alias MuonTrap.Doctor.{Build, Checks, Facts, Machine, Rights}
  alias MuonTrap.Error

  @status %{
    "Uid" => "1000\t1000\t1000\t1000",
    "Gid" => "1000\t1000\t1000\t1000",
    "CapEff" => "000001ffffffffff",
    "Seccomp" => "0",
    "NSpid" => "70",
    "Pid" => "70"
  }

  @well %{
    otp: "27",
    elixir: "1.18.0",
    system: {:unix, :linux},
    kernel: {6, 1, 0},
    architecture: "aarch64-linux-gnu",
    library: :ok,
    folder: {:ok, "/priv"},
    helpers: [
      %{name: "muontrap_spawner", path: "/priv/muontrap_spawner", machine: :same, ran: :ok},
      %{name: "muontrap", path: "/priv/muontrap", machine: :same, ran: :ok}
    ],
    trial: :ok,
    probe: %{pidfd: :ok, subreaper: :ok},
    layout: {:ok, %{v2: nil, v1: []}},
    status: @status,
    limits: %{"Max open files" => 1024, "Max processes" => 1000},
    own_pid: "70",
    children_listed: true,
    descriptors: 20,
    threads: 30,
    pids: [],
    container: []
  }

  # The check, what is different, its status, and a word of what is said.
  @cases [
    {Build, :otp, %{otp: "24"}, :missing, "25"},
    {Build, :elixir, %{elixir: "1.13.4"}, :missing, "1.14"},
    {Build, :elixir, %{elixir: "1.20.0-rc.1"}, :ok, "1.20"},
    {Build, :library, %{library: {:error, "no such file"}}, :missing, "mix deps.compile"},
    {Build, :spawner, %{folder: {:error, "no HOME"}, helpers: []}, :missing, "no HOME"},
    {Build, :trial, %{trial: {:error, "cannot fork"}}, :missing, "cannot fork"},
    {Build, :trial, %{trial: :impossible}, :missing, "not tried"},
    {Machine, :kernel, %{system: {:unix, :darwin}}, :missing, "Linux alone"},
    {Machine, :kernel, %{kernel: {3, 2, 0}}, :missing, "3.4"},
    {Machine, :pidfd, %{probe: %{pidfd: :enosys}, kernel: {4, 19, 0}}, :degraded, "5.3"},
    {Machine, :pidfd, %{probe: %{pidfd: :eperm}}, :degraded, "seccomp"},
    {Machine, :pidfd, %{probe: nil, kernel: {4, 19, 0}}, :degraded, "5.3"},
    {Machine, :pidfd, %{probe: nil}, :ok, "not tried"},
    {Machine, :subreaper, %{probe: %{subreaper: :eperm}}, :missing, "lost"},
    {Machine, :subreaper, %{probe: nil}, :ok, "not tried"},
    {Machine, :proc, %{status: %{}}, :degraded, "mount -t proc"},
    {Machine, :proc, %{status: %{@status | "NSpid" => "70\t7"}}, :degraded, "another PID"},
    {Machine, :proc, %{own_pid: "7"}, :degraded, "another PID"},
    {Machine, :proc, %{status: Map.delete(@status, "NSpid")}, :ok, "own"},
    {Machine, :proc, %{children_listed: false}, :degraded, "CONFIG_PROC_CHILDREN"},
    {Machine, :cgroups, %{}, :degraded, "mount -t cgroup2"},
    {Machine, :cgroups, %{layout: {:error, :enoent}}, :degraded, "mount -t proc"},
    {Machine, :cgroups, %{layout: nil}, :degraded, "without the native library"},
    {Machine, :delegation, %{}, :degraded, "mount -t cgroup2"},
    {Machine, :delegation, %{layout: nil}, :degraded, "without cgroups"},
    {Machine, :seccomp, %{status: %{@status | "Seccomp" => "2"}}, :ok, "a filter"},
    {Machine, :container, %{container: ["/.dockerenv"]}, :ok, "dockerenv"},
    {Rights, :user, %{status: %{}}, :degraded, "/proc"},
    {Rights, :user, %{status: Map.put(@status, "NoNewPrivs", "1")}, :ok, "no_new_privs"},
    {Rights, :capabilities, %{status: %{@status | "CapEff" => "0"}}, :degraded, "CAP_SETUID"},
    {Rights, :capabilities, %{status: %{@status | "CapEff" => "1fffeffffff"}}, :degraded,
     "higher hard limits"},
    {Rights, :open_files, %{descriptors: 600}, :degraded, "ulimit -n"},
    {Rights, :open_files, %{descriptors: 1022}, :missing, "emfile"},
    {Rights, :open_files, %{limits: %{"Max open files" => :infinity}}, :ok, "no limit"},
    {Rights, :open_files, %{descriptors: nil}, :degraded, "/proc"},
    {Rights, :processes, %{threads: 900}, :degraded, "ulimit -u"},
    {Rights, :processes, %{threads: 999}, :missing, "eagain"},
    {Rights, :processes, %{threads: 999, status: %{@status | "Uid" => "0\t0\t0\t0"}}, :ok,
     "no limit"},
    {Rights, :processes, %{pids: [{"/cg/a", 40, 100}]}, :degraded, "/cg/a/pids.max"},
    {Rights, :processes, %{pids: [{"/cg/a", 100, 100}]}, :missing, "TasksMax"}
  ]

  test "a machine that has everything is well but for its cgroups" do
    for finding <- Checks.run(@well), finding.check not in [:cgroups, :delegation] do
      assert %{status: :ok, consequence: nil, mend: nil} = finding
    end
  end

  for {module, check, change, status, word} <- @cases do
    @change change
    test "#{check} is #{status} with #{inspect(change)}" do
      finding = apply(unquote(module), unquote(check), [Map.merge(@well, @change)])
      assert finding.status == unquote(status)
      said = Enum.join([finding.found, finding.consequence, finding.mend], " ")
      assert said =~ unquote(word)
      if unquote(status) != :ok, do: assert(finding.consequence && finding.mend)
    end
  end

  test "a helper that is missing, of another machine or not to be run is named" do
    [spawner, program] = @well.helpers

    for {change, word} <- [
          {%{machine: {:error, :enoent}}, "no such file"},
          {%{machine: :other}, "no program for aarch64-linux-gnu"},
          {%{ran: {:error, "permission denied"}}, "noexec"}
        ] do
      facts = %{@well | helpers: [Map.merge(spawner, change), Map.merge(program, change)]}
      assert %{status: :missing} = finding = Build.spawner(facts)
      assert finding.found <> finding.mend =~ word
      assert %{status: :degraded} = Build.program(facts)
    end
  end

  test "what is delegated is told with its base, what is refused with what mends it" do
    error = %Error{step: :cgroup_enable, subject: "cpu: /cg/x", reason: :ebusy, hint: "move them"}
    bases = [{nil, {:ok, :self}}, {"memory", {:ok, :self}}, {"cpu", {:error, error}}]
    finding = Machine.delegated(bases)
    assert %{status: :degraded, mend: "move them"} = finding
    assert finding.found == "no cpu; groups, memory with cgroup_base: :self"
    assert Machine.delegated(Enum.take(bases, 2)).status == :ok
  end

  test "a check that fails hides no other" do
    findings = Checks.run(%{@well | otp: nil})
    assert %{status: :degraded, found: "the check failed: " <> _} = hd(findings)
    assert length(findings) == length(Checks.names())
  end

  test "the facts of this machine have the keys of this table" do
    assert Map.keys(Facts.gather()) == Map.keys(@well)
  end
end
