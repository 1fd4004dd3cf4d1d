# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Doctor.Build do
  @moduledoc false
  # The checks of what was built and installed: pure functions of `MuonTrap.Doctor.Facts`.

  import MuonTrap.Doctor.Finding

  @oldest_otp 25
  @oldest_elixir "1.14.0"
  @build "build it on the machine it runs on: mix deps.compile muontrap --force"

  def otp(%{otp: release}) do
    if String.to_integer(release) >= @oldest_otp,
      do: ok(release),
      else: missing(release, "muontrap does not load", mend: "use OTP #{@oldest_otp} or later")
  end

  def elixir(%{elixir: version}) do
    if Version.compare(version, @oldest_elixir) != :lt,
      do: ok(version),
      else: missing(version, "muontrap does not compile", mend: "use Elixir 1.14 or later")
  end

  def library(%{library: :ok}), do: ok("loaded")

  def library(%{library: {:error, text}}),
    do: missing(text, "no command can start, nor can the application", mend: @build)

  def spawner(facts), do: helper(facts, "muontrap_spawner", &missing/3, "no command can start")

  def program(facts) do
    consequence = "muontrap in shell scripts and ports cannot be used; the library needs it not"
    helper(facts, "muontrap", &degraded/3, consequence)
  end

  defp helper(%{folder: {:error, text}}, _name, bad, consequence),
    do: bad.(text, consequence, mend: @build)

  defp helper(%{helpers: helpers} = facts, name, bad, consequence) do
    case Enum.find(helpers, &(&1.name == name)) do
      %{machine: {:error, reason}, path: path} ->
        bad.("#{path}: #{:file.format_error(reason)}", consequence, mend: @build)

      %{machine: :other, path: path} ->
        found = "#{path} is no program for #{facts.architecture}"
        bad.(found, consequence, mend: @build)

      %{ran: {:error, text}, path: path} ->
        bad.("#{path} does not run: #{text}", consequence, mend: mend(path, text))

      %{ran: :ok, path: path} ->
        ok(path)
    end
  end

  defp mend(path, text) do
    if text =~ "permission",
      do:
        "chmod +x #{path}; and if its file system is mounted with noexec, put the folder elsewhere and " <>
          "name it: config :muontrap, priv_dir:",
      else: @build
  end

  def trial(%{trial: :ok}), do: ok("a command ran, and nothing of it is left")

  def trial(%{trial: {:error, text}}) do
    missing(text, "commands do not work here",
      mend: "mend what the other lines say; if they say nothing, please report this"
    )
  end

  def trial(%{trial: :impossible}) do
    missing("not tried without the native library", "commands do not work here", mend: @build)
  end
end
