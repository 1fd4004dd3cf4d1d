# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options do
  @moduledoc """
  The one table of all options, and the check of a call against it.

  `MuonTrap` and `MuonTrap.Daemon` call `validate!/4` before anything is started; their option lists in the
  documentation are printed from the same table. Call it directly to see what options come to.
  """

  alias MuonTrap.Defaults
  alias MuonTrap.Cgroup
  alias MuonTrap.Options.{Legacy, Type}

  @typedoc "The function that the options are for."
  @type kind :: :cmd | :run | :stream | :daemon | :session

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
    daemon: "MuonTrap.Daemon.start_link/3",
    session: "MuonTrap.open/3"
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
    {:input, @all -- [:session], :input, nil,
     "what the program reads from its standard input, then end of file; written as fast as it reads. An " <>
       "enumerable is pulled in a process of its own, one piece ahead. It is halted when nobody needs it any " <>
       "more; what is stuck inside then is killed after five seconds. " <>
       "Without it standard input is what `:stdin` says"},
    {:stdin, @calls, {:one_of, [:null, :open]}, :null,
     "`:open` leaves standard input open with nothing to read, for programs that stop where it ends"},
    {:stdin, [:daemon], {:one_of, [:pipe, :null]}, :pipe,
     "`:pipe` leaves standard input open, for `MuonTrap.Daemon.write/2` and `close_stdin/1`; `:null` is `/dev/null`"},
    {:cd, @all, :string, nil,
     "the directory to run in; entered with the VM's rights, or else with those of `:uid`, `:gid` and `:groups`"},
    {:env, @all, :env, [],
     "what to change in the environment of the VM for the program. `nil` unsets a variable, and so does `\"\"`, as " <>
       "with `System.cmd/3`: for one that is set and empty run `env NAME= program`. Names and values arrive " <>
       "byte for byte"},
    {:clear_env, @all, :boolean, false, "start from an empty environment instead of the VM's"},
    {:arg0, @all, :string, nil, "what the program sees as its own name"},
    {:stderr, [:daemon], {:one_of, [:inherit, :null]}, :inherit,
     "where standard error goes that no other option takes: to that of the VM, or to `/dev/null`"},
    {:stderr_to_stdout, @all, :boolean, false,
     "capture standard error together with standard output; without effect when `:capture_stderr_only` is set"},
    {:capture_stderr_only, @all, :boolean, false, "capture standard error, drop standard output"},
    {:capture_stderr, [:run, :stream], :boolean, false,
     "capture standard error apart from standard output: as `:stderr` of the result, or of a stream as elements " <>
       "`{:stderr, bytes}` between those of standard output, which are `{:stdout, bytes}` then"},
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
       "that up, new ones of this user hold little, see pipe(7). A size that is refused changes nothing else. " <>
       "`0` is refused: nothing would ever be read"},
    {:delay_to_sigkill, @all, :delay, {Defaults, :delay_to_sigkill},
     "milliseconds from the stop signal to SIGKILL for what is left. With `0` SIGKILL follows at once"},
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
     "run in a fresh control group below this one, given relative to the mount point; `:self` is the VM's own"},
    {:cgroup_path, @all, :cgroup_path, nil,
     "run in exactly this control group, given relative to the mount point"},
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
     "takes the bytes of a line, returns what to log in its place. Without it each invalid part of UTF-8 " <>
       "becomes U+FFFD, and a `\\r` ends a line as well, as progress bars write it"},
    {:log_line_max, [:daemon], {:integer, 16..0x4000_0000}, 65_536,
     "bytes; a longer line is logged in pieces"},
    {:logger_metadata, [:daemon], :keyword, [],
     "added to the Logger metadata of the Daemon's process: `:muontrap_cmd`, `:muontrap_args` (one string) and " <>
       "`:muontrap_argv` (a list), which always win. It is there in `:logger_fun` and `:log_transform`, too"},
    {:logger_fun, [:daemon], :logger_fun, nil,
     "called with the bytes of each line, without its `\\n` or `\\r\\n`, in place of Logger; the other log options " <>
       "but `:logger_metadata` and `:log_line_max` have no effect then. Lines that come " <>
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
       "often once it is ready; the program finds the time in `WATCHDOG_USEC`"},
    {:stdin, [:session], {:one_of, [:pipe, :null]}, :pipe,
     "`:pipe` is what `MuonTrap.Session.write/3` writes to; `:null` is `/dev/null`"},
    {:capture_stderr, [:session], :boolean, false,
     "take standard error apart from standard output. What is read, and events, tell then which one it is of: " <>
       "`{:stdout, bytes}`, `{:stderr, bytes}`"},
    {:lines, [:session], {:integer, 1..0x7FFF_FFFF}, nil,
     "hand out whole lines without their `\\n`, one by one, as events and by `MuonTrap.Session.read/2`. The number is " <>
       "of no further meaning. What looks at bytes, as `MuonTrap.Session.expect/3` does, is not possible then"},
    {:timeout, [:session], :timeout, :infinity,
     "milliseconds, after which the whole tree is stopped; what it has written can still be read"},
    {:active, [:session], :active, false,
     "what comes to the owner as messages: nothing with `false`, else see `MuonTrap.Session.set_active/2`"},
    {:max_buffer, [:session], {:integer, 1..0x7FFF_FFFF}, 1_048_576,
     "how many bytes of output, and one `:stdio_window`, are held for a call that waits for more of them, or beside " <>
       "a write that waits for the program"}
  ]

  @keys @table |> Enum.map(&elem(&1, 0)) |> Enum.uniq()
  @cgroup_settings [:cgroup, :cgroup_controllers, :cgroup_sets]

  @doc """
  Checks a call and returns it normalized, with the defaults filled in.

  Options are a keyword list, or a map.

  ## Errors

  Raises `ArgumentError`, with what was expected and what came, for a command or argument that is not a
  string or holds a NUL byte, an unknown option, a malformed value, and options that exclude each other.
  """
  @spec validate!(kind(), term(), term(), term()) :: t()
  def validate!(kind, command, args, opts) when kind in @all do
    unless Type.string?(command) do
      what = if is_binary(command), do: "program with null byte", else: "what is no string"

      raise ArgumentError,
            "cannot execute #{name(kind)} for #{what}, expected a command without NUL bytes, " <>
              "got: #{inspect(command)}"
    end

    unless is_list(args) and not List.improper?(args) do
      raise ArgumentError, "#{name(kind)} expects a list of arguments, got: #{inspect(args)}"
    end

    for arg <- args, not Type.string?(arg) do
      raise ArgumentError,
            "all arguments for #{name(kind)} must be binaries without NUL bytes, got: #{inspect(arg)}"
    end

    opts = keyword!(opts, kind)

    opts
    |> Enum.reduce(defaults(kind), &put_option!(&2, kind, &1))
    |> check_conflicts!(kind, opts)
    |> put_log_prefix(command)
    |> Map.merge(%{command: command, args: args})
  end

  @doc """
  Checks a call as `validate!/4` does, and returns it in the form that MuonTrap 1.x and 2.x have.

  That is a map with `:cmd` (the absolute path), `:args`, `:into` (`""` unless given) and those options that were
  given. It is there for code that was written against it, and to look at options without running anything.

    * `:env` - a list of `{name, value | false}` with charlists, as `Port.open/2` takes it
    * `:logger_fun` - a function or `{module, function, args}`
    * `:cgroup_base` - a random path below it is in `:cgroup_path` as well
    * `:cgroup` - becomes `:cgroup_controllers` and `:cgroup_sets`, with the file names of cgroup v2

  ## Errors

    * `ArgumentError` as `validate!/4` raises it
    * `ErlangError` with `:enoent` - there is no such program in `PATH`

  ## Examples

      iex> MuonTrap.Options.validate(:cmd, "/bin/sh", ["-c", "true"], timeout: 100)
      %{cmd: "/bin/sh", args: ["-c", "true"], into: "", timeout: 100}
  """
  @spec validate(:cmd | :daemon, binary(), [binary()], keyword() | map()) :: map()
  def validate(kind, command, args, opts) when kind in [:cmd, :daemon] do
    checked = validate!(kind, command, args, opts)
    # Without the arguments, which would be in the stack trace: they may hold a secret.
    path = System.find_executable(command) || :erlang.error(:enoent)
    given = Map.new(opts)
    Enum.reduce(given, %{cmd: path, args: args, into: ""}, &Legacy.put(&2, &1, checked))
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
    case for {^key, kinds, type, _default, _doc} <- @table, do: {kind in kinds, type} do
      [] ->
        raise ArgumentError,
              "unknown option #{inspect(key)} for #{name(kind)}#{suggestion(key)}, got: #{inspect(value)}"

      rows ->
        {true, type} =
          List.keyfind(rows, true, 0) ||
            raise ArgumentError,
                  "option #{inspect(key)} is not for #{name(kind)}, got: #{inspect(value)}"

        if type in [:cgroup_base, :cgroup_path], do: check_relative!(kind, key, value)
        Map.put(options, key, cast!(type, kind, key, value))
    end
  end

  # "/a" is "a"; what begins with a mount point would be a group of that name below another one.
  defp check_relative!(kind, key, "/" <> _rest = path) do
    with {mount, below} <- Cgroup.below_mount(path) do
      instead =
        if below == "", do: "name a group below it", else: "write #{inspect(below)} instead"

      raise ArgumentError,
            "invalid option #{inspect(key)} for #{name(kind)}: expected a path relative to the mount point " <>
              "#{mount}, #{instead}, got: #{inspect(path)}"
    end
  end

  defp check_relative!(_kind, _key, _value), do: :ok

  defp keyword!(opts, kind) when is_map(opts) and not is_struct(opts),
    do: opts |> Map.to_list() |> keyword!(kind)

  defp keyword!(opts, kind) do
    unless Keyword.keyword?(opts) do
      raise ArgumentError,
            "#{name(kind)} expects options as a keyword list or a map, got: #{inspect(opts)}"
    end

    opts
  end

  defp cast!(type, kind, key, value) do
    case Type.cast(type, value) do
      {:ok, value} ->
        value

      {:error, culprit} ->
        entry? = type == :groups and culprit != value
        what = if entry?, do: "invalid :groups entry", else: "invalid option #{inspect(key)}"

        raise ArgumentError,
              "#{what} for #{name(kind)}: expected #{Type.describe(type)}, got: #{inspect(culprit)}"
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

  defp check_conflicts!(options, kind, given) do
    for {left, right, true} <- conflicts(options, given) do
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
            "a cgroup configuration for #{name(kind)} requires a :cgroup_path or :cgroup_base, got: " <>
              inspect(settings)
    end

    # Upstream takes both; standard output is dropped then.
    options =
      if options.capture_stderr_only, do: %{options | stderr_to_stdout: false}, else: options

    # The input is all that there is to read then.
    if kind == :daemon and options.input != nil, do: %{options | stdin: :null}, else: options
  end

  defp conflicts(options, given) do
    no_stderr? = options[:stderr] == :null
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
      {:stdin, :input, given[:stdin] in [:pipe, :open] and options[:input] != nil},
      {:use_stdio, :stdin, no_stdio? and options.stdin == :open},
      {:stderr, :log_stderr, no_stderr? and options[:log_stderr] != nil},
      {:stderr, :stderr_to_stdout, no_stderr? and options.stderr_to_stdout},
      {:stderr, :capture_stderr_only, no_stderr? and options.capture_stderr_only},
      {:stderr_to_stdout, :log_stderr,
       options.stderr_to_stdout and not options.capture_stderr_only and
         options[:log_stderr] != nil}
    ]
  end

  defp put_log_prefix(%{log_prefix: nil} = options, command),
    do: %{options | log_prefix: command <> ": "}

  defp put_log_prefix(options, _command), do: options
end
