# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Result do
  @moduledoc """
  How a command or a pipeline ended. `MuonTrap.run/3` and `MuonTrap.pipeline/2` return it.

  ## Fields

    * `:status` - how it ended: `{:exited, code}`; `{:signaled, signal}` with the signal's name, or its number if it has
      no name (see `MuonTrap.Signal`). If a bound stopped the command, it is that bound, no matter how the program then
      ended: `:timeout`, `:idle_timeout` or `:max_output`
    * `:exit_status` - how the program itself ended, as a number like in a shell: the exit code, or 128 plus the number
      of the signal. It is also set when a bound stopped the command
    * `:output` - the output, collected into `:into`; `nil` for a stream, which has emitted the output
    * `:stderr` - standard error with `capture_stderr: true`, otherwise `nil`
    * `:os_pid` - the process id of the program; `nil` if its cgroup's memory limit left no room to start it
    * `:timed_out` - whether it was stopped because its `:timeout` was over
    * `:stopped_by` - the bound that stopped it, the first that it reached: `:timeout`, `:idle_timeout` or
      `:max_output`; `nil` if it ended by itself
    * `:truncated` - whether output was dropped because of `:max_output`
    * `:oom_killed` - whether the kernel killed one of its processes because its cgroup ran out of memory. Always
      `false` without a cgroup
    * `:survivors` - the process ids of processes that could not be killed. If `:os_pid` is one of them, the program has
      not ended, and `:exit_status` is that of the SIGKILL that it was sent
    * `:leftovers` - other things that could not be cleaned up, as a list of `MuonTrap.Error`
    * `:usage` - what its processes used: microseconds of CPU time (`:user_us`, `:system_us`), and the peak memory of
      the largest process (`:max_rss_bytes`). Only processes whose parent waited for their end are counted. The kernel
      counts a process from before it executes the program, so the memory is never less than that of the helper: about 1
      MB, and three times the arguments and environment
    * `:duration_ms` - milliseconds from the call to the end of all processes
    * `:programs` - the results of the programs of `MuonTrap.pipeline/2`, in their order; otherwise `nil`

  There are no statistics of the cgroup, because it is already removed.
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
  defstruct @enforce_keys ++ [stopped_by: nil, truncated: false, programs: nil]

  @typedoc "The option that stopped a program."
  @type bound :: :timeout | :idle_timeout | :max_output

  @typedoc "The fields above."
  @type t :: %__MODULE__{
          status: {:exited, 0..255} | {:signaled, MuonTrap.Signal.t()} | bound(),
          exit_status: 0..255,
          output: Collectable.t() | nil,
          stderr: binary() | nil,
          os_pid: pos_integer() | nil,
          timed_out: boolean(),
          stopped_by: bound() | nil,
          truncated: boolean(),
          oom_killed: boolean(),
          survivors: [pos_integer()],
          leftovers: [MuonTrap.Error.t()],
          usage: %{
            user_us: non_neg_integer(),
            system_us: non_neg_integer(),
            max_rss_bytes: non_neg_integer()
          },
          duration_ms: non_neg_integer(),
          programs: [t()] | nil
        }
end
