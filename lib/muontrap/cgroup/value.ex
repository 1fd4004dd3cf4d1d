# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup.Value do
  @moduledoc false
  # Values of `MuonTrap.Cgroup.Keys` as the text of the kernel's files, and back.
  #
  # A weight of the CPU and its v1 shares are what the kernel itself takes for the same (100 and 1024). A
  # disk weight is scaled as systemd does: equal up to 100, and 10,000 is v1's 1000.

  alias MuonTrap.Cgroup.{Bytes, Keys}

  @typedoc "Gives the text of a file."
  @type reader :: (String.t() -> {:ok, String.t()} | term())

  @throttles [
    {"rbps", "blkio.throttle.read_bps_device"},
    {"wbps", "blkio.throttle.write_bps_device"},
    {"riops", "blkio.throttle.read_iops_device"},
    {"wiops", "blkio.throttle.write_iops_device"}
  ]

  @doc """
  The files to write for a value, in order. `others` are the values of the other keys, set or about to be.

  A value that means "no limit" needs no file where the limit does not exist.

  ## Errors

  `{:error, why}` with a sentence for the user, if this version has no counterpart.
  """
  @spec to_files(Keys.key(), Keys.value(), Keys.version(), map()) ::
          {:ok, [{String.t(), String.t()}]} | {:error, String.t()}
  def to_files(key, value, version, others \\ %{})

  def to_files(:io_max, lines, :v2, _others) do
    {:ok, for(line <- String.split(lines, "\n", trim: true), do: {"io.max", line})}
  end

  def to_files(key, value, :v2, _others) do
    {_controller, [file]} = Keys.files(key, :v2)
    {:ok, [{file, encode(value)}]}
  end

  def to_files(:cpu_weight, weight, :v1, _others),
    do: {:ok, [{"cpu.shares", "#{div(weight * 1024 + 50, 100)}"}]}

  def to_files(:cpu_max, :max, :v1, _others), do: {:ok, [{"cpu.cfs_quota_us", "-1"}]}

  def to_files(:cpu_max, {quota, period}, :v1, _others),
    do: {:ok, [{"cpu.cfs_period_us", "#{period}"}, {"cpu.cfs_quota_us", "#{quota}"}]}

  def to_files(:memory_max, value, :v1, _others),
    do: {:ok, [{"memory.limit_in_bytes", v1_bytes(value)}]}

  def to_files(:memory_swap_max, :max, :v1, _others),
    do: {:ok, [{"memory.memsw.limit_in_bytes", "-1"}]}

  def to_files(:memory_swap_max, swap, :v1, %{memory_max: memory}) when is_integer(memory),
    do: {:ok, [{"memory.memsw.limit_in_bytes", "#{memory + swap}"}]}

  def to_files(:memory_swap_max, _swap, :v1, _others),
    do: {:error, "cgroup v1 limits the sum of memory and swap: set memory_max, too"}

  def to_files(:io_weight, weight, :v1, _others),
    do: {:ok, [{"blkio.bfq.weight", "#{bfq_weight(weight)}"}]}

  def to_files(:io_max, lines, :v1, _others) do
    {:ok,
     for line <- String.split(lines, "\n", trim: true),
         [device | limits] = String.split(line),
         limit <- limits,
         [name, value] = String.split(limit, "=") do
       {throttle(name), "#{device} #{if value == "max", do: 0, else: value}"}
     end}
  end

  def to_files(key, off, :v1, _others)
      when {key, off} in [
             {:memory_min, 0},
             {:memory_low, 0},
             {:memory_high, :max},
             {:memory_oom_group, false}
           ],
      do: {:ok, []}

  def to_files(key, value, :v1, _others) do
    case Keys.files(key, :v1) do
      {nil, []} -> {:error, no_counterpart(key)}
      {_controller, [file]} -> {:ok, [{file, encode(value)}]}
    end
  end

  defp no_counterpart(key) do
    "#{key} needs cgroup v2: boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line, or leave it out"
  end

  @doc """
  The value that files hold, `:error` if it cannot be read or has no form as a value.
  """
  @spec from_files(Keys.key(), Keys.version(), reader()) :: {:ok, Keys.value()} | :error
  def from_files(key, :v2, read) do
    {_controller, [file]} = Keys.files(key, :v2)

    with {:ok, text} <- read(read, file), do: decode(Keys.type(key), text)
  end

  def from_files(:cpu_weight, :v1, read) do
    with {:ok, shares} <- read_integer(read, "cpu.shares"),
         do: {:ok, shares |> Kernel.*(100) |> Kernel.+(512) |> div(1024) |> max(1) |> min(10_000)}
  end

  def from_files(:cpu_max, :v1, read) do
    with {:ok, quota} <- read_integer(read, "cpu.cfs_quota_us"),
         {:ok, period} <- read_integer(read, "cpu.cfs_period_us"),
         do: {:ok, if(quota < 0, do: :max, else: {quota, period})}
  end

  def from_files(:memory_max, :v1, read), do: read_bytes(read, "memory.limit_in_bytes")

  def from_files(:memory_swap_max, :v1, read) do
    case read_bytes(read, "memory.memsw.limit_in_bytes") do
      {:ok, :max} ->
        {:ok, :max}

      {:ok, both} ->
        case read_bytes(read, "memory.limit_in_bytes") do
          {:ok, memory} when is_integer(memory) and memory <= both -> {:ok, both - memory}
          _no_limit -> :error
        end

      :error ->
        :error
    end
  end

  def from_files(:io_weight, :v1, read) do
    with :error <- read_integer(read, "blkio.bfq.weight"),
         :error <- read_integer(read, "blkio.weight") do
      :error
    else
      {:ok, weight} when weight <= 100 -> {:ok, max(weight, 1)}
      {:ok, weight} -> {:ok, min(10_000, 100 + (weight - 100) * 11)}
    end
  end

  def from_files(:io_max, :v1, read) do
    limits =
      for {name, file} <- @throttles,
          {:ok, text} <- [read(read, file)],
          line <- String.split(text, "\n", trim: true),
          [device, limit] <- [String.split(line)] do
        {device, "#{name}=#{if limit == "0", do: "max", else: limit}"}
      end

    lines =
      for {device, _limit} <- Enum.uniq_by(limits, &elem(&1, 0)) do
        Enum.join([device | for({^device, limit} <- limits, do: limit)], " ")
      end

    decode(:io_max, Enum.join(lines, "\n"))
  end

  def from_files(key, :v1, read) do
    with {_controller, [file]} <- Keys.files(key, :v1),
         {:ok, text} <- read(read, file) do
      decode(Keys.type(key), text)
    else
      _nothing -> :error
    end
  end

  defp encode(true), do: "1"
  defp encode(false), do: "0"
  # The kernel keeps the period it has.
  defp encode(:max), do: "max"
  defp encode({quota, period}), do: "#{quota} #{period}"
  defp encode(number) when is_integer(number), do: Integer.to_string(number)
  defp encode(text) when is_binary(text), do: text

  defp decode({:integer, range}, text) do
    # io.weight may have a line for each device.
    text = text |> String.split("\n") |> hd() |> String.replace_prefix("default ", "")

    case text |> String.trim() |> Integer.parse() do
      {number, ""} -> if number in range, do: {:ok, number}, else: :error
      _other -> :error
    end
  end

  defp decode(:boolean, text) do
    case String.trim(text) do
      "0" -> {:ok, false}
      "1" -> {:ok, true}
      _other -> :error
    end
  end

  defp decode(:bytes, text) do
    case Bytes.parse(text) do
      {:ok, :max} -> {:ok, 0x7FFF_FFFF_FFFF_FFFF}
      other -> other
    end
  end

  defp decode(type, text) when type in [:bytes_or_max, :count_or_max], do: Bytes.parse(text)

  defp decode(:cpu_max, text) do
    case String.split(text) do
      ["max" | _period] -> {:ok, :max}
      [quota] -> decode(:cpu_max, "#{quota} 100000")
      [quota, period] -> cpu_max(Integer.parse(quota), Integer.parse(period))
      _other -> :error
    end
  end

  defp decode(type, text) when type in [:string, :io_max] do
    case String.trim(text) do
      "" -> :error
      text -> {:ok, text}
    end
  end

  defp cpu_max({quota, ""}, {period, ""}) when quota > 0 and period > 0,
    do: {:ok, {quota, period}}

  defp cpu_max(_quota, _period), do: :error

  defp v1_bytes(:max), do: "-1"
  defp v1_bytes(bytes), do: Integer.to_string(bytes)

  defp bfq_weight(weight) when weight <= 100, do: weight
  defp bfq_weight(weight), do: 100 + div(weight - 100, 11)

  for {name, file} <- @throttles do
    defp throttle(unquote(name)), do: unquote(file)
  end

  defp read(read, file) do
    case read.(file) do
      {:ok, text} -> {:ok, text}
      _missing -> :error
    end
  end

  defp read_integer(read, file) do
    with {:ok, text} <- read(read, file) do
      text = text |> String.trim() |> String.replace_prefix("default ", "")

      case Integer.parse(text) do
        {number, rest} when rest == "" or binary_part(rest, 0, 1) == "\n" -> {:ok, number}
        _other -> :error
      end
    end
  end

  defp read_bytes(read, file) do
    with {:ok, text} <- read(read, file), do: Bytes.parse(text)
  end
end
