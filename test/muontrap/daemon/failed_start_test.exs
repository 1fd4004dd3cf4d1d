# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.FailedStartTest do
  use MuonTrap.Case

  import ExUnit.CaptureLog
  import MuonTrap.Daemons

  alias MuonTrap.{Daemon, Error}

  setup :trap_exits

  describe "a failed start" do
    test "returns the error, without a crash report" do
      log =
        capture_log(fn ->
          assert {:error, %Error{step: :lookup, subject: "no-such-program", reason: :enoent}} =
                   Daemon.start_link("no-such-program", [])

          assert {:error, %Error{step: :exec, reason: :eacces}} =
                   Daemon.start_link("/etc/passwd", [])

          assert {:error, %Error{step: :chdir, subject: "/no/such", reason: :enoent}} =
                   Daemon.start_link("true", [], cd: "/no/such")

          assert {:error, %Error{reason: :unknown_user}} =
                   Daemon.start_link("true", [], uid: "no-such-user")
        end)

      assert log == ""
    end

    # Nobody waited for the end of the program.
    test "by what an input raises leaves nothing" do
      input = Stream.map([1], fn _ -> raise "broken" end)
      script = "trap '' TERM; while :; do sleep 0.1; done"
      opts = [ready: {:output, ~r/never/}, input: input, delay_to_sigkill: 300]
      assert {:error, {%RuntimeError{}, _}} = Daemon.start_link("sh", ["-c", script], opts)
      assert MuonTrap.list() == []
    end

    test "raises for options that make no sense" do
      assert_raise ArgumentError, fn -> Daemon.start_link("true", [], no_such_option: 1) end
    end
  end
end
