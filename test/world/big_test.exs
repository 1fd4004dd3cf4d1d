# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.World.BigTest do
  @moduledoc "A browser with its many processes, and another VM."

  use ExUnit.Case, async: true

  alias MuonTrap.World

  @moduletag :world
  @moduletag timeout: 600_000

  @quiet ~w(--disable-quic --no-first-run --disable-background-networking --disable-component-update
            --disable-sync --disable-gpu --disable-dev-shm-usage)

  for ending <- World.endings() do
    test "a headless browser: #{ending}" do
      if World.installed?("chromium"), do: World.ends(chromium(), unquote(ending))
    end

    test "a VM that its heart would start again: #{ending}" do
      if World.installed?("erl"), do: World.ends(erl(), unquote(ending))
    end
  end

  defp chromium do
    directory = World.directory()
    port = World.port()

    own = [
      "--headless",
      "--no-sandbox",
      "--user-data-dir=#{directory}",
      "--remote-debugging-port=#{port}"
    ]

    %{
      command: "chromium",
      args: own ++ @quiet ++ ["about:blank"],
      opts: [env: [{"HOME", directory}, {"TMPDIR", directory}], delay_to_sigkill: 10_000],
      use: fn -> (World.get(port, "/json/version") || "") =~ "Browser" end
    }
  end

  # Killed first, it would be started anew by its heart.
  defp erl do
    started = Path.join(World.directory(), "started")
    call = ~s[file:write_file("#{started}", ""\).]
    args = ["-noshell", "-heart", "-eval", call]

    %{
      command: "erl",
      args: args,
      opts: [env: [{"HEART_COMMAND", "erl #{Enum.join(args, " ")}"}], delay_to_sigkill: 10_000],
      use: fn -> File.exists?(started) end
    }
  end
end
