# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor.Checks do
  @moduledoc false
  # The table of all checks: a name, the module with a function of that name, and what is looked at.

  alias MuonTrap.Doctor.{Build, Machine, Rights}

  @checks [
    {:otp, Build, "the release of Erlang/OTP"},
    {:elixir, Build, "the version of Elixir"},
    {:library, Build, "whether the native library is loaded"},
    {:spawner, Build, "whether the helper is there, for this machine, and runs"},
    {:program, Build, "the same of the program `muontrap`"},
    {:trial, Build, "whether a command runs"},
    {:kernel, Machine, "the version of the kernel"},
    {:pidfd, Machine, "whether the kernel has pidfds, and lets the VM use them"},
    {:subreaper, Machine, "whether the kernel has child subreapers"},
    {:proc, Machine, "whether `/proc` is mounted, and that of the VM's own PID namespace"},
    {:cgroups, Machine, "which cgroup hierarchies are mounted, with which controllers"},
    {:delegation, Machine,
     "which `:cgroup_base` may be used for groups, and for limits of memory, cpu and pids"},
    {:user, Rights, "the user and group of the VM"},
    {:capabilities, Rights, "the capabilities that some options need"},
    {:open_files, Rights, "how many descriptors are left"},
    {:processes, Rights,
     "how many processes are left, by the user's limit and that of the cgroup"},
    {:seccomp, Machine, "whether system calls are filtered"},
    {:container, Machine, "what tells of a container"}
  ]

  @doc "The names, in their order."
  @spec names() :: [atom()]
  def names, do: for({name, _module, _about} <- @checks, do: name)

  @doc "The table as Markdown."
  @spec docs() :: String.t()
  def docs,
    do: Enum.map_join(@checks, "\n", fn {name, _, about} -> "  * `#{name}` - #{about}" end)

  @doc "Makes all checks."
  @spec run(MuonTrap.Doctor.Facts.t()) :: [MuonTrap.Doctor.finding()]
  def run(facts) do
    for {name, module, _about} <- @checks, do: Map.put(check(module, name, facts), :check, name)
  end

  # What nobody has thought of must not hide the rest.
  defp check(module, name, facts) do
    apply(module, name, [facts])
  rescue
    error ->
      MuonTrap.Doctor.Finding.degraded(
        "the check failed: #{inspect(error.__struct__)}",
        "nothing is known of it",
        mend: "please report this"
      )
  end
end
