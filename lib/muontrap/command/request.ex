# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Command.Request do
  @moduledoc false
  # What the native part is told of a command that it starts.

  alias MuonTrap.{Cgroup, Options, Pty}

  @doc "All that it is to know, the environment of this moment with it. `more` is that of `MuonTrap.Command.start/3`."
  @spec new(Options.t(), tuple(), Cgroup.Plan.t() | nil, keyword()) :: map()
  def new(options, stdio, cgroup, more) do
    base = if options.clear_env, do: [], else: :os.env()

    %{
      program: options.command,
      arg0: options.arg0,
      args: options.args,
      env: {base, Pty.env(options) ++ Keyword.get(more, :env, [])},
      cd: options.cd,
      stdio: stdio,
      pty: options[:pty],
      stop_signal: options.stop_signal,
      grace_ms: options.delay_to_sigkill,
      linger: options.linger,
      window_bytes: options.stdio_window,
      announce: Keyword.get(more, :announce, false),
      lines: Keyword.get(more, :lines, {nil, nil}),
      uid: options.uid,
      gid: options.gid,
      groups: options.groups,
      umask: options.umask,
      nice: options.nice,
      rlimits: options.rlimits,
      oom_score_adj: options.oom_score_adj,
      no_new_privs: options.no_new_privs,
      cgroup: cgroup
    }
  end
end
