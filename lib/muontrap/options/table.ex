# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options.Table do
  @moduledoc false
  # The one table of all options: checks, defaults and documentation come from it.
  #
  # A row is {key, functions that take it, type, default, documentation}. The first paragraph of the documentation is
  # one sentence, which each function shows; the rest is shown by `MuonTrap.Options`. Types are those of
  # `MuonTrap.Options.Type`. The default nil means "not given".

  alias MuonTrap.Defaults
  alias MuonTrap.Options.{DaemonRows, Type}

  @all [:cmd, :run, :stream, :pipeline, :daemon, :session]
  @calls [:cmd, :run, :stream, :pipeline]

  @typedoc "A row, see above."
  @type row :: {atom(), [atom()], Type.t(), term(), String.t()}

  @common [
    {"What runs",
     [
       {:cd, @all, :string, nil,
        """
        the directory to run in; without it, that of the VM

        It is entered with the VM's rights, or else with those of `:uid`, `:gid` and `:groups`.
        """},
       {:env, @all, :env, [],
        """
        variables to add to the environment of the VM, or with `nil` to unset: `env: [{"LANG", "C"}, {"DEBUG", nil}]`

        The last value of a name counts. `""` unsets a variable as `nil` does, as in `System.cmd/3`; for one that is
        set and empty, run `env NAME= program`. Names and values arrive byte for byte.
        """},
       {:clear_env, @all, :boolean, false,
        "when `true`, the program gets an empty environment instead of the VM's; `:env` is added to it"},
       {:arg0, @all, :string, nil,
        "the name that the program sees as its own (`argv[0]`); without it, the path of the program"},
       {:name, [:daemon], :name, nil,
        "the name to register the Daemon under, as for a GenServer"},
       {:parallelism, @all, :boolean, nil, "accepted for `System.cmd/3`, without effect"}
     ]},
    {"Input and output",
     [
       {:input, @all -- [:session], :input, nil,
        """
        what the program reads from standard input, followed by end of file: `input: "a\\nb\\n"` or
        `input: File.stream!("big.csv")`

        It is written as fast as the program reads. An enumerable is pulled in a process of its own, one piece ahead,
        and halted when nobody needs it any more; what is stuck inside it then is killed after five seconds.
        """},
       {:stdin, @calls, {:one_of, [:null, :open]}, :null,
        "standard input without `:input`: `:null` is `/dev/null`, `:open` never ends, for programs that stop at end of file"},
       {:stdin, [:daemon], {:one_of, [:pipe, :null]}, :pipe,
        "`:pipe` keeps standard input open for `MuonTrap.Daemon.write/2` and `close_stdin/1`; `:null` is `/dev/null`"},
       {:into, [:cmd, :run, :pipeline], :collectable, "",
        "where the output goes: `into: []` makes a list, `into: IO.stream()` prints it as it comes"},
       {:lines, @calls, {:integer, 1..0x7FFF_FFFF}, nil,
        """
        deliver the output as whole lines without their `\\n`, not as pieces of any size: `lines: 1024, into: []`

        Lines are never cut: the number is there for `System.cmd/3` and has no effect. Lines that come together are
        parts of one binary, which stays in memory as long as one of them does: use `:binary.copy/1` on the few that
        you keep for long.
        """},
       {:stderr_to_stdout, @all, :boolean, false,
        "when `true`, standard error is captured together with standard output; `:capture_stderr_only` wins over it"},
       {:capture_stderr_only, @all -- [:pipeline], :boolean, false,
        "when `true`, standard error is captured and standard output is dropped"},
       {:capture_stderr, [:run, :stream, :pipeline], :boolean, false,
        """
        when `true`, standard error is captured apart: as `:stderr` of the result, or as elements of the stream

        The elements of a stream are then `{:stdout, bytes}` and `{:stderr, bytes}`.
        """},
       {:stderr, [:daemon], {:one_of, [:inherit, :null]}, :inherit,
        "where standard error goes if no other option takes it: to the VM's standard error, or to `/dev/null`"},
       {:use_stdio, [:cmd, :run], :boolean, true,
        """
        when `false`, the program uses the VM's own standard input and output, and nothing is captured

        Terminals and pipes are opened anew for it where the VM may do that, so that neither side makes the other's
        non-blocking; sockets are shared as they are.
        """},
       {:stdio_window, @all, :stdio_window, {Defaults, :stdio_window},
        """
        how much output may be on its way unhandled before the program has to wait

        In a pipeline that is 65,536, unless it is given or configured: for a stream that has an input, or becomes that of
        another program.

        Above 64 KiB the pipes of output get that size as well, up to `/proc/sys/fs/pipe-max-size` (mostly 1 MiB): a
        program that writes much waits less often, and each of its pipes may hold that much kernel memory. All pipes
        of a user without privileges share `/proc/sys/fs/pipe-user-pages-soft` (mostly 64 MiB): once large pipes have
        used that up, new ones of this user hold little, see pipe(7). A size that the kernel refuses changes nothing
        else.
        """},
       {:pty, @all -- [:pipeline], :pty, nil,
        """
        give the program a terminal of its own, as its three streams and its controlling terminal: `pty: [rows: 50, cols: 132]`

        See [the guide](terminals.md). What the program writes is standard output, with `\\r\\n` for `\\n`; `:lines` leaves
        both out. `:input` is typed, and its end as Ctrl-D; so is that of `stdin: :null` at the start. Half of
        `:delay_to_sigkill` after the stop signal, a program that is still there gets SIGHUP. `true` is
        `[rows: 24, cols: 80]`; `term:` becomes `TERM`, which is `xterm` unless `:env` has one.
        """}
     ]},
    {"Ending",
     [
       {:timeout, @calls, :timeout, :infinity,
        "the time after which the program and all that it started are stopped; the output so far is returned"},
       {:idle_timeout, @calls, :timeout, :infinity,
        """
        how long there may be no output, before the whole tree is stopped

        Any byte that the VM reads counts: of standard output, and of standard error where an option or a function that
        raises captures it. The time does not run while nobody asks for output, as of a stream whose consumer takes its
        time.
        """},
       {:max_output, @calls, :max_output, :infinity,
        """
        how many bytes of output the caller gets at the most: `max_output: 1_000_000`

        Standard output and captured standard error count together. What the program writes beyond that is read and
        dropped, or with `{bytes, :stop}` the whole tree is stopped. With `:lines` each line counts with its newline,
        and one that does not fit is dropped whole.
        """},
       {:pipefail, [:pipeline], :boolean, true,
        """
        when `true`, the status is that of the last program that failed, otherwise that of the last program

        A SIGPIPE of one before the last, whose reader ended early, is no failure.
        """},
       {:stop_signal, @all, :signal, :sigterm, "the signal that asks the program to stop"},
       {:delay_to_sigkill, @all, :delay, {Defaults, :delay_to_sigkill},
        "the time from the stop signal to SIGKILL for whatever is left; with `0`, SIGKILL follows at once"},
       {:linger, @all, :linger, nil,
        """
        how long background processes may go on after the program has ended by itself: `0` kills them at once,
        `:infinity` waits for their end

        Without it they may pass their output on: they are killed when none has come for 50 ms and none of them that
        reads from a pipe is at work. After `:delay_to_sigkill` they are killed in any case, not counting the time that
        output waits for its owner. After a stop nothing lingers.
        """},
       {:exit_status_to_reason, [:daemon], :exit_reason, nil,
        """
        takes an exit status other than 0 and returns the stop reason; without it, `:error_exit_status` or
        `{:oom_killed, status}`

        With `:result` the reason is `{:exit_status, result}`, a `MuonTrap.Result` whose `:stderr` is the end that
        `:tail_bytes` speaks of.
        """},
       {:stop, [:daemon], :stop, nil,
        """
        how the program is asked to stop, in place of `:stop_signal`: `stop: [:sigint, 5_000, :sigterm, 2_000]` or
        `stop: {"nginx", ["-s", "quit"]}`

        Each step of a list is a signal or a command, and may have a pause in milliseconds after it, which ends with the
        program. What has no pause is followed at once; the last step has `:delay_to_sigkill`. Then what is left gets
        SIGKILL in any case. A command is contained, runs as the program does (`:cd`, `:env`, `:clear_env`, `:uid`,
        `:gid`, `:groups`, `:umask`) with the program's pid in `MAINPID`, and may take as long as its pause. Where nobody
        is left to take steps, at the end of the owner or of the VM, the program gets `:stop_signal` and has
        `:delay_to_sigkill`.
        """},
       {:restart_backoff, [:daemon], :restart_backoff, nil,
        """
        the Daemon stays when its program ends and starts it again after a while, unnoticed by the supervisor:
        `restart_backoff: [first: 500, max: 60_000]`

        It waits `:first` ms after a first failure, twice as long after each that follows, `:max` at the most, each time
        a random part of that between the half and the whole. A program that was ready and ran for `:healthy_after` ms
        has not failed before. With `on: :failure` exit status 0 still ends the Daemon, with `on: :end` it does not.
        `true` and what is not given mean `first: 500, max: 60_000, healthy_after: 30_000, on: :failure`.
        """}
     ]},
    {"Identity and limits",
     [
       {:uid, @all, :user, nil,
        """
        the user to run as: `uid: "nobody"`; without it, the VM's

        The program is the first file in the VM's `PATH` that this user may execute. It gets the user's group and
        groups, no capability of the VM, and an empty session keyring. It may open `/dev/stdin`, `/dev/stdout` and
        `/dev/stderr` where they are pipes of muontrap. What it inherits from the VM it may use, but open anew only if
        that is open to this user.
        """},
       {:gid, @all, :group, nil,
        """
        the group to run as: `gid: "nogroup"`; without it, that of `:uid`, or else the VM's

        Alone it changes nothing else, except that the program gets no capability of the VM.
        """},
       {:groups, @all, :groups, nil,
        """
        the supplementary groups, exactly these: `groups: ["audio", 1000]`; without it, those of `:uid`, or else the VM's

        A user that the system has in root's group stays there.
        """},
       {:umask, @all, :umask, nil, "the file mode creation mask: `umask: 0o027`"},
       {:nice, @all, {:integer, -20..19}, nil, "the nice value itself, not an increment"},
       {:rlimits, @all, :rlimits, [],
        """
        resource limits as in setrlimit(2) and in its units: `rlimits: [nofile: 1024, cpu: {60, 90}]`

        One number sets the soft and the hard limit. The resources are
        #{Enum.map_join(Type.resources(), ", ", &"`#{inspect(&1)}`")}.
        """},
       {:oom_score_adj, @all, {:integer, -1000..1000}, nil,
        "how eagerly the kernel's OOM killer takes the program; a higher number is killed earlier"},
       {:no_new_privs, @all, :boolean, false,
        "when `true`, neither setuid bits nor file capabilities give the program or its children privileges"}
     ]},
    {"Cgroups",
     [
       {:cgroup_base, @all, :cgroup_base, nil,
        "run in a fresh control group below this one: `cgroup_base: \"myapp\"`; `:self` is the VM's own group"},
       {:cgroup_path, @all, :cgroup_path, nil,
        "run in exactly this control group: `cgroup_path: \"myapp/web\"`"},
       {:cgroup, @all, :cgroup, %{},
        "limits by the keys of `MuonTrap.Cgroup`, on every cgroup version: `cgroup: %{memory_max: \"100M\", pids_max: 50}`"},
       {:cgroup_controllers, @all, :cgroup_controllers, [],
        "controllers that the group must have even if none of their limits is set"},
       {:cgroup_sets, @all, :cgroup_sets, [],
        "limits by controller and file, with the names of either cgroup version"}
     ]}
  ]

  @conversation [
    {"Where it runs",
     [
       {:node, [:cmd, :run, :stream, :session], :node, nil,
        """
        the node of a cluster on which the program runs, for the calling process here: `node: :"worker@host"`

        It has the files, environment, `PATH` and users of that node. It ends with its caller and with the connection,
        see [the guide on many machines](cluster.md).
        """}
     ]},
    {"Conversation",
     [
       {:stdin, [:session], {:one_of, [:pipe, :null]}, :pipe,
        "`:pipe` is what `MuonTrap.Session.write/3` writes to; `:null` is `/dev/null`"},
       {:capture_stderr, [:session], :boolean, false,
        """
        when `true`, standard error is captured apart from standard output

        What `MuonTrap.Session.read/2` returns and the events of a session are then `{:stdout, bytes}` and
        `{:stderr, bytes}`.
        """},
       {:lines, [:session], {:integer, 1..0x7FFF_FFFF}, nil,
        """
        hand out whole lines without their `\\n`, one by one: `lines: 1024, active: true`

        They come as events and by `MuonTrap.Session.read/2`. What looks at bytes, as `MuonTrap.Session.expect/3` does,
        is not possible then. Lines are never cut: the number has no effect.
        """},
       {:timeout, [:session], :timeout, :infinity,
        "the time after which the program and all that it started are stopped; what it has written can still be read"},
       {:idle_timeout, [:session], :timeout, :infinity,
        """
        how long there may be no output while some is waited for, before the whole tree is stopped

        The time runs while a call reads, writes or waits for the end, and while the owner gets events; each byte of output
        begins it anew, and what is written to the program does not. While nobody asks it stands still.
        """},
       {:max_output, [:session], :max_output_stop, :infinity,
        """
        how many bytes of output a session takes, before the whole tree is stopped: `max_output: {1_000_000, :stop}`

        Standard output and captured standard error count together. What was taken before can be read; the rest is
        dropped, and with `:lines` a line that does not fit whole. There is no `:truncate`: whoever waits for an answer that
        is dropped would wait in vain.
        """},
       {:active, [:session], :active, false,
        "what the owner is sent as messages: nothing with `false`, else see `MuonTrap.Session.set_active/2`"},
       {:max_buffer, [:session], {:integer, 1..0x7FFF_FFFF}, 1_048_576,
        """
        how many bytes of output are held for a call that waits for more of them, or while a write waits

        One `:stdio_window` may come on top.
        """}
     ]}
  ]

  @groups @common ++ DaemonRows.groups() ++ @conversation

  @doc "The groups in the order of the documentation, each with its title."
  @spec groups() :: [{String.t(), [row()]}]
  def groups, do: @groups

  @doc "All rows."
  @spec rows() :: [row()]
  def rows, do: Enum.flat_map(@groups, &elem(&1, 1))

  @doc "The rows that are for a function."
  @spec rows(atom()) :: [row()]
  def rows(kind), do: for(row <- rows(), kind in elem(row, 1), do: row)
end
