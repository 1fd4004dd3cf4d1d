# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor.Machine do
  @moduledoc false
  # The checks of kernel, `/proc`, cgroups and surroundings: pure functions of `MuonTrap.Doctor.Facts`.

  import MuonTrap.Doctor.Finding

  alias MuonTrap.Doctor.Delegation

  # PR_SET_CHILD_SUBREAPER, without which nothing here holds.
  @subreapers {3, 4, 0}
  @pidfds {5, 3, 0}

  def kernel(%{system: {:unix, :linux}, kernel: version} = facts) when version >= @subreapers,
    do: ok("#{linux(facts)} on #{facts.architecture}")

  def kernel(%{system: {:unix, :linux}} = facts) do
    missing(linux(facts), "trees of processes cannot be held together",
      mend: "use Linux 3.4 or later"
    )
  end

  def kernel(%{system: {_family, name}}),
    do: missing(to_string(name), "muontrap runs on Linux alone", mend: "use Linux")

  def pidfd(%{probe: %{pidfd: :ok}}), do: ok("pidfd_open and pidfd_send_signal work")

  def pidfd(%{probe: %{pidfd: reason}} = facts) do
    mend =
      if facts.kernel < @pidfds,
        do: "use Linux 5.3 or later",
        else: "allow pidfd_open in the seccomp profile; that of Docker 20.10 and later does"

    degraded("refused: #{reason}", without_pidfds(), mend: mend)
  end

  def pidfd(%{kernel: version} = facts) when version >= @pidfds,
    do: ok("#{linux(facts)} has them; not tried without the native library")

  def pidfd(facts) do
    degraded("#{linux(facts)} has none", without_pidfds(), mend: "use Linux 5.3 or later")
  end

  defp without_pidfds,
    do:
      "processes deep in a tree are reached only when those above them have ended, so a stop may take longer"

  def subreaper(%{probe: %{subreaper: :ok}}), do: ok("works")

  def subreaper(%{probe: %{subreaper: reason}}) do
    missing("refused: #{reason}", "a process that leaves its parent is lost",
      mend: "allow prctl with PR_SET_CHILD_SUBREAPER in the seccomp profile; Linux 3.4 has it"
    )
  end

  def subreaper(%{kernel: version} = facts) when version >= @subreapers,
    do: ok("#{linux(facts)} has it; not tried without the native library")

  def subreaper(facts) do
    missing("#{linux(facts)} has none", "a process that leaves its parent is lost",
      mend: "use Linux 3.4 or later"
    )
  end

  # By the rule of native/muontrap_core/src/proc.rs.
  def proc(%{status: status}) when map_size(status) == 0 do
    degraded("not mounted", without_proc(), mend: "mount -t proc proc /proc")
  end

  def proc(%{status: status, own_pid: pid} = facts) do
    cond do
      String.split(status["NSpid"] || status["Pid"] || "") != [pid] ->
        degraded("that of another PID namespace", without_proc(),
          mend: "mount one of its own in the sandbox: unshare --mount-proc, bwrap --proc /proc"
        )

      not facts.children_listed ->
        degraded(
          "without lists of children",
          "a stop looks at all processes of the machine, which takes longer",
          mend: "use a kernel with CONFIG_PROC_CHILDREN"
        )

      true ->
        ok("that of the VM's own PID namespace")
    end
  end

  defp without_proc do
    "processes deep in a tree are reached only when those above them have ended, " <>
      "and CPU time, memory and file names of processes are unknown"
  end

  def cgroups(%{layout: {:ok, layout}}) do
    v2 = if layout.v2, do: ["v2 at #{layout.v2.mount}#{names(layout.v2.controllers)}"], else: []
    v1 = for one <- layout.v1, do: "v1 at #{one.mount}#{names(one.controllers)}"

    case v2 ++ v1 do
      [] ->
        degraded("none is mounted", without_cgroups(),
          mend: "mount -t cgroup2 none /sys/fs/cgroup"
        )

      mounted ->
        ok(Enum.join(mounted, ", "))
    end
  end

  def cgroups(%{layout: {:error, reason}}) do
    degraded("/proc/self/mountinfo cannot be read: #{reason}", without_cgroups(),
      mend: "mount -t proc proc /proc"
    )
  end

  def cgroups(_facts), do: unknown("not looked for without the native library")

  defp names([]), do: ""
  defp names(names), do: " (#{Enum.join(names, " ")})"

  defp without_cgroups,
    do: "the options cgroup: and cgroup_base: are refused; trees end all the same"

  def delegation(%{layout: {:ok, layout}}), do: layout |> Delegation.bases() |> delegated()
  def delegation(_facts), do: unknown("not looked for without cgroups")

  @doc "What the bases that were found mean."
  def delegated(bases) do
    usable = for {subject, {:ok, base}} <- bases, do: {base, subject || "groups"}
    refused = for {subject, {:error, error}} <- bases, do: {subject || "groups", error}

    found =
      for {base, subjects} <- Enum.group_by(usable, &elem(&1, 0), &elem(&1, 1)),
          do: "#{Enum.join(subjects, ", ")} with cgroup_base: #{inspect(base)}"

    case {found, refused} do
      {found, []} ->
        ok(Enum.join(found, "; "))

      {found, [{_subject, error} | _more]} ->
        subjects = Enum.map_join(refused, ", ", &elem(&1, 0))

        degraded(
          Enum.join(["no #{subjects}" | found], "; "),
          "limits of these are refused: " <> Exception.message(%{error | hint: ""}),
          mend: error.hint
        )
    end
  end

  def seccomp(%{status: %{"Seccomp" => "0"}}), do: ok("no filter")

  def seccomp(%{status: %{"Seccomp" => mode}}) when mode in ["1", "2"],
    do: ok("a filter is at work; what of it is in the way shows in the other lines")

  def seccomp(_facts), do: ok("unknown to this kernel")

  def container(%{container: []}), do: ok("none that shows")
  def container(%{container: marks}), do: ok(Enum.join(marks, ", "))

  defp linux(%{kernel: {major, minor, patch}}), do: "Linux #{major}.#{minor}.#{patch}"
end
