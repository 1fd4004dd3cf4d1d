# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options.Conflicts do
  @moduledoc false
  # Options that exclude or need each other.

  @cgroup_settings [:cgroup, :cgroup_controllers, :cgroup_sets]

  @doc "The two options of a checked call that exclude each other first, and what to do about it; nil if none do."
  @spec exclusive(map(), keyword()) :: {atom(), atom(), String.t()} | nil
  def exclusive(options, given) do
    Enum.find_value(pairs(options, given), fn {left, right, both?, instead} ->
      if both?, do: {left, right, instead}
    end)
  end

  defp pairs(options, given) do
    no_stderr? = options[:stderr] == :null
    no_stdio? = options[:use_stdio] == false
    apart? = options[:capture_stderr] == true
    alone? = options[:capture_stderr_only] == true
    pty? = options[:pty] != nil
    one = "a terminal has one output for both streams"
    shared = "with use_stdio: false the program has the VM's own input and output"

    [
      {:cgroup_base, :cgroup_path, options.cgroup_base != nil and options.cgroup_path != nil,
       "one asks for a fresh group, the other names one"},
      {:use_stdio, :into, no_stdio? and options.into != "", shared},
      {:use_stdio, :lines, no_stdio? and options.lines != nil, shared},
      {:use_stdio, :input, no_stdio? and options.input != nil, shared},
      {:use_stdio, :capture_stderr_only, no_stdio? and alone?, shared},
      {:use_stdio, :capture_stderr, no_stdio? and apart?, shared},
      {:use_stdio, :stdin, no_stdio? and options.stdin == :open, shared},
      {:use_stdio, :idle_timeout, no_stdio? and options.idle_timeout != :infinity, shared},
      {:use_stdio, :max_output, no_stdio? and options.max_output != :infinity, shared},
      {:capture_stderr, :capture_stderr_only, apart? and alone?,
       "the second drops standard output"},
      {:capture_stderr, :stderr_to_stdout, apart? and options.stderr_to_stdout,
       "one keeps the streams apart, the other puts them together"},
      {:stdin, :input, given[:stdin] in [:pipe, :open] and options[:input] != nil,
       "the input is all that there is to read"},
      {:stderr, :log_stderr, no_stderr? and options[:log_stderr] != nil,
       "the first drops what the second is to log"},
      {:stderr, :stderr_to_stdout, no_stderr? and options.stderr_to_stdout,
       "the first drops what the second is to capture"},
      {:stderr, :capture_stderr_only, no_stderr? and alone?,
       "the first drops what the second is to capture"},
      {:stderr_to_stdout, :log_stderr,
       options.stderr_to_stdout and not alone? and options[:log_stderr] != nil,
       "with the first, log_output: logs both"},
      {:pty, :use_stdio, pty? and no_stdio?, shared},
      {:pty, :capture_stderr, pty? and apart?, one},
      {:pty, :capture_stderr_only, pty? and alone?, one},
      {:pty, :stderr, pty? and given[:stderr] != nil, one},
      {:pty, :log_stderr, pty? and options[:log_stderr] != nil, one}
    ]
  end

  @doc "The option of a checked call that lacks another one, and what it needs; nil if none does."
  @spec lacking(map()) :: {[atom()], String.t()} | nil
  def lacking(options) do
    settings = Enum.reject(@cgroup_settings, &Enum.empty?(options[&1]))

    cond do
      options[:watchdog] && options.ready != :notify ->
        {[:watchdog, :ready], "needs ready: :notify for :watchdog"}

      settings != [] and options.cgroup_base == nil and options.cgroup_path == nil ->
        {settings,
         "requires a :cgroup_path or :cgroup_base for limits (cgroup_base: :self is the VM's own group)"}

      true ->
        nil
    end
  end
end
