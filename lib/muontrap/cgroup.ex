# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Cgroup do
  @moduledoc """
  The control groups of a command: where they are created, and how to read and write them while the command runs.

  Before each start `MuonTrap` and `MuonTrap.Daemon` plan the groups. The native part creates them, sets their limits,
  runs the program inside, and at the end kills what is left in them and removes them. For a running program use the
  functions of `MuonTrap.Daemon`: `cgget/2`, `cgset/3`, `statistics/1`.

  ## Keys of the `:cgroup` option

  Give bytes as an integer, or as a string with a unit as the kernel reads it: `"64K"`, `"100M"`, `"2G"`. `K` is 1024.

  #{MuonTrap.Cgroup.Keys.docs()}
  """

  alias MuonTrap.Cgroup.{Bytes, Hint, Keys, Layout, Plan, Stats, Value}
  alias MuonTrap.{Error, Nif}

  @typedoc "The groups of a command, as planned before its start."
  @type plan :: map()

  # How long a base is left alone in which other VMs have groups.
  @sweep_ms 1_000
  @never_ms 0x7FFF_FFFF_FFFF_FFFF

  @doc false
  # Makes the plan for checked options; `nil` if they ask for no group.
  #
  # It reads the mounted hierarchies each time, because the VM may have been moved. The first plan with a base also removes
  # the groups there that dead VMs have left, which may block for seconds. Where other VMs have groups, later plans do so
  # too, at most once a second.
  #
  # ## Errors
  #
  # A `MuonTrap.Error` whose hint says how to mend this machine.
  @spec plan(map()) :: {:ok, Plan.t() | nil} | {:error, Error.t()}
  def plan(%{cgroup_base: nil, cgroup_path: nil}), do: {:ok, nil}

  def plan(options) do
    with {:ok, layout} <- layout(),
         name = Nif.cgroup_name(System.unique_integer([:positive])),
         {:ok, plan} <- Plan.make(options, layout, name, &usable?/2) do
      if plan.base, do: Enum.each(plan.groups, &sweep(Path.dirname(&1.path)))
      {:ok, plan}
    end
  end

  @doc false
  # Adds a hint to an error of the native part, if it is known how to mend it on this machine.
  @spec explain(Error.t()) :: Error.t()
  def explain(%Error{step: step} = error)
      when step in [:cgroup_create, :cgroup_enable, :cgroup_write, :cgroup_join] do
    case layout() do
      {:ok, layout} -> Hint.add(error, layout)
      {:error, _no_proc} -> error
    end
  end

  def explain(%Error{} = error), do: error

  # No group with more than this has too little for arguments and environment, which the kernel keeps below 6 MiB.
  @tight_bytes 16 * 1024 * 1024
  # What it takes in any case, see execve(2).
  @always_taken_bytes 128 * 1024
  # What is done outside the group: its limit has nothing to do with it.
  @outside [:fork, :pipe, :spawner, :shim, :cgroup_create, :cgroup_enable, :cgroup_write]

  @doc false
  # Names the group's memory limit if that kept the program from being executed.
  #
  # Any step after the group was entered may be the one that finds no memory. execve(2) says `e2big` then, as if there were
  # too many arguments; `bytes` is the size of arguments and environment.
  @spec explain(Error.t(), Plan.t() | nil, non_neg_integer()) :: Error.t()
  def explain(%Error{step: step, reason: reason} = error, %{settings: settings}, bytes)
      when ((reason == :enomem and step not in @outside) or {step, reason} == {:exec, :e2big}) and
             bytes < @always_taken_bytes do
    limits =
      for %{file: path, value: value} <- settings,
          file = Path.basename(path),
          file in ["memory.max", "memory.limit_in_bytes"],
          {:ok, limit} when is_integer(limit) and limit < @tight_bytes <- [
            Bytes.parse(value)
          ],
          do: {file, limit}

    case limits do
      [] ->
        error

      [{file, limit} | _more] ->
        hint = "#{file} is #{limit} bytes, and a program takes some megabytes: raise it"
        %{error | reason: :memory_limit, hint: hint}
    end
  end

  def explain(error, _plan, _bytes), do: error

  @doc false
  # Splits an absolute path inside of a mounted hierarchy into the mount point and the rest; `nil` for other paths.
  @spec below_mount(String.t()) :: {String.t(), String.t()} | nil
  def below_mount(path) do
    mounts =
      case layout() do
        {:ok, layout} ->
          for {_version, hierarchy} <- Layout.hierarchies(layout), do: hierarchy.mount

        {:error, _no_proc} ->
          []
      end

    # Where it is on other machines.
    ["/sys/fs/cgroup" | mounts]
    |> Enum.sort_by(&byte_size/1, :desc)
    |> Enum.find_value(fn mount ->
      if path == mount or String.starts_with?(path, mount <> "/"),
        do: {mount, path |> String.replace_prefix(mount, "") |> String.trim("/")}
    end)
  end

  @doc "Returns the path of the group, relative to its hierarchy, or `nil` if there is no group."
  @spec path(plan() | nil) :: String.t() | nil
  def path(nil), do: nil
  def path(%{path: path}), do: path

  @doc """
  Reads a file of the group, such as `"memory.max"`, as the kernel gives it.

  You can also use the file name of the other cgroup version, if the file has a counterpart there. Returns `{:error,
  :no_cgroup}` for a command without a group, and `{:error, :enoent}` for a file that the kernel does not have. The
  calling process reads the file.
  """
  @spec get(plan() | nil, String.t()) :: {:ok, String.t()} | {:error, File.posix() | :no_cgroup}
  def get(plan, file), do: get(plan, controller(file), file)

  @doc "Reads a file like `get/2`. The controller is a separate argument, as in MuonTrap 1.x."
  @spec get(plan() | nil, String.t(), String.t()) ::
          {:ok, String.t()} | {:error, File.posix() | :no_cgroup}
  def get(plan, controller, file) do
    with {:ok, group} <- group(plan, controller, file),
         {:error, :enoent} <- File.read(Path.join(group.path, file)) do
      translated_get(group, file)
    end
  end

  @doc """
  Writes a value, a string or an integer, to a file of the group. `get/2` says which names work, and which errors it
  returns for the others.

  Any other errno is the kernel's answer to the value, such as `{:error, :einval}`.
  """
  @spec set(plan() | nil, String.t(), String.t() | integer()) ::
          :ok | {:error, File.posix() | :no_cgroup}
  def set(plan, file, value), do: set(plan, controller(file), file, value)

  @doc "Writes a file like `set/3`. The controller is a separate argument, as in MuonTrap 1.x."
  @spec set(plan() | nil, String.t(), String.t(), String.t() | integer()) ::
          :ok | {:error, File.posix() | :no_cgroup}
  def set(plan, controller, file, value) do
    with {:ok, group} <- group(plan, controller, file),
         {:error, :enoent} <- write(Path.join(group.path, file), to_string(value)) do
      translated_set(group, file, to_string(value))
    end
  end

  @doc """
  Returns the settings of the group as a map for the option `:cgroup`. Settings that cannot be read are left out.
  """
  @spec config(plan() | nil) :: map()
  def config(nil), do: %{}

  def config(%{groups: groups}) do
    for key <- Keys.all(),
        {:ok, value} <- [Enum.find_value(groups, :error, &value(&1, key))],
        into: %{},
        do: {key, value}
  end

  @doc """
  Returns the kernel's statistics of the group. The keys are the same on cgroup v1 and v2:

    * `:memory_current`, `:memory_peak`, `:memory_swap_current` - bytes
    * `:memory_events` - a map of counts: `:max`, `:oom_kill`, …
    * `:cpu_stat` - a map: `:usage_usec`, `:nr_throttled`, `:throttled_usec`, …
    * `:pids_current`, `:pids_peak` - processes and threads
    * `:pids_events` - a map; `:max` is the number of refused forks
    * `:cpu_pressure`, `:memory_pressure`, `:io_pressure` - if the kernel has them

  If the group does not have a controller, its keys are missing.
  """
  @spec statistics(plan() | nil) :: map()
  def statistics(nil), do: %{}

  def statistics(%{groups: groups}) do
    groups
    |> Enum.map(&Stats.read(version(&1), reader(&1)))
    |> Enum.reduce(%{}, &Map.merge(&1, &2, fn _key, left, right -> merge(left, right) end))
  end

  defp merge(%{} = left, %{} = right), do: Map.merge(left, right)
  defp merge(_left, right), do: right

  defp layout do
    with {:error, reason} <- Nif.cgroup_layout(),
         do:
           {:error, %Error{step: :cgroup_create, subject: "/proc/self/mountinfo", reason: reason}}
  end

  # Whether this user can make a group there and enter it. In v2 that needs write access to the lowest
  # group that holds both the VM and the new group.
  defp usable?(hierarchy, path) do
    parts = Path.split(path)
    existing = deepest(hierarchy.mount, parts, &File.dir?/1)
    own = Path.split(hierarchy.own || "")
    shared = Enum.take_while(Enum.zip(own, parts), fn {left, right} -> left == right end)
    common = Path.join([hierarchy.mount | Enum.map(shared, &elem(&1, 0))])
    v2? = File.exists?(Path.join(hierarchy.mount, "cgroup.controllers"))

    writable?(existing) and (not v2? or writable?(Path.join(common, "cgroup.procs")))
  end

  defp deepest(directory, [part | parts], exists?) do
    below = Path.join(directory, part)
    if exists?.(below), do: deepest(below, parts, exists?), else: directory
  end

  defp deepest(directory, [], _exists?), do: directory

  defp writable?(path) do
    match?(
      {:ok, %File.Stat{access: access}} when access in [:write, :read_write],
      File.stat(path)
    )
  end

  # Once for each base, and again after a while as long as there are groups of other VMs, which may have died.
  defp sweep(base) do
    due = due(base)
    now = System.monotonic_time(:millisecond)

    if :atomics.get(due, 1) <= now do
      # Whoever comes meanwhile need not do the same.
      :atomics.put(due, 1, now + @sweep_ms)
      {_swept, others?} = Nif.cgroup_sweep(base)
      unless others?, do: :atomics.put(due, 1, @never_ms)
    end
  end

  # When it is to be swept.
  defp due(base) do
    key = {__MODULE__, :sweep, base}

    with nil <- :persistent_term.get(key, nil) do
      due = :atomics.new(1, signed: true)
      :atomics.put(due, 1, System.monotonic_time(:millisecond))
      :persistent_term.put(key, due)
      due
    end
  end

  defp controller(file), do: file |> String.split(".", parts: 2) |> hd()

  defp group(nil, _controller, _file), do: {:error, :no_cgroup}

  defp group(%{groups: groups}, controller, file) do
    if file in ["", ".", ".."] or String.contains?(file, ["/", <<0>>]) do
      {:error, :einval}
    else
      names = [controller | Map.get(%{"io" => ["blkio"], "blkio" => ["io"]}, controller, [])]
      has? = fn group -> Enum.any?(names, &(&1 in group.controllers)) end
      holds? = fn group -> File.exists?(Path.join(group.path, file)) end
      group = Enum.find(groups, &holds?.(&1)) || Enum.find(groups, &has?.(&1))
      if group, do: {:ok, group}, else: {:error, :enoent}
    end
  end

  defp version(%{version: :v1}), do: :v1
  defp version(%{version: {:v2, _enable}}), do: :v2

  defp other(:v1), do: :v2
  defp other(:v2), do: :v1

  defp reader(group), do: fn file -> File.read(Path.join(group.path, file)) end

  defp value(group, key) do
    with :error <- Value.from_files(key, version(group), reader(group)), do: nil
  end

  # Without a quota there is a period all the same, and no value that has it.
  defp translated_get(%{version: {:v2, _enable}} = group, "cpu.cfs_period_us") do
    with {:ok, text} <- File.read(Path.join(group.path, "cpu.max")),
         [_quota, period] <- String.split(text) do
      {:ok, period <> "\n"}
    else
      _missing -> {:error, :enoent}
    end
  end

  defp translated_get(group, file) do
    to = other(version(group))

    with key when key != nil <- Keys.of_file(file, to),
         {:ok, value} <- Value.from_files(key, version(group), reader(group)),
         {:ok, texts} <- Value.to_files(key, value, to, config(%{groups: [group]})),
         [_one | _more] = lines <- for({^file, text} <- texts, do: text <> "\n") do
      {:ok, Enum.join(lines)}
    else
      _untranslatable -> {:error, :enoent}
    end
  end

  defp translated_set(group, file, text) do
    from = other(version(group))
    current = config(%{groups: [group]})
    # The other half of a pair, such as the period of a quota, stays as it is.
    read = fn name -> if name == file, do: {:ok, text}, else: translated_get(group, name) end

    with key when key != nil <- Keys.of_file(file, from),
         {:value, {:ok, value}} <- {:value, Value.from_files(key, from, read)},
         {:ok, texts} <- Value.to_files(key, value, version(group), current) do
      Enum.reduce_while(texts, :ok, fn {name, text}, :ok ->
        case write(Path.join(group.path, name), text) do
          :ok -> {:cont, :ok}
          {:error, _posix} = error -> {:halt, error}
        end
      end)
    else
      {:value, :error} -> {:error, :einval}
      {:error, _no_counterpart} -> {:error, :enoent}
      nil -> {:error, :enoent}
    end
  end

  # Opening would ask the kernel to make a missing file, and it says EACCES then.
  defp write(path, text) do
    with {:exists, true} <- {:exists, File.exists?(path)},
         {:ok, file} <- :file.open(path, [:write, :raw, :binary]) do
      result = :file.write(file, text)
      _ = :file.close(file)
      result
    else
      {:exists, false} -> {:error, :enoent}
      {:error, _posix} = error -> error
    end
  end
end
