# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Error do
  @moduledoc """
  What the world refused: a command that could not be started, contained or stopped.

  Mistakes of the programmer raise `ArgumentError` instead.

  ## Fields

    * `:step` - the operation that failed, see `t:step/0`
    * `:subject` - what it was done on (a path, user, group, file or limit), or `nil`
    * `:reason` - the errno as an atom (`:enoent`), or an atom of muontrap's own (`:unknown_user`)
    * `:hint` - what mends it on this machine, or `nil`; `message/1` knows a general one for some reasons

  ## Another node

  With the step `:node` the subject is the name of the node that `:node` has asked for. Nothing has run with the reasons
  `:notalive` (this VM is no node), `:noconnection`, `:timeout`, `:no_muontrap` and `:incompatible`. All others mean
  that the node was lost while it ran the program: `:connection_closed`, `:disconnect`, `:net_tick_timeout`, and so on,
  as `:net_kernel.monitor_nodes/2` calls them, or `:killed`. See [the guide on many machines](cluster.md).

  ## Examples

      iex> error = %MuonTrap.Error{step: :chdir, subject: "/nowhere", reason: :enoent}
      iex> Exception.message(error)
      ~S'cannot change to directory "/nowhere": no such file or directory (enoent)'
  """

  @typedoc """
  The operation that failed. One of the keys below, or another atom when a later version of the native
  part knows a step that this table does not.
  """
  @type step :: atom()

  @typedoc "An errno as a lower-case atom, or an atom of muontrap's own."
  @type reason :: File.posix() | atom()

  @type t :: %__MODULE__{
          step: step(),
          subject: String.t() | nil,
          reason: reason(),
          hint: String.t() | nil
        }

  @enforce_keys [:step, :reason]
  defexception [:step, :subject, :reason, :hint]

  # The steps of the native parts (native/muontrap_core/src/failure.rs), then those of the Daemon. A text that
  # ends in "for" is also right without its subject.
  @steps [
    nif: "call the native library",
    pipe: "make the descriptors for",
    spawner: "reach the spawner for",
    shim: "supervise",
    protocol: "understand the helper for",
    fork: "fork a process for",
    lookup: "find the program",
    stdio: "set up standard input and output for",
    setsid: "make a session for",
    cgroup_create: "create the cgroup",
    cgroup_enable: "enable the cgroup controller",
    cgroup_write: "write the cgroup setting",
    cgroup_join: "enter the cgroup",
    cgroup_kill: "empty the cgroup",
    cgroup_remove: "remove the cgroup",
    chdir: "change to directory",
    umask: "set the umask",
    rlimit: "set the resource limit",
    nice: "set the nice value",
    oom_score_adj: "set the OOM score adjustment",
    setgroups: "set the supplementary groups",
    setgid: "change to group",
    setuid: "change to user",
    keyring: "make a session keyring for",
    capabilities: "give up the capabilities of the VM for",
    no_new_privs: "set no_new_privs for",
    pdeathsig: "set the parent-death signal for",
    exec: "execute",
    kill: "kill all processes of",
    wait_for: "wait before the start of",
    ready: "see the readiness of",
    port: "wait for the program on the TCP port",
    watchdog: "go on without a sign of life from",
    start_timeout: "wait any longer for",
    node: "run the program on the node"
  ]

  @reasons [
    not_loaded: "it is not loaded",
    badarg: "it refused the call",
    nif_panicked: "it met a bug of its own",
    unknown_user: "no such user",
    unknown_group: "no such group",
    root: "nothing is run as root by naming it",
    foreign_processes: "the group holds processes that are not ours",
    memory_limit: "the memory limit of its cgroup has no room for it",
    own_cgroup: "this is the VM's own group",
    no_controller: "the controller is not available",
    no_counterpart: "this cgroup version has nothing like it",
    not_mounted: "no cgroup hierarchy is mounted",
    died: "the helper died",
    panicked: "the helper panicked, which is a fault of muontrap's own",
    timeout: "no answer in time",
    garbage: "it sent what the protocol does not know",
    unkillable: "some of its processes survive SIGKILL",
    exited: "the program ended first",
    notalive: "this VM is no node",
    noconnection: "there is no connection to it",
    connection_closed: "its VM has ended, or the connection was cut",
    disconnect: "this node has closed the connection",
    net_tick_timeout: "nothing was heard of it for too long",
    no_muontrap: "it has no muontrap, or an older one",
    incompatible: "it has another version of muontrap",
    killed: "what ran it there was killed",
    eperm: "operation not permitted",
    eopnotsupp: "operation not supported"
  ]

  @hints [
    {:lookup, :enoent, "give the absolute path, or check PATH"},
    {:exec, :enoexec,
     "it is no program for this machine, and there is no /bin/sh to run it as a script"},
    {:exec, :e2big,
     "pass less by arguments and environment, or use input:; in a cgroup, its memory limit may be too low"},
    {:exec, :eacces, "check the execute permission of the file and its directories"},
    {:setuid, :eperm, "changing the user needs CAP_SETUID"},
    {:setgid, :eperm, "changing the group needs CAP_SETGID"},
    {:setgroups, :eperm, "setting groups needs CAP_SETGID"},
    {:nice, :eacces, "a lower nice value needs CAP_SYS_NICE or RLIMIT_NICE"},
    {:nice, :eperm, "a lower nice value needs CAP_SYS_NICE or RLIMIT_NICE"},
    {:rlimit, :eperm, "raising a hard limit needs CAP_SYS_RESOURCE"},
    {:oom_score_adj, :eacces, "a lower OOM score needs CAP_SYS_RESOURCE"},
    {:fork, :eagain, "the process limit (RLIMIT_NPROC or pids.max) is reached"},
    {:pipe, :emfile, "raise the limit of open files (ulimit -n) of the VM"}
  ]

  @impl true
  def message(%__MODULE__{} = error) do
    "cannot #{operation(error.step, error.subject)}: #{reason_text(error.reason)} " <>
      "(#{error.reason})" <> hint_text(error.hint || known_hint(error.step, error.reason))
  end

  defp operation(step, nil), do: step |> step_text() |> String.trim_trailing(" for")
  defp operation(step, subject), do: step_text(step) <> " " <> inspect(subject)

  for {step, text} <- @steps do
    defp step_text(unquote(step)), do: unquote(text)
  end

  defp step_text(step), do: "do the step #{step} for"

  for {reason, text} <- @reasons do
    defp reason_text(unquote(reason)), do: unquote(text)
  end

  defp reason_text(reason) do
    case reason |> :inet.format_error() |> List.to_string() do
      "unknown POSIX error" <> _rest -> "failed"
      text -> text
    end
  end

  for {step, reason, hint} <- @hints do
    defp known_hint(unquote(step), unquote(reason)), do: unquote(hint)
  end

  defp known_hint(_step, _reason), do: nil

  defp hint_text(nil), do: ""
  defp hint_text(hint), do: "; " <> hint
end
