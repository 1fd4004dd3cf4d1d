# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor.Rights do
  @moduledoc false
  # The checks of what this user may do, and how much: pure functions of `MuonTrap.Doctor.Facts`.

  import Bitwise
  import MuonTrap.Doctor.Finding

  # What a command takes in the VM at the most: control socket, pidfd, three streams.
  @descriptors_per_command 5
  # Fewer commands than this at once are worth a word.
  @few 100

  # Numbers of linux/capability.h, with what is refused without them.
  @capabilities [
    {7, "CAP_SETUID", "uid:"},
    {6, "CAP_SETGID", "gid: and groups:"},
    {5, "CAP_KILL", "ending programs of other users"},
    {23, "CAP_SYS_NICE", "a lower nice:"},
    {24, "CAP_SYS_RESOURCE", "higher hard limits in rlimits:, a lower oom_score_adj:"}
  ]

  def user(%{status: %{"Uid" => uids, "Gid" => gids}} = facts) do
    [uid, effective | _saved] = String.split(uids)
    [gid | _others] = String.split(gids)
    gains = if facts.status["NoNewPrivs"] == "1", do: ", with no_new_privs", else: ""
    also = if uid == effective, do: "", else: " (effective #{effective})"
    ok("uid #{uid}#{also}, gid #{gid}#{gains}")
  end

  def user(_facts), do: unknown("not told without /proc")

  def capabilities(%{status: %{"CapEff" => hex}}) do
    mask = String.to_integer(hex, 16)
    lacking = for {bit, _, _} = one <- @capabilities, (mask >>> bit &&& 1) == 0, do: one

    case lacking do
      [] ->
        ok("all that options need")

      _some ->
        names = Enum.map_join(lacking, ", ", &elem(&1, 1))

        degraded(
          "without #{names}",
          "refused: " <> Enum.map_join(lacking, "; ", &elem(&1, 2)),
          mend: "give the VM these, if those are needed: " <> grant(lacking)
        )
    end
  end

  def capabilities(_facts), do: unknown("not told without /proc")

  defp grant(lacking) do
    names = for {_bit, name, _what} <- lacking, do: name

    "in a systemd service AmbientCapabilities=#{Enum.join(names, " ")}, in Docker " <>
      Enum.map_join(names, " ", &"--cap-add #{String.replace_prefix(&1, "CAP_", "")}")
  end

  def open_files(%{limits: %{"Max open files" => :infinity}}), do: ok("no limit")

  def open_files(%{limits: %{"Max open files" => limit}, descriptors: open}) when open != nil do
    commands = div(max(limit - open, 0), @descriptors_per_command)
    found = "#{open} open of #{limit}, which leaves room for about #{commands} commands at once"

    mend =
      "raise the limit where the VM starts: ulimit -n 65536, or in a systemd service LimitNOFILE=65536"

    cond do
      commands == 0 -> missing(found, "no command can start (emfile)", mend: mend)
      commands < @few -> degraded(found, "more commands than that fail (emfile)", mend: mend)
      true -> ok(found)
    end
  end

  def open_files(_facts), do: unknown("not told without /proc")

  def processes(%{limits: %{"Max processes" => limit}, threads: threads} = facts)
      when threads != nil do
    # Root of the machine is exempt, see RLIMIT_NPROC in getrlimit(2).
    exempt? = match?(["0" | _more], String.split(facts.status["Uid"] || ""))
    own = if limit == :infinity or exempt?, do: [], else: [{"RLIMIT_NPROC", threads, limit}]

    case Enum.min_by(own ++ facts.pids, fn {_name, now, limit} -> limit - now end, fn -> nil end) do
      nil -> ok("no limit")
      tightest -> room(tightest)
    end
  end

  def processes(_facts), do: unknown("not told without /proc")

  # A command is two processes, and there are the VM's own threads.
  defp room({name, now, limit}) do
    found = "#{now} of #{limit} (#{name})"

    mend =
      if name == "RLIMIT_NPROC",
        do: "raise it where the VM starts: ulimit -u, or in a systemd service LimitNPROC=",
        else: "raise #{name}/pids.max, in a systemd service TasksMax=, in Docker --pids-limit"

    cond do
      limit - now < 2 ->
        missing(found, "no command can start (eagain)", mend: mend)

      limit - now < 2 * @few ->
        degraded(found, "more commands than that fail (eagain)", mend: mend)

      true ->
        ok(found)
    end
  end
end
