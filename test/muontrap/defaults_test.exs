# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DefaultsTest do
  # The application environment is one for all tests.
  use ExUnit.Case, async: false

  alias MuonTrap.Defaults

  setup do
    before = Application.get_all_env(:muontrap)

    on_exit(fn ->
      for {key, _value} <- Application.get_all_env(:muontrap),
          do: Application.delete_env(:muontrap, key)

      Application.put_all_env(muontrap: before)
    end)
  end

  test "has the documented defaults" do
    for key <- [:stdio_window, :delay_to_sigkill, :priv_dir, :spawner_path, :precompiled_url],
        do: Application.delete_env(:muontrap, key)

    assert Defaults.stdio_window() == 10_240
    assert Defaults.delay_to_sigkill() == 500
    assert :ok = Defaults.validate!()
  end

  test "reads the environment at run time" do
    Application.put_env(:muontrap, :stdio_window, 65_536)
    Application.put_env(:muontrap, :delay_to_sigkill, 0)
    Application.put_env(:muontrap, :spawner_path, "/opt/spawner")

    assert Defaults.stdio_window() == 65_536
    assert Defaults.delay_to_sigkill() == 0
    assert Defaults.spawner_path("/priv") == "/opt/spawner"
    Application.put_env(:muontrap, :priv_dir, "/opt/priv")
    assert Defaults.priv_dir() == {:ok, "/opt/priv"}

    options = MuonTrap.Options.validate!(:cmd, "true", [], [])
    assert options.stdio_window == 65_536
    assert options.delay_to_sigkill == 0
  end

  test "refuses a malformed value and says which" do
    for {key, value} <- [
          stdio_window: 0,
          stdio_window: "10",
          delay_to_sigkill: -1,
          delay_to_sigkill: 1.5,
          priv_dir: "relative",
          spawner_path: "relative",
          spawner_path: "/a\0b",
          precompiled_url: :release
        ] do
      Application.put_env(:muontrap, key, value)

      expected =
        ~r/#{inspect(key)} in the configuration .*, got: #{Regex.escape(inspect(value))}$/

      assert_raise ArgumentError, expected, fn -> Defaults.validate!() end
      # The last of them is for the compiler.
      args = if key == :spawner_path, do: ["/priv"], else: []

      if function_exported?(Defaults, key, length(args)),
        do: assert_raise(ArgumentError, expected, fn -> apply(Defaults, key, args) end)

      Application.delete_env(:muontrap, key)
    end
  end

  test "refuses an unknown key and says which are known" do
    Application.put_env(:muontrap, :stdio_windwo, 1)

    assert_raise ArgumentError, ~r/:stdio_windwo .*:stdio_window.*, got: 1$/, fn ->
      Defaults.validate!()
    end
  end
end
