# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Top.Sample do
  @moduledoc false
  # All commands and all processes at one moment, and what two moments say of a command.

  alias MuonTrap.Nif

  @type t :: %{
          at_us: integer(),
          commands: %{(pos_integer() | pid()) => map()},
          processes: %{pos_integer() => Nif.os_process()} | nil,
          children: %{pos_integer() => [pos_integer()]}
        }

  @type row :: %{
          command: map(),
          cpu_percent: float() | nil,
          memory_bytes: non_neg_integer() | nil,
          output_per_s: float(),
          tree: tree() | nil
        }

  @typedoc "A process with its children."
  @type tree :: {Nif.os_process(), [tree()]}

  @spec take() :: t()
  def take, do: of(MuonTrap.list(), Nif.processes(), System.monotonic_time(:microsecond))

  @doc "A sample of these commands and processes."
  @spec of([map()], [Nif.os_process()] | nil, integer()) :: t()
  def of(commands, processes, at_us) do
    %{
      at_us: at_us,
      commands: Map.new(commands, &{key(&1), &1}),
      processes: processes && Map.new(processes, &{elem(&1, 0), &1}),
      children: Enum.group_by(processes || [], &elem(&1, 1), &elem(&1, 0))
    }
  end

  # A Daemon that waits has no command.
  defp key(command), do: command.id || command.owner

  @doc "What is to be said of each command, given a sample before."
  @spec rows(t(), t()) :: [row()]
  def rows(now, before) do
    elapsed_us = max(now.at_us - before.at_us, 1)

    for {key, command} <- now.commands do
      shim = shim(now, command)
      tree = shim && tree(now, shim)

      %{
        command: command,
        cpu_percent: cpu(now, before, command, shim, elapsed_us),
        memory_bytes: memory(tree),
        output_per_s: output(command, before.commands[key], elapsed_us),
        tree: tree
      }
    end
  end

  # The parent of the program. A program that is the child of something else is not what it was taken for.
  defp shim(%{processes: processes}, %{os_pid: pid}) when processes != nil and pid != nil do
    case processes do
      %{^pid => {_pid, parent, _cpu, _memory, _name}} ->
        if is_map_key(processes, parent), do: parent

      _gone ->
        nil
    end
  end

  defp shim(_sample, _command), do: nil

  defp tree(sample, pid) do
    below = Map.get(sample.children, pid, [])
    {Map.fetch!(sample.processes, pid), for(child <- Enum.sort(below), do: tree(sample, child))}
  end

  # Of the shim and all below it. What one that has ended has used is with those that waited for it.
  defp cpu(now, before, command, shim, elapsed_us) do
    earlier = before.commands[key(command)]

    if shim != nil and earlier != nil and earlier.os_pid == command.os_pid and before.processes do
      used = used(tree(now, shim))
      past = if is_map_key(before.processes, shim), do: used(tree(before, shim)), else: used
      max(used - past, 0) * 100 / elapsed_us
    end
  end

  defp used({{_pid, _parent, cpu_us, _memory, _name}, children}),
    do: Enum.reduce(children, cpu_us, &(used(&1) + &2))

  defp memory(nil), do: nil
  defp memory({_shim, children}), do: Enum.reduce(children, 0, &(resident(&1) + &2))

  defp resident({{_pid, _parent, _cpu, bytes, _name}, children}),
    do: Enum.reduce(children, bytes, &(resident(&1) + &2))

  defp output(_command, nil, _elapsed_us), do: 0.0

  defp output(command, earlier, elapsed_us),
    do: (bytes(command) - bytes(earlier)) * 1_000_000 / elapsed_us

  defp bytes(command), do: command.stdout_bytes + command.stderr_bytes
end
