# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Result do
  @moduledoc """
  What became of a command: the answer of `MuonTrap.run/3`.

  ## Fields

    * `:status` - `{:exited, code}`, `{:signaled, signal}` with the name of the signal or its number if it has
      none (see `MuonTrap.Signal`), or `:timeout`, however the program ended then
    * `:exit_status` - how the program itself ended, as a shell shows it: the exit code, or 128 and the number
      of the signal. After a timeout too, when `MuonTrap.cmd/3` says `:timeout` in its place
    * `:output` - the output in `:into`; `nil` for a stream, which has handed it out
    * `:stderr` - standard error with `capture_stderr: true`, else `nil`
    * `:os_pid` - the process id that the program had; `nil` if the memory limit of its cgroup had no room to
      start it
    * `:timed_out` - whether it was stopped because of its `:timeout`
    * `:oom_killed` - whether the kernel killed a process of the tree because the memory of its cgroup ran out,
      the program or another one. Always `false` without a cgroup
    * `:survivors` - the process ids of what could not be killed. If `:os_pid` is among them the program has
      not ended, and `:exit_status` is that of the SIGKILL that it was sent
    * `:leftovers` - what else could not be cleaned up, as `MuonTrap.Error`
    * `:usage` - what the tree used, those processes of it that were waited for: `:user_us` and `:system_us` are
      microseconds of CPU time, `:max_rss_bytes` is the largest resident set of any one process. The
      kernel counts what a process had before it executed its program: a program that takes less than its helper, about
      1 MB and three times its arguments and environment, shows that
    * `:duration_ms` - milliseconds from the call to the end of the tree

  There are no numbers of the cgroup: it is gone by then.
  """

  @enforce_keys [
    :status,
    :exit_status,
    :output,
    :stderr,
    :os_pid,
    :timed_out,
    :oom_killed,
    :survivors,
    :leftovers,
    :usage,
    :duration_ms
  ]
  defstruct @enforce_keys

  @typedoc "The fields above."
  @type t :: %__MODULE__{
          status: {:exited, 0..255} | {:signaled, MuonTrap.Signal.t()} | :timeout,
          exit_status: 0..255,
          output: Collectable.t() | nil,
          stderr: binary() | nil,
          os_pid: pos_integer() | nil,
          timed_out: boolean(),
          oom_killed: boolean(),
          survivors: [pos_integer()],
          leftovers: [MuonTrap.Error.t()],
          usage: %{
            user_us: non_neg_integer(),
            system_us: non_neg_integer(),
            max_rss_bytes: non_neg_integer()
          },
          duration_ms: non_neg_integer()
        }
end
