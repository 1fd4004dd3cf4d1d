# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options.DaemonRows do
  @moduledoc false
  # The rows of `MuonTrap.Options.Table` on what only a Daemon has: a log, and a moment at which it is ready.

  @groups [
    {"Logging",
     [
       {:log_output, [:daemon], :log_level, nil,
        "log each line of standard output at this level; without it, standard output goes to `/dev/null`"},
       {:log_stderr, [:daemon], :log_level, nil, "log each line of standard error at this level"},
       {:log_prefix, [:daemon], :string, nil,
        "put before each logged line; without it, the command and `\": \"`"},
       {:log_transform, [:daemon], {:function, 1}, nil,
        """
        takes the bytes of a line and returns what to log instead: `log_transform: &String.upcase/1`

        Without it, each invalid part of UTF-8 becomes U+FFFD, and `\\r` ends a line too, as progress bars write it.
        """},
       {:log_line_max, [:daemon], :line_max, 65_536,
        "the longest line to log at once; a longer one is logged in pieces"},
       {:logger_metadata, [:daemon], :keyword, [],
        """
        Logger metadata for all events of the Daemon: `logger_metadata: [job: 17]`

        `:muontrap_cmd`, `:muontrap_args` (one string) and `:muontrap_argv` (a list) are always there, and win. The
        metadata is there in `:logger_fun` and `:log_transform` too.
        """},
       {:logger_fun, [:daemon], :logger_fun, nil,
        """
        called with the bytes of each line in place of Logger: `logger_fun: &IO.puts/1`

        The line comes without its `\\n` or `\\r\\n`. Of the other log options only `:logger_metadata`, `:log_line_max`
        and `:log_rate` have an effect then. Lines that come together are parts of one binary of up to 32 KiB: use `:binary.copy/1` on
        the few that you keep for long.
        """},
       {:log_rate, [:daemon], {:integer, 1..0xFFFF_FFFF}, nil,
        """
        how many lines of both streams are logged in a second at the most: `log_rate: 100`

        `:logger_fun` gets no more either. The others are read and dropped, counted in `:dropped_lines` of
        `MuonTrap.Daemon.statistics/1`, and told of by a warning, once in a second.
        """},
       {:tail_bytes, [:daemon], {:integer, 0..0x10_0000}, nil,
        """
        how many bytes of the end of standard error are kept, to be logged when the program fails

        Whole lines are shown. Without it that is 4,096 where standard error is read anyway: with `:log_stderr`,
        `:capture_stderr_only`, or `:stderr_to_stdout` together with `:log_output` or `:logger_fun`. Given, standard error
        is read for it in any case, and passed on line by line to that of the VM where it would have been that; with
        `stderr: :null` it is dropped.
        """}
     ]},
    {"Readiness",
     [
       {:wait_for, [:daemon], {:function, 0}, nil,
        "runs before the program is started, which waits for its return; `start_link/3` does not wait then"},
       {:ready, [:daemon], :ready, nil,
        """
        what `start_link/3` waits for once the program runs: `ready: {:tcp, 8080}`

        That is a line of output that the regex matches, a TCP port that accepts connections, a function that returns
        `true`, or with `:notify` the program's `READY=1` on `NOTIFY_SOCKET`, see sd_notify(3).
        """},
       {:start_timeout, [:daemon], :timeout, 30_000,
        """
        the time that `:ready` may take before the start fails

        A TCP port that somebody else still holds is waited for as long, before the program is started.
        """},
       {:watchdog, [:daemon], :milliseconds, nil,
        """
        with `ready: :notify`, the Daemon stops if its program does not say `WATCHDOG=1` at least this often

        It counts once the program is ready. The program finds the time in `WATCHDOG_USEC`.
        """},
       {:reload, [:daemon], :signal, :sighup,
        "the signal with which `MuonTrap.Daemon.reload/2` asks the program to read its configuration again"}
     ]}
  ]

  @doc "Groups of the table, each with its title."
  @spec groups() :: [{String.t(), [MuonTrap.Options.Table.row()]}]
  def groups, do: @groups
end
