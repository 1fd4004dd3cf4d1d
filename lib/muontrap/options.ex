# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options do
  @moduledoc """
  The one table of all options, and the check of a call against it.

  `MuonTrap` and `MuonTrap.Daemon` call `validate!/4` before anything is started; their option lists in the
  documentation are printed from the same table. Call it directly to see what options come to.
  """

  alias MuonTrap.Defaults
  alias MuonTrap.Options.Type

  @typedoc "The function that the options are for."
  @type kind :: :cmd | :run | :stream | :daemon

  @typedoc """
  A checked call: `:command`, `:args` and every option of the function, those not given with their default.

  Normalized are `:env` (a list of `{name, value | nil}`, each name once), `:stop_signal` (a number),
  `:rlimits` (a sorted list of `{resource, {soft, hard}}`), `:cgroup_sets` (string values), ids given as
  strings of digits (integers), `:logger_fun` (a function or `{module, function, args}`) and log levels
  (`:warn` is `:warning`).
  """
  @type t :: %{
          required(:command) => String.t(),
          required(:args) => [String.t()],
          optional(atom()) => term()
        }

  @functions [
    cmd: "MuonTrap.cmd/3",
    run: "MuonTrap.run/3",
    stream: "MuonTrap.stream/3",
    daemon: "MuonTrap.Daemon.start_link/3"
  ]

  @all Keyword.keys(@functions)
  @calls [:cmd, :run, :stream]

  # {key, functions that take it, type, default, documentation}
  @table [
    {:into, [:cmd, :run], :collectable, "", "where the output goes"},
    {:lines, @calls, {:integer, 1..0x7FFF_FFFF}, nil,
     "deliver whole lines without their `\\n`, however long, instead of pieces as they come. The number, " <>
       "there for `System.cmd/3`, is of no further meaning. Lines that come together are parts of one binary, " <>
       "which lives as long as one of them: `:binary.copy/1` those few of many that are kept for long"},
    {:input, @all, :input, nil,
     "what the program reads from its standard input, then end of file; written as fast as it reads. An " <>
       "enumerable is pulled in a process of its own, one piece ahead. It is halted when nobody needs it any " <>
       "more; what is stuck inside then is killed after five seconds. " <>
       "Without it standard input is `/dev/null`"},
    {:stdin, [:daemon], {:one_of, [:null, :pipe]}, :null,
     "`:pipe` leaves standard input open for `MuonTrap.Daemon.write/2` and `close_stdin/1`"},
    {:cd, @all, :string, nil,
     "the directory to run in; entered with the VM's rights, or else with those of `:uid`, `:gid` and `:groups`"},
    {:env, @all, :env, [],
     "what to change in the environment of the VM for the program; `nil` unsets a variable. Names and values " <>
       "arrive byte for byte"},
    {:clear_env, @all, :boolean, false, "start from an empty environment instead of the VM's"},
    {:arg0, @all, :string, nil, "what the program sees as its own name"},
    {:stderr_to_stdout, @all, :boolean, false,
     "capture standard error together with standard output; without effect when `:capture_stderr_only` is set"},
    {:capture_stderr_only, @all, :boolean, false, "capture standard error, drop standard output"},
    {:capture_stderr, [:run], :boolean, false,
     "capture standard error apart from standard output, as `:stderr` of the result"},
    {:use_stdio, [:cmd, :run], :boolean, true,
     "when `false`, the program has the VM's own standard input and output and nothing is captured. " <>
       "Terminals and pipes are opened anew for it where the VM may do that, so that neither makes the " <>
       "other's non-blocking; sockets are shared as they are"},
    {:parallelism, @all, :boolean, nil, "accepted for `System.cmd/3`, without effect"},
    {:timeout, @calls, :timeout, :infinity,
     "milliseconds, after which the whole tree is stopped; the output so far is returned"},
    {:stdio_window, @all, :stdio_window, {Defaults, :stdio_window},
     "how many bytes of output may be on their way unhandled before the program has to wait. Above 64 KiB the " <>
       "pipes of output get that size as well, up to `/proc/sys/fs/pipe-max-size`, mostly 1 MiB: a program that " <>
       "writes much waits less often, and each of its pipes may hold that much kernel memory. All pipes of a user " <>
       "without privileges share `/proc/sys/fs/pipe-user-pages-soft`, mostly 64 MiB: once large pipes have used " <>
       "that up, new ones of this user hold little, see pipe(7). A size that is refused changes nothing else"},
    {:delay_to_sigkill, @all, :delay, {Defaults, :delay_to_sigkill},
     "milliseconds from the stop signal to SIGKILL for what is left"},
    {:linger, @all, :linger, nil,
     "how long what the program started may go on at the most once the program has ended by itself, in " <>
       "milliseconds; `0` kills it at once, `:infinity` waits for its end. Without it what is left may pass " <>
       "output on: it is killed when nothing has come of it for 50 ms, and after `:delay_to_sigkill` anyway, " <>
       "not counting what it waits for its owner. After a stop nothing lingers"},
    {:stop_signal, @all, :signal, 15, "the signal that asks the program to stop; 15 is SIGTERM"},
    {:uid, @all, :user, nil,
     "run as this user: with its group and groups, without capabilities of the VM, and with an empty session " <>
       "keyring. The program may open `/dev/stdin`, `/dev/stdout` and `/dev/stderr` where they are pipes of " <>
       "muontrap; what it inherits from the VM it may use, and open only if that is open to this user"},
    {:gid, @all, :group, nil,
     "run as this group. Alone it changes nothing else, but for capabilities that the VM would pass on"},
    {:groups, @all, :groups, nil,
     "exactly these supplementary groups. Without it, those of the user in `:uid`, else the VM's. A user that " <>
       "the system has in root's group stays there"},
    {:umask, @all, {:integer, 0..0o777}, nil, "the file mode creation mask"},
    {:nice, @all, {:integer, -20..19}, nil, "the nice value, not an increment"},
    {:rlimits, @all, :rlimits, [],
     "resource limits as in `setrlimit(2)`, in its units; one number sets soft and hard limit"},
    {:oom_score_adj, @all, {:integer, -1000..1000}, nil,
     "how eagerly the kernel's OOM killer takes the program"},
    {:no_new_privs, @all, :boolean, false,
     "when `true`, neither setuid bits nor file capabilities give the program or its children privileges"},
    {:cgroup_base, @all, :cgroup_base, nil,
     "run in a fresh control group below this one; `:self` is the VM's own"},
    {:cgroup_path, @all, :cgroup_path, nil, "run in exactly this control group"},
    {:cgroup, @all, :cgroup, %{}, "limits by name, the same on cgroup v1 and v2"},
    {:cgroup_controllers, @all, :cgroup_controllers, [],
     "controllers that have to be there even without a limit of theirs"},
    {:cgroup_sets, @all, :cgroup_sets, [],
     "limits by controller and file name of either cgroup version"},
    {:name, [:daemon], :name, nil, "the name to register, as `GenServer` takes it"},
    {:log_output, [:daemon], :log_level, nil, "log each line of output with this level"},
    {:log_stderr, [:daemon], :log_level, nil, "log each line of standard error with this level"},
    {:log_prefix, [:daemon], :string, nil,
     "put before each logged line; the command and `\": \"` when not given"},
    {:log_transform, [:daemon], {:function, 1}, nil,
     "takes a line, returns what to log in its place"},
    {:log_line_max, [:daemon], {:integer, 16..0x4000_0000}, 65_536,
     "bytes; a longer line is logged in pieces"},
    {:logger_metadata, [:daemon], :keyword, [],
     "added to the Logger metadata `:muontrap_cmd` and `:muontrap_args`, which always win"},
    {:logger_fun, [:daemon], :logger_fun, nil,
     "called with each line in place of Logger; the other log options have no effect then. Lines that come " <>
       "together are parts of one binary of up to 16 KiB: `:binary.copy/1` those few of many that are kept for long"},
    {:exit_status_to_reason, [:daemon], {:function, 1}, nil,
     "takes an exit status other than 0, returns the stop reason; `:error_exit_status`, or " <>
       "`{:oom_killed, status}`, when not given"},
    {:wait_for, [:daemon], {:function, 0}, nil, "runs before the program is started"},
    {:ready, [:daemon], :ready, nil,
     "what `start_link/3` waits for: a line of output, a TCP port that accepts, a function that " <>
       "returns true, or `READY=1` on `NOTIFY_SOCKET`"},
    {:start_timeout, [:daemon], :timeout, 30_000,
     "milliseconds that `:ready` may take; then the start fails. A TCP port that somebody else still holds " <>
       "is waited for as long before the program is started"},
    {:watchdog, [:daemon], {:integer, 1..0xFFFF_FFFF}, nil,
     "milliseconds. With `ready: :notify`, the Daemon stops unless its program says `WATCHDOG=1` at least that " <>
       "often once it is ready; the program finds the time in `WATCHDOG_USEC`"}
  ]

  @keys Enum.map(@table, &elem(&1, 0))
  @cgroup_settings [:cgroup, :cgroup_controllers, :cgroup_sets]

  @doc """
  Checks a call and returns it normalized, with the defaults filled in.

  ## Errors

  Raises `ArgumentError`, with what was expected and what came, for a command or argument that is not a
  string or holds a NUL byte, an unknown option, a malformed value, and options that exclude each other.
  """
  @spec validate!(kind(), term(), term(), term()) :: t()
  def validate!(kind, command, args, opts) when kind in @all do
    unless Type.string?(command) do
      raise ArgumentError,
            "#{name(kind)} expects a command without NUL bytes, got: #{inspect(command)}"
    end

    unless is_list(args) and not List.improper?(args) do
      raise ArgumentError, "#{name(kind)} expects a list of arguments, got: #{inspect(args)}"
    end

    for arg <- args, not Type.string?(arg) do
      raise ArgumentError,
            "#{name(kind)} expects arguments to be strings without NUL bytes, got: #{inspect(arg)}"
    end

    unless Keyword.keyword?(opts) do
      raise ArgumentError,
            "#{name(kind)} expects options as a keyword list, got: #{inspect(opts)}"
    end

    opts
    |> Enum.reduce(defaults(kind), &put_option!(&2, kind, &1))
    |> check_conflicts!(kind)
    |> put_log_prefix(command)
    |> Map.merge(%{command: command, args: args})
  end

  @doc """
  Returns the options of a function as a Markdown list, for its documentation.
  """
  @spec docs(kind()) :: String.t()
  def docs(kind) when kind in @all do
    for {key, kinds, type, default, doc} <- @table, kind in kinds, into: "" do
      "  * `#{inspect(key)}` - #{doc}. Expects #{Type.describe(type)}#{default_doc(default)}.\n"
    end
  end

  @doc """
  Returns the keys that a function takes, in the order of the documentation.
  """
  @spec keys(kind()) :: [atom()]
  def keys(kind) when kind in @all do
    for {key, kinds, _type, _default, _doc} <- @table, kind in kinds, do: key
  end

  defp name(kind), do: Keyword.fetch!(@functions, kind)

  defp put_option!(options, kind, {key, value}) do
    case List.keyfind(@table, key, 0) do
      nil ->
        raise ArgumentError,
              "unknown option #{inspect(key)} for #{name(kind)}#{suggestion(key)}, got: #{inspect(value)}"

      {_key, kinds, type, _default, _doc} ->
        unless kind in kinds do
          raise ArgumentError,
                "option #{inspect(key)} is not for #{name(kind)}, got: #{inspect(value)}"
        end

        Map.put(options, key, cast!(type, kind, key, value))
    end
  end

  defp cast!(type, kind, key, value) do
    case Type.cast(type, value) do
      {:ok, value} ->
        value

      {:error, culprit} ->
        raise ArgumentError,
              "invalid option #{inspect(key)} for #{name(kind)}: expected #{Type.describe(type)}, " <>
                "got: #{inspect(culprit)}"
    end
  end

  defp suggestion(key) do
    key = Atom.to_string(key)

    case Enum.filter(@keys, &(String.jaro_distance(Atom.to_string(&1), key) > 0.8)) do
      [] -> ""
      near -> " (did you mean #{Enum.map_join(near, " or ", &inspect/1)}?)"
    end
  end

  for kind <- @all do
    defaults =
      for {key, kinds, _type, default, _doc} <- @table,
          kind in kinds,
          into: %{},
          do: {key, default}

    defp defaults(unquote(kind)) do
      %{
        unquote(Macro.escape(defaults))
        | stdio_window: Defaults.stdio_window(),
          delay_to_sigkill: Defaults.delay_to_sigkill()
      }
    end
  end

  defp default_doc(nil), do: ""
  defp default_doc({Defaults, key}), do: "; the default is `config :muontrap, #{key}: ...`"
  defp default_doc(value), do: "; the default is `#{inspect(value)}`"

  defp check_conflicts!(options, kind) do
    for {left, right, true} <- conflicts(options) do
      raise ArgumentError,
            "#{name(kind)} cannot take #{inspect(left)} together with #{inspect(right)}, got: " <>
              inspect([{left, options[left]}, {right, options[right]}])
    end

    if options[:watchdog] && options.ready != :notify do
      raise ArgumentError,
            "#{name(kind)} needs ready: :notify for :watchdog, got: #{inspect(options.ready)}"
    end

    settings = for key <- @cgroup_settings, not Enum.empty?(options[key]), do: {key, options[key]}

    if settings != [] and options.cgroup_base == nil and options.cgroup_path == nil do
      raise ArgumentError,
            "#{name(kind)} needs :cgroup_base or :cgroup_path for cgroup settings, got: " <>
              inspect(settings)
    end

    # Upstream takes both; standard output is dropped then.
    if options.capture_stderr_only, do: %{options | stderr_to_stdout: false}, else: options
  end

  defp conflicts(options) do
    no_stdio? = options[:use_stdio] == false
    apart? = options[:capture_stderr] == true

    [
      {:cgroup_base, :cgroup_path, options.cgroup_base != nil and options.cgroup_path != nil},
      {:use_stdio, :into, no_stdio? and options.into != ""},
      {:use_stdio, :lines, no_stdio? and options.lines != nil},
      {:use_stdio, :input, no_stdio? and options.input != nil},
      {:use_stdio, :capture_stderr_only, no_stdio? and options.capture_stderr_only},
      {:use_stdio, :capture_stderr, no_stdio? and apart?},
      {:capture_stderr, :capture_stderr_only, apart? and options.capture_stderr_only},
      {:capture_stderr, :stderr_to_stdout, apart? and options.stderr_to_stdout},
      {:stdin, :input, options[:stdin] == :pipe and options.input != nil},
      {:stderr_to_stdout, :log_stderr,
       options.stderr_to_stdout and not options.capture_stderr_only and
         options[:log_stderr] != nil}
    ]
  end

  defp put_log_prefix(%{log_prefix: nil} = options, command),
    do: %{options | log_prefix: command <> ": "}

  defp put_log_prefix(options, _command), do: options
end
