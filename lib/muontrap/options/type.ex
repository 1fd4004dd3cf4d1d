# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Options.Type do
  @moduledoc false

  # The value types of the option table: `cast/2` checks and normalizes a value. `MuonTrap.Options.Words` has the
  # words for them.

  alias MuonTrap.Cgroup.Keys
  alias MuonTrap.Daemon.{Backoff, StopSteps}
  alias MuonTrap.{Pty, Signal}

  @type t ::
          :boolean
          | :string
          | :env
          | :collectable
          | :input
          | :signal
          | :rlimits
          | :user
          | :group
          | :groups
          | :absolute_path
          | :cgroup_path
          | :cgroup_base
          | :cgroup_controllers
          | :cgroup_sets
          | :cgroup
          | :stdio_window
          | :line_max
          | :delay
          | :linger
          | :timeout
          | :milliseconds
          | :umask
          | :max_output
          | :max_output_stop
          | :name
          | :log_level
          | :logger_fun
          | :keyword
          | :ready
          | :exit_reason
          | :stop
          | :restart_backoff
          | :pty
          | :node
          | :active
          | {:integer, Range.t()}
          | {:function, arity()}
          | {:one_of, [atom()]}

  @log_levels [:emergency, :alert, :critical, :error, :warning, :notice, :info, :debug]

  @resources [
    :as,
    :core,
    :cpu,
    :data,
    :fsize,
    :locks,
    :memlock,
    :msgqueue,
    :nice,
    :nofile,
    :nproc,
    :rss,
    :rtprio,
    :rttime,
    :sigpending,
    :stack
  ]

  # RLIM_INFINITY is 2^64 - 1 and spelled :infinity here.
  @rlimit_max 0xFFFF_FFFF_FFFF_FFFE

  # (uid_t) -1 means "leave it as it is" to setresuid and must never get through.
  @id_max 0xFFFF_FFFE

  # `receive ... after` takes no more.
  @timeout_max 0xFFFF_FFFF

  # 2^31 days, which still fits a signed 64-bit count of milliseconds.
  @delay_max 0x8000_0000 * 86_400_000

  @window_max 0x4000_0000

  @doc "The resources that can be limited, see setrlimit(2)."
  @spec resources() :: [atom()]
  def resources, do: @resources

  @doc "The levels of Logger."
  @spec log_levels() :: [atom()]
  def log_levels, do: @log_levels

  @doc "The integers that a type takes; nil if it takes none, or others as well."
  @spec range(t()) :: Range.t() | nil
  def range(:stdio_window), do: 1..@window_max
  def range(:line_max), do: 16..@window_max
  def range(type) when type in [:delay, :linger], do: 0..@delay_max
  def range(type) when type in [:milliseconds, :timeout], do: 1..@timeout_max
  def range(type) when type in [:user, :group], do: 1..@id_max
  def range(:umask), do: 0..0o777
  def range({:integer, range}), do: range
  def range(_type), do: nil

  @doc "Checks and normalizes a value. The culprit is the value, or the part of it that is wrong."
  @spec cast(t(), term()) :: {:ok, term()} | {:error, culprit :: term()}
  def cast(:boolean, value) when is_boolean(value), do: {:ok, value}

  def cast(:string, value), do: ok_if(string?(value), value)
  def cast(:env, value), do: cast_env(value)
  def cast(:collectable, value), do: ok_if(Collectable.impl_for(value) != nil, value)
  def cast(:input, value), do: ok_if(input?(value), value)

  def cast(:signal, value) do
    with :error <- Signal.number(value), do: {:error, value}
  end

  def cast(:rlimits, value), do: cast_rlimits(value)
  def cast(:user, value), do: cast_not_root(value)
  def cast(:group, value), do: cast_not_root(value)
  def cast(:groups, value) when is_list(value), do: cast_list(value, &cast_not_root/1)

  def cast(:absolute_path, value),
    do: ok_if(string?(value) and Path.type(value) == :absolute, value)

  def cast(:cgroup_base, :self), do: {:ok, :self}
  def cast(:cgroup_base, value), do: cast(:cgroup_path, value)
  def cast(:cgroup_path, value), do: cast_cgroup_path(value)

  def cast(:cgroup_controllers, value) when is_list(value),
    do: cast_list(value, &ok_if(path_component?(&1), &1))

  def cast(:cgroup_sets, value) when is_list(value), do: cast_list(value, &cast_cgroup_set/1)

  def cast(:cgroup, value) when is_list(value),
    do: if(Keyword.keyword?(value), do: value |> Map.new() |> Keys.cast(), else: {:error, value})

  def cast(:cgroup, value) when is_map(value) and not is_struct(value), do: Keys.cast(value)

  def cast(type, :infinity) when type in [:linger, :timeout], do: {:ok, :infinity}

  def cast(type, value)
      when type in [:stdio_window, :line_max, :delay, :linger, :timeout, :milliseconds, :umask],
      do: ok_if(is_integer(value) and value in range(type), value)

  def cast(:max_output, :infinity), do: {:ok, :infinity}

  def cast(:max_output, {bytes, excess})
      when is_integer(bytes) and bytes >= 0 and bytes <= @delay_max and
             excess in [:truncate, :stop],
      do: {:ok, {bytes, excess}}

  def cast(:max_output, bytes) when is_integer(bytes), do: cast(:max_output, {bytes, :truncate})

  def cast(:max_output_stop, value) when value == :infinity or is_tuple(value) do
    with {:ok, {_bytes, :truncate}} <- cast(:max_output, value), do: {:error, value}
  end

  def cast(:name, value) when is_atom(value), do: {:ok, value}
  def cast(:name, {:global, _term} = value), do: {:ok, value}
  def cast(:name, {:via, module, _term} = value) when is_atom(module), do: {:ok, value}

  # Elixir deprecated :warn for :warning in 1.15; old code still says it.
  def cast(:log_level, :warn), do: {:ok, :warning}
  def cast(:log_level, value) when value in @log_levels, do: {:ok, value}

  def cast(:logger_fun, value) when is_function(value, 1), do: {:ok, value}
  def cast(:logger_fun, {m, f}) when is_atom(m) and is_atom(f), do: {:ok, {m, f, []}}

  def cast(:logger_fun, {m, f, a} = value) when is_atom(m) and is_atom(f) and is_list(a),
    do: {:ok, value}

  def cast(:keyword, value), do: ok_if(Keyword.keyword?(value), value)

  def cast(:ready, :notify), do: {:ok, :notify}
  def cast(:ready, {:output, %Regex{}} = value), do: {:ok, value}
  def cast(:ready, {:fun, fun} = value) when is_function(fun, 0), do: {:ok, value}
  def cast(:ready, {:tcp, port} = value) when port in 1..65_535, do: {:ok, value}

  def cast(:exit_reason, :result), do: {:ok, :result}
  def cast(:exit_reason, value), do: cast({:function, 1}, value)
  def cast(:stop, value), do: StopSteps.cast(value)
  def cast(:restart_backoff, value), do: Backoff.cast(value)
  def cast(:pty, value), do: Pty.cast(value)
  def cast(:node, value) when is_atom(value), do: ok_if(value == nil or node?(value), value)
  def cast(:active, value) when value in [true, false, :once], do: {:ok, value}
  def cast(:active, value), do: cast({:integer, 1..0x7FFF_FFFF}, value)

  def cast({:integer, range}, value) when is_integer(value), do: ok_if(value in range, value)
  def cast({:function, arity}, value) when is_function(value, arity), do: {:ok, value}
  def cast({:one_of, atoms}, value), do: ok_if(value in atoms, value)

  def cast(_type, value), do: {:error, value}

  @doc "Whether it is a string that the kernel can take."
  @spec string?(term()) :: boolean()
  def string?(value), do: is_binary(value) and :binary.match(value, "\0") == :nomatch

  defp node?(value) do
    match?([name, host] when name != "" and host != "", String.split(Atom.to_string(value), "@"))
  end

  defp ok_if(true, value), do: {:ok, value}
  defp ok_if(false, value), do: {:error, value}

  defp cast_list(list, fun) do
    if List.improper?(list), do: {:error, list}, else: cast_each(list, fun, [])
  end

  defp cast_each([], _fun, acc), do: {:ok, Enum.reverse(acc)}

  defp cast_each([element | rest], fun, acc) do
    with {:ok, value} <- fun.(element), do: cast_each(rest, fun, [value | acc])
  end

  # As with System.cmd/3 the last value of a name counts.
  defp cast_env(value) do
    if enumerable?(value) do
      with {:ok, pairs} <- value |> Enum.to_list() |> cast_list(&cast_env_pair/1) do
        {:ok, pairs |> Enum.reverse() |> Enum.uniq_by(&elem(&1, 0)) |> Enum.reverse()}
      end
    else
      {:error, value}
    end
  end

  defp cast_env_pair({name, value} = pair) do
    name? = string?(name) and name != "" and :binary.match(name, "=") == :nomatch

    # An empty value unsets in `System.cmd/3`: it is the charlist [] there, which open_port/2 takes for false, from
    # OTP 21 to 29.
    value = if value == "", do: nil, else: value
    if name? and (value == nil or string?(value)), do: {:ok, {name, value}}, else: {:error, pair}
  end

  defp cast_env_pair(other), do: {:error, other}

  defp input?(value) when is_binary(value), do: true

  defp input?(value) when is_list(value) do
    _bytes = IO.iodata_length(value)
    true
  rescue
    ArgumentError -> false
  end

  # A plain map enumerates pairs, which are never iodata.
  defp input?(value), do: enumerable?(value) and (is_function(value) or is_struct(value))

  defp enumerable?(value) when is_function(value), do: is_function(value, 2)
  defp enumerable?(value) when is_list(value), do: not List.improper?(value)
  defp enumerable?(value), do: Enumerable.impl_for(value) != nil

  defp cast_rlimits(value) when is_map(value) and not is_struct(value),
    do: value |> Map.to_list() |> cast_rlimits()

  defp cast_rlimits(value) when is_list(value) do
    with {:ok, limits} <- cast_list(value, &cast_rlimit/1) do
      {:ok, limits |> Map.new() |> Enum.sort()}
    end
  end

  defp cast_rlimits(value), do: {:error, value}

  defp cast_rlimit({resource, {soft, hard}} = limit) when resource in @resources do
    if rlimit?(soft) and rlimit?(hard) and soft <= hard, do: {:ok, limit}, else: {:error, limit}
  end

  defp cast_rlimit({resource, both}) when resource in @resources and not is_tuple(both),
    do: cast_rlimit({resource, {both, both}})

  defp cast_rlimit(other), do: {:error, other}

  # In Erlang's term order every atom is greater than every number, so `soft <= hard` holds for :infinity too.
  defp rlimit?(:infinity), do: true
  defp rlimit?(value), do: is_integer(value) and value in 0..@rlimit_max

  # Upstream takes a string of digits for the number, never for a name.
  defp cast_id(id) when is_integer(id), do: ok_if(id in 0..@id_max, id)

  defp cast_id(id) when is_binary(id) do
    case Integer.parse(id) do
      {number, ""} -> if number in 0..@id_max, do: {:ok, number}, else: {:error, id}
      _other -> ok_if(string?(id) and id != "" and :binary.match(id, [",", ":"]) == :nomatch, id)
    end
  end

  defp cast_id(id), do: {:error, id}

  defp cast_not_root(value) do
    case cast_id(value) do
      {:ok, id} when id in [0, "root"] -> {:error, value}
      result -> result
    end
  end

  # Upstream joins it to the mount point, where a slash more on either side changes nothing.
  defp cast_cgroup_path(value) when is_binary(value) do
    path = value |> String.trim_leading("/") |> String.trim_trailing("/")

    if path |> String.split("/") |> Enum.all?(&path_component?/1),
      do: {:ok, path},
      else: {:error, value}
  end

  defp cast_cgroup_path(value), do: {:error, value}

  defp path_component?(value), do: string?(value) and path_name?(value)

  defp path_name?(value), do: value not in ["", ".", ".."] and not String.contains?(value, "/")

  defp cast_cgroup_set({controller, file, value} = set)
       when is_integer(value) or is_binary(value) do
    value = to_string(value)
    named? = path_component?(controller) and path_component?(file) and string?(value)
    if named?, do: {:ok, {controller, file, value}}, else: {:error, set}
  end

  defp cast_cgroup_set(other), do: {:error, other}
end
