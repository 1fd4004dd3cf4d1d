# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor.Facts do
  @moduledoc false
  # What the checks judge: read once, and nothing is changed by it but that one harmless command is run.
  #
  # `/proc` is read here and not by the native library, because that may be what is missing.

  alias MuonTrap.{Defaults, Native, Nif}

  @type t :: %{
          otp: String.t(),
          elixir: String.t(),
          system: {atom(), atom()},
          kernel: tuple(),
          architecture: String.t(),
          library: :ok | {:error, String.t()},
          folder: {:ok, Path.t()} | {:error, String.t()},
          helpers: [helper()],
          trial: :ok | {:error, String.t()} | :impossible,
          probe: %{pidfd: atom(), subreaper: atom()} | nil,
          layout: {:ok, map()} | {:error, atom()} | nil,
          status: %{String.t() => String.t()},
          limits: %{String.t() => non_neg_integer() | :infinity},
          own_pid: String.t(),
          children_listed: boolean(),
          descriptors: non_neg_integer() | nil,
          threads: non_neg_integer() | nil,
          pids: [{Path.t(), non_neg_integer(), non_neg_integer()}],
          container: [String.t()]
        }

  @typedoc "A program in the folder: whether its file is for the machine of the VM, and what became of running it."
  @type helper :: %{
          name: String.t(),
          path: Path.t(),
          machine: :same | :other | :unknown | {:error, File.posix()},
          ran: :ok | {:error, String.t()}
        }

  # Each with arguments that have it do nothing, and the status of that.
  @helpers [{"muontrap_spawner", [], 2}, {"muontrap", ["--version"], 0}]

  @doc "Reads all of it. Takes some hundredths of a second."
  @spec gather() :: t()
  def gather do
    folder = folder()
    library = library()
    layout = if library == :ok, do: Nif.cgroup_layout()
    status = fields("/proc/self/status")

    %{
      otp: System.otp_release(),
      elixir: System.version(),
      system: :os.type(),
      kernel: :os.version(),
      architecture: to_string(:erlang.system_info(:system_architecture)),
      library: library,
      folder: folder,
      helpers: helpers(folder),
      trial: trial(library, folder),
      probe: if(library == :ok, do: Nif.probe()),
      layout: layout,
      status: status,
      limits: limits(),
      own_pid: System.pid(),
      children_listed: File.exists?("/proc/self/task/#{status["Pid"]}/children"),
      descriptors: count("/proc/self/fd"),
      threads: threads(status["Uid"]),
      pids: pids(layout),
      container: container()
    }
  end

  defp folder do
    Defaults.priv_dir()
  rescue
    # What the configuration says.
    error -> {:error, Exception.message(error)}
  end

  defp library do
    Native.ensure_loaded!()
  rescue
    error -> {:error, Exception.message(error)}
  end

  defp helpers({:error, _text}), do: []

  defp helpers({:ok, folder}) do
    for {name, args, status} <- @helpers do
      path = path(name, folder)
      %{name: name, path: path, machine: machine(path), ran: ran(path, args, status)}
    end
  end

  defp path("muontrap_spawner", folder), do: Defaults.spawner_path(folder)
  defp path(name, folder), do: Path.join(folder, name)

  # By class, byte order and machine of the ELF header, see elf(5).
  defp machine(path) do
    case {header(path), header("/proc/self/exe")} do
      {{:ok, same}, {:ok, same}} -> :same
      {{:ok, _one}, {:ok, _other}} -> :other
      {{:error, reason}, _vm} -> {:error, reason}
      {_helper, {:error, _no_proc}} -> :unknown
    end
  end

  defp header(path) do
    with {:ok, file} <- :file.open(path, [:read, :raw, :binary]) do
      read = :file.read(file, 20)
      _ = :file.close(file)

      case read do
        {:ok, <<0x7F, "ELF", class, order, _rest::binary-size(12), machine::binary-size(2)>>} ->
          {:ok, {class, order, machine}}

        _other ->
          {:ok, :no_program}
      end
    end
  end

  # Not by this library, which may not be able to.
  defp ran(path, args, status) do
    case System.cmd(path, args, stderr_to_stdout: true, cd: "/") do
      {_text, ^status} -> :ok
      {text, other} -> {:error, "status #{other}, #{inspect(String.slice(text, 0, 200))}"}
    end
  rescue
    error in ErlangError -> {:error, to_string(:file.format_error(error.original))}
  end

  defp trial(:ok, {:ok, folder}) do
    case MuonTrap.run(Path.join(folder, "muontrap"), ["--version"], timeout: 10_000) do
      %{status: {:exited, 0}} -> :ok
      %{status: status} -> {:error, "a command ended with #{inspect(status)}"}
    end
  rescue
    error in MuonTrap.Error -> {:error, Exception.message(error)}
    error in ErlangError -> {:error, inspect(error.original)}
  end

  defp trial(_library, _folder), do: :impossible

  defp fields(path) do
    for line <- lines(path), [name, value] <- [String.split(line, ":", parts: 2)], into: %{} do
      {name, String.trim(value)}
    end
  end

  # "Max open files            1024                 524288               files": the soft limit.
  defp limits do
    for line <- lines("/proc/self/limits"),
        [_all, name, soft] <- [Regex.run(~r/^(Max .+?)\s{2,}(\S+)/, line)],
        limit = limit(soft),
        limit != nil,
        into: %{},
        do: {name, limit}
  end

  defp limit("unlimited"), do: :infinity

  defp limit(text) do
    case Integer.parse(text) do
      {number, ""} -> number
      _heading -> nil
    end
  end

  defp lines(path) do
    case File.read(path) do
      {:ok, text} -> String.split(text, "\n", trim: true)
      {:error, _no_proc} -> []
    end
  end

  defp count(folder) do
    case File.ls(folder) do
      {:ok, names} -> length(names)
      {:error, _no_proc} -> nil
    end
  end

  # Those of all processes of this user, which is what RLIMIT_NPROC is about.
  defp threads(nil), do: nil

  defp threads(uids) do
    uid = uids |> String.split() |> hd() |> String.to_integer()

    for name <- File.ls!("/proc"),
        match?({_pid, ""}, Integer.parse(name)),
        {:ok, %{uid: ^uid}} <- [File.stat("/proc/#{name}")],
        reduce: 0,
        do: (sum -> sum + (count("/proc/#{name}/task") || 0))
  end

  # `{group, processes, limit}` of the VM's group and those above it that have a limit.
  defp pids({:ok, layout}) do
    for hierarchy <- [layout.v2 | layout.v1],
        hierarchy != nil and hierarchy.own != nil,
        group <- upwards(hierarchy.mount, hierarchy.own),
        {:ok, limit} <- [number(group, "pids.max")],
        {:ok, current} <- [number(group, "pids.current")],
        do: {group, current, limit}
  end

  defp pids(_no_layout), do: []

  defp upwards(mount, own) do
    parts = own |> Path.relative() |> Path.split() |> Enum.reject(&(&1 in [".", ""]))
    for depth <- length(parts)..0//-1, do: Path.join([mount | Enum.take(parts, depth)])
  end

  defp number(group, file) do
    with {:ok, text} <- File.read(Path.join(group, file)),
         {number, _newline} <- Integer.parse(text),
         do: {:ok, number}
  end

  # What tells of a container. None of it is certain.
  defp container do
    marks = for path <- ["/.dockerenv", "/run/.containerenv"], File.exists?(path), do: path
    kubernetes = if System.get_env("KUBERNETES_SERVICE_HOST"), do: ["Kubernetes"], else: []

    users =
      case lines("/proc/self/uid_map") do
        [map] -> if String.split(map) == ["0", "0", "4294967295"], do: [], else: [:users]
        _none_or_several -> [:users]
      end

    first = if System.pid() == "1", do: ["the VM is process 1"], else: []
    marks ++ kubernetes ++ Enum.map(users, fn :users -> "a user namespace" end) ++ first
  end
end
