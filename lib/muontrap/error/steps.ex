# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Error.Steps do
  @moduledoc false
  # The tables behind `MuonTrap.Error`: steps, reasons, and what mends them.

  # {step, what could not be done, subject, what mends it}: those of the native parts, in the order of
  # native/muontrap_core/src/failure.rs, then those of the Daemon. `%` is the subject, or else it comes last; a text that
  # ends in "for" is also right without it.
  @steps [
    {:nif, "call the native library", nil,
     "build it on the machine that it runs on: `mix deps.compile muontrap --force`"},
    {:pipe, "make the descriptors for", nil, "raise the VM's limit of open files (`ulimit -n`)"},
    {:spawner, "reach the spawner for", "its path, or `nil`",
     "check that `muontrap_spawner` is in `priv/` and may be executed there"},
    {:shim, "supervise %", nil,
     "a helper was killed, and the program with it: start the program again"},
    {:protocol, "understand the helper for", nil,
     "library and helper are of different builds: build both again"},
    {:fork, "fork a process for", nil, "raise `RLIMIT_NPROC` or `pids.max`, or free memory"},
    {:lookup, "find the program", "the program",
     "give the absolute path, or check `PATH` of the VM"},
    {:stdio, "set up standard input and output for", nil,
     "raise the VM's limit of open files (`ulimit -n`)"},
    {:setsid, "make a session for", nil, "allow setsid(2) in the seccomp filter"},
    {:terminal, "give the terminal to", nil,
     "allow ioctl(2) with TIOCSCTTY in the seccomp filter"},
    {:cgroup_create, "create the cgroup", "its directory",
     "the hint is the command for this machine; see the guide on cgroups"},
    {:cgroup_enable, "enable the cgroup controller", "`controller: file`",
     "the hint is the command for this machine; see the guide on cgroups"},
    {:cgroup_write, "write the cgroup setting", "`key: file`",
     "the hint names a wrong value, or what the kernel lacks"},
    {:cgroup_join, "enter the cgroup", "its `cgroup.procs`",
     "start the VM inside of the delegated group, for example with `Delegate=yes`"},
    {:cgroup_kill, "empty the cgroup", "its directory",
     "look at the processes in its `cgroup.procs`, and end them"},
    {:cgroup_remove, "remove the cgroup", "its directory",
     "remove it with rmdir once it is empty"},
    {:chdir, "change to directory", "the directory",
     "make the directory, or let the program's user enter it"},
    {:rlimit, "set the resource limit", "the resource",
     "stay below the hard limit of the VM, or give the VM `CAP_SYS_RESOURCE`"},
    {:nice, "set the nice value", "the value",
     "take a value that is not below the VM's, or give the VM `CAP_SYS_NICE`"},
    {:oom_score_adj, "set the OOM score adjustment", "the value",
     "take a value that is not below the VM's, or give the VM `CAP_SYS_RESOURCE`"},
    {:setgroups, "set the supplementary groups", "the group, or `nil`",
     "check the names with `getent group`; it needs `CAP_SETGID`"},
    {:setgid, "change to group", "the group",
     "check the name with `getent group`; it needs `CAP_SETGID`"},
    {:setuid, "change to user", "the user",
     "check the name with `getent passwd`; it needs `CAP_SETUID`"},
    {:keyring, "make a session keyring for", nil, "allow keyctl(2) in the seccomp filter"},
    {:capabilities, "give up the capabilities of the VM for", nil,
     "allow capset(2) in the seccomp filter"},
    {:no_new_privs, "set no_new_privs for", nil, "allow prctl(2) in the seccomp filter"},
    {:pdeathsig, "set the parent-death signal for", nil, "allow prctl(2) in the seccomp filter"},
    {:exec, "execute", "the file",
     "check the file's permission to execute, and the interpreter in its first line"},
    {:kill, "kill all processes of", nil,
     "end what is left by hand: another user's processes, or those stuck in the kernel"},
    {:ready, "see % become ready", "the program", "look at what it logs before it ends"},
    {:port, "wait for the program on the TCP port", "the port",
     "stop the process that has the port, or choose another port"},
    {:watchdog, "go on without a sign of life from", "the program",
     "find out why it hangs, or raise `:watchdog`"},
    {:start_timeout, "wait longer for % to become ready", "the program",
     "look at what it logs, or raise `:start_timeout`"},
    {:node, "run the program on the node", "its name",
     "see the guide on many machines; with `:notalive`, `:noconnection`, `:timeout`, `:no_muontrap` and " <>
       "`:incompatible` nothing has run"}
  ]

  @reasons [
    not_loaded: "it is not loaded",
    badarg: "it refused the call",
    nif_panicked: "it met a bug of its own",
    unknown_user: "no such user",
    unknown_group: "no such group",
    root: "muontrap runs nothing as root by naming it",
    foreign_processes: "it holds processes of others",
    memory_limit: "the memory limit of its cgroup leaves no room for it",
    own_cgroup: "it is the VM's own group",
    no_controller: "the controller is not available",
    no_counterpart: "this cgroup version has nothing like it",
    not_mounted: "no cgroup hierarchy is mounted",
    died: "the helper died",
    panicked: "the helper panicked, which is a bug in muontrap",
    timeout: "it took too long",
    garbage: "it sent what the protocol does not know",
    unkillable: "some of its processes survive SIGKILL",
    exited: "it ended first",
    notalive: "this VM is no node",
    noconnection: "there is no connection to it",
    connection_closed: "its VM has ended, or the connection was cut",
    disconnect: "this node has closed the connection",
    net_tick_timeout: "nothing was heard of it for too long",
    no_muontrap: "it has no muontrap, or an older one",
    incompatible: "it has another version of muontrap",
    killed: "what ran it there was killed"
  ]

  # Where the text of Erlang is another one than that of strerror(3), or none.
  @errnos [
    eperm: "operation not permitted",
    eopnotsupp: "operation not supported",
    erange: "out of range"
  ]

  @hints [
    {:lookup, :enoent, "give the absolute path, or check PATH"},
    {:exec, :enoent,
     "the file is missing, or the interpreter in its first line, or its dynamic loader"},
    {:exec, :enoexec,
     "it is no program for this machine, and there is no /bin/sh to run it as a script"},
    {:exec, :e2big,
     "pass less by arguments and environment, or use input:; in a cgroup, its memory limit may be too low"},
    {:exec, :eacces,
     "it must be a file that may be executed, in directories that may be entered"},
    {:exec, :etxtbsy, "the file is still open for writing: close it first"},
    {:chdir, :enoent, "make the directory first, or check cd:"},
    {:chdir, :enotdir, "cd: needs a directory"},
    {:chdir, :eacces, "let the user that the program runs as enter it"},
    {:setuid, :eperm, "changing the user needs CAP_SETUID"},
    {:setuid, :unknown_user, "getent passwd lists the users; an id works without an entry"},
    {:setuid, :root, "leave uid: out, then the program runs as the VM does"},
    {:setgid, :eperm, "changing the group needs CAP_SETGID"},
    {:setgid, :unknown_group, "getent group lists the groups; an id works without an entry"},
    {:setgroups, :eperm, "setting groups needs CAP_SETGID"},
    {:setgroups, :unknown_group, "getent group lists the groups; an id works without an entry"},
    {:nice, :eacces, "a lower nice value needs CAP_SYS_NICE or RLIMIT_NICE"},
    {:nice, :eperm, "a lower nice value needs CAP_SYS_NICE or RLIMIT_NICE"},
    {:rlimit, :eperm, "raising a hard limit needs CAP_SYS_RESOURCE; nofile stops at fs.nr_open"},
    {:oom_score_adj, :eacces, "a lower OOM score needs CAP_SYS_RESOURCE"},
    {:fork, :eagain, "the process limit (RLIMIT_NPROC or pids.max) is reached"},
    {:pipe, :emfile, "raise the limit of open files (ulimit -n) of the VM"},
    {:pipe, :enfile, "raise the system's limit of open files (sysctl fs.file-max)"},
    {:shim, :died, "start the program again"},
    {:start_timeout, :timeout, "look at what it logs, or raise start_timeout:"},
    {:watchdog, :timeout, "find out why it hangs, or raise watchdog:"}
  ]

  @doc "What could not be done, and on what."
  @spec operation(atom(), String.t() | nil) :: String.t()
  def operation(step, subject) do
    text = text(step)

    cond do
      String.contains?(text, "%") ->
        String.replace(text, "%", if(subject, do: inspect(subject), else: "the program"))

      subject == nil ->
        String.trim_trailing(text, " for")

      true ->
        text <> " " <> inspect(subject)
    end
  end

  for {step, text, _subject, _mends} <- @steps do
    defp text(unquote(step)), do: unquote(text)
  end

  defp text(step), do: "do the step #{step} for"

  @doc "A reason in words."
  @spec reason(atom()) :: String.t()
  for {reason, text} <- @reasons ++ @errnos do
    def reason(unquote(reason)), do: unquote(text)
  end

  def reason(reason) do
    case reason |> :inet.format_error() |> List.to_string() do
      "unknown POSIX error" <> _rest -> "failed"
      text -> text
    end
  end

  @doc "What mends it, if something does on every machine."
  @spec hint(atom(), atom(), String.t() | nil) :: String.t() | nil
  def hint(:lookup, :enoent, subject) when is_binary(subject) do
    if String.contains?(subject, " "),
      do:
        ~S'arguments go into a list: MuonTrap.cmd("ls", ["-l"]), and lines of shell to MuonTrap.shell/2',
      else: hint(:lookup, :enoent, nil)
  end

  for {step, reason, hint} <- @hints do
    def hint(unquote(step), unquote(reason), _subject), do: unquote(hint)
  end

  def hint(_step, _reason, _subject), do: nil

  @doc "The steps as a Markdown table."
  @spec docs() :: String.t()
  def docs do
    rows =
      for {step, _text, subject, mends} <- @steps do
        what = operation(step, nil)
        "| `#{inspect(step)}` | cannot #{what} | #{subject || "`nil`"} | #{mends} |\n"
      end

    IO.iodata_to_binary([
      "| step | what failed | subject | what mends it |\n|---|---|---|---|\n",
      rows
    ])
  end

  @doc "muontrap's own reasons as a Markdown list."
  @spec docs_of_reasons() :: String.t()
  def docs_of_reasons do
    for {reason, text} <- @reasons, into: "", do: "  * `#{inspect(reason)}` - #{text}\n"
  end

  @doc "All steps."
  @spec all() :: [atom()]
  def all, do: for(row <- @steps, do: elem(row, 0))
end
