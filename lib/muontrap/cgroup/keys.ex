# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.Keys do
  @moduledoc false
  # The one table of what the `:cgroup` option takes, with the files behind each key in cgroup v1 and v2.
  #
  # `MuonTrap.Cgroup.Value` translates values to these files and back, for setting and for reading.

  alias MuonTrap.Cgroup.Bytes
  alias MuonTrap.Text

  @type key ::
          :cpu_weight
          | :cpu_max
          | :cpu_idle
          | :memory_min
          | :memory_low
          | :memory_high
          | :memory_max
          | :memory_swap_max
          | :memory_oom_group
          | :pids_max
          | :io_weight
          | :io_max
          | :cpuset_cpus
          | :cpuset_mems

  @typedoc """
  An integer, `:max` for "no limit", `{quota_us, period_us}`, a boolean or a string, by the key's type.
  """
  @type value ::
          non_neg_integer() | :max | {pos_integer(), pos_integer()} | boolean() | String.t()

  @type version :: :v1 | :v2

  # The kernel refuses a quota or a period below 1 ms and a period over 1 s.
  @cfs_min_us 1_000
  @cfs_period_max_us 1_000_000
  @bytes_max 0x7FFF_FFFF_FFFF_FFFF

  # {key, v2 controller, v2 file, v1 controller, v1 files, type, documentation}
  @table [
    {:cpu_weight, "cpu", "cpu.weight", "cpu", ["cpu.shares"], {:integer, 1..10_000},
     "share of CPU time against other groups; the kernel's default is 100"},
    {:cpu_max, "cpu", "cpu.max", "cpu", ["cpu.cfs_period_us", "cpu.cfs_quota_us"], :cpu_max,
     "at most `quota_us` microseconds of CPU time in each `period_us`"},
    {:cpu_idle, "cpu", "cpu.idle", "cpu", ["cpu.idle"], :boolean,
     "run only when nothing else wants the CPU (Linux 5.15)"},
    {:memory_min, "memory", "memory.min", nil, [], :bytes,
     "memory that is never taken from the group; nothing like it in v1"},
    {:memory_low, "memory", "memory.low", nil, [], :bytes,
     "memory that is taken from the group last; nothing like it in v1"},
    {:memory_high, "memory", "memory.high", nil, [], :bytes_or_max,
     "memory above which the group is slowed down and reclaimed; nothing like it in v1, where " <>
       "the soft limit acts only when the whole machine is short of memory"},
    {:memory_max, "memory", "memory.max", "memory", ["memory.limit_in_bytes"], :bytes_or_max,
     "memory above which the OOM killer acts in the group"},
    {:memory_swap_max, "memory", "memory.swap.max", "memory",
     ["memory.memsw.limit_in_bytes", "memory.limit_in_bytes"], :bytes_or_max,
     "swap, without memory; v1 limits the sum of both, so that it needs `memory_max` there"},
    {:memory_oom_group, "memory", "memory.oom.group", nil, [], :boolean,
     "the OOM killer kills the whole group; nothing like it in v1"},
    {:pids_max, "pids", "pids.max", "pids", ["pids.max"], :count_or_max, "processes and threads"},
    {:io_weight, "io", "io.weight", "blkio", ["blkio.bfq.weight", "blkio.weight"],
     {:integer, 1..10_000},
     "share of disk time against other groups; the kernel's default is 100; v1 knows 1 to 1000"},
    {:io_max, "io", "io.max", "blkio",
     [
       "blkio.throttle.read_bps_device",
       "blkio.throttle.write_bps_device",
       "blkio.throttle.read_iops_device",
       "blkio.throttle.write_iops_device"
     ], :io_max, "bytes and operations per second, one line for each device"},
    {:cpuset_cpus, "cpuset", "cpuset.cpus", "cpuset", ["cpuset.cpus"], :string,
     "the CPUs to run on"},
    {:cpuset_mems, "cpuset", "cpuset.mems", "cpuset", ["cpuset.mems"], :string,
     "the memory nodes to use"}
  ]

  @keys Enum.map(@table, &elem(&1, 0))

  # Files of cgroup v1 that old code sets and that mean nothing in v2.
  @v1_only_files [
    "memory.soft_limit_in_bytes",
    "memory.swappiness",
    "memory.oom_control",
    "memory.use_hierarchy",
    "memory.move_charge_at_immigrate",
    "memory.kmem.limit_in_bytes",
    "memory.kmem.tcp.limit_in_bytes",
    "cpu.rt_period_us",
    "cpu.rt_runtime_us",
    "blkio.leaf_weight",
    "blkio.weight_device",
    "blkio.bfq.weight_device",
    "cpuset.memory_migrate",
    "cpuset.cpu_exclusive",
    "cpuset.mem_exclusive",
    "freezer.state",
    "devices.allow",
    "devices.deny",
    "net_cls.classid",
    "net_prio.ifpriomap"
  ]

  @doc "All keys, in the order in which they are set."
  @spec all() :: [key()]
  def all, do: @keys

  @doc """
  Checks a map as given for `:cgroup` and returns it with numbers of bytes in place of strings such as `"100M"`, or
  `{:error, {key, value}}` with an entry that cannot be right.
  """
  @spec cast(map()) :: {:ok, %{key() => value()}} | {:error, {term(), term()}}
  def cast(config) do
    Enum.reduce_while(config, {:ok, %{}}, fn {key, given}, {:ok, done} ->
      with true <- key in @keys, {:ok, value} <- cast(type(key), given) do
        {:cont, {:ok, Map.put(done, key, value)}}
      else
        _wrong -> {:halt, {:error, {key, given}}}
      end
    end)
  end

  defp cast(type, given) when type in [:bytes, :bytes_or_max] and is_binary(given) do
    case Bytes.parse(given) do
      {:ok, bytes} when is_integer(bytes) -> {:ok, bytes}
      {:ok, :max} when type == :bytes_or_max and given == "max" -> {:ok, :max}
      _too_much_or_none -> :error
    end
  end

  defp cast(type, given), do: if(valid?(type, given), do: {:ok, given}, else: :error)

  @doc "What is expected in place of a key and its value, in words."
  @spec expected(term(), term()) :: String.t()
  def expected(key, _value) when key in @keys,
    do: "invalid value for cgroup key #{inspect(key)}, expected #{describe(type(key))}"

  def expected(key, _value) do
    meant =
      case Text.near(key, @keys) do
        nil -> "expected one of #{Enum.map_join(@keys, ", ", &inspect/1)}"
        near -> "did you mean #{inspect(near)}?"
      end

    "unknown cgroup config field, #{meant}"
  end

  for {key, controller, file, v1_controller, v1_files, type, _doc} <- @table do
    @doc false
    def type(unquote(key)), do: unquote(Macro.escape(type))

    @doc false
    def files(unquote(key), :v2), do: {unquote(controller), [unquote(file)]}
    def files(unquote(key), :v1), do: {unquote(v1_controller), unquote(v1_files)}
  end

  @doc """
  The key behind a file of one version, or `nil`.

      iex> MuonTrap.Cgroup.Keys.of_file("memory.limit_in_bytes", :v1)
      :memory_max
  """
  @spec of_file(String.t(), version()) :: key() | nil
  def of_file(file, version) do
    # The limit of memory alone comes before the one of memory and swap.
    Enum.find(@keys, fn key -> file in elem(files(key, version), 1) end)
  end

  @doc "Whether a file is known to be of v1 and to have no counterpart in v2."
  @spec v1_only?(String.t()) :: boolean()
  def v1_only?(file), do: file in @v1_only_files

  @doc "The table as Markdown, for the documentation."
  @spec docs() :: String.t()
  def docs do
    rows =
      for {key, _controller, file, _v1_controller, v1_files, type, doc} <- @table do
        v1 = if v1_files == [], do: "–", else: Enum.map_join(v1_files, ", ", &"`#{&1}`")
        "| `#{key}` | #{describe(type)} | `#{file}` | #{v1} | #{doc} |\n"
      end

    IO.iodata_to_binary([
      "| key | value | cgroup v2 | cgroup v1 | meaning |\n|---|---|---|---|---|\n",
      rows
    ])
  end

  defp valid?({:integer, range}, value), do: is_integer(value) and value in range
  defp valid?(:boolean, value), do: is_boolean(value)
  defp valid?(:bytes, value), do: is_integer(value) and value in 0..@bytes_max
  defp valid?(:bytes_or_max, value), do: value == :max or valid?(:bytes, value)
  defp valid?(:count_or_max, value), do: value == :max or valid?(:bytes, value)
  defp valid?(:cpu_max, :max), do: true

  defp valid?(:cpu_max, {quota, period}) do
    is_integer(quota) and is_integer(period) and quota in @cfs_min_us..@bytes_max and
      period in @cfs_min_us..@cfs_period_max_us
  end

  defp valid?(:string, value), do: text?(value) and value =~ ~r/\A[0-9,-]*\z/

  defp valid?(:io_max, value) do
    text?(value) and
      value
      |> String.split("\n", trim: true)
      |> Enum.all?(&(&1 =~ ~r/\A\d+:\d+( (rbps|wbps|riops|wiops)=(\d+|max))+\z/))
  end

  defp valid?(_type, _value), do: false

  defp text?(value), do: is_binary(value) and String.valid?(value)

  defp describe({:integer, range}), do: "an integer from #{range.first} to #{range.last}"
  defp describe(:boolean), do: "`true` or `false`"
  defp describe(:bytes), do: "bytes, such as `1048576` or `\"100M\"`"
  defp describe(:bytes_or_max), do: describe(:bytes) <> ", or `:max`"
  defp describe(:count_or_max), do: "an integer or `:max`"

  defp describe(:cpu_max) do
    "`{quota_us, period_us}` in microseconds, both at least #{@cfs_min_us} and the period at most " <>
      "#{@cfs_period_max_us}, or `:max`"
  end

  defp describe(:string), do: "a string of numbers and ranges, such as `\"0-2,4\"`"

  defp describe(:io_max),
    do: "a line for each device, such as `\"8:0 rbps=1048576 wiops=max\"`"
end
