# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Result do
  @moduledoc """
  How a command ended, or a pipeline: what `MuonTrap.run/3` and `MuonTrap.pipeline/2` return.

  ## Fields

    * `:status` - how it ended: `{:exited, code}`; `{:signaled, signal}` with the signal's name, or its number if it has no
      name (see `MuonTrap.Signal`); or the bound that it was stopped by, however the program ended then: `:timeout`,
      `:idle_timeout` or `:max_output`
    * `:exit_status` - how the program itself ended, as a number like a shell's: the exit code, or 128 and the number of
      the signal. It is there after such a stop too
    * `:output` - what `:into` made of the output; `nil` for a stream, which has handed it out
    * `:stderr` - standard error with `capture_stderr: true`, otherwise `nil`
    * `:os_pid` - the process id that the program had; `nil` if its cgroup's memory limit left no room to start it
    * `:timed_out` - whether it was stopped because its `:timeout` was over
    * `:stopped_by` - the bound that it was stopped by, the first that it reached: `:timeout`, `:idle_timeout` or
      `:max_output`; `nil` if it ended by itself
    * `:truncated` - whether output was dropped because of `:max_output`
    * `:oom_killed` - whether the kernel killed one of its processes because its cgroup ran out of memory. Always `false`
      without a cgroup
    * `:survivors` - the process ids of what could not be killed. If `:os_pid` is one of them, the program has not ended,
      and `:exit_status` is that of the SIGKILL that it was sent
    * `:leftovers` - what else could not be cleaned up, as a list of `MuonTrap.Error`
    * `:usage` - what its processes used, as far as somebody waited for their end: microseconds of CPU time (`:user_us`,
      `:system_us`), and the peak memory of the largest one (`:max_rss_bytes`). The kernel counts a process from before
      it executes the program, so this is never less than the helper has: about 1 MB, and three times the arguments and
      environment
    * `:duration_ms` - milliseconds from the call to the end of all processes
    * `:programs` - the results of the programs of `MuonTrap.pipeline/2`, in their order; otherwise `nil`

  It holds no statistics of the cgroup, which is gone by then.
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

  @typedoc "The option that a program was stopped by."
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
