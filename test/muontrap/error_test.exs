# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ErrorTest do
  use ExUnit.Case, async: true

  alias MuonTrap.Error

  doctest Error

  @failure_rs Path.expand("../../native/muontrap_core/src/failure.rs", __DIR__)

  defp message(fields), do: fields |> Error.exception() |> Exception.message()

  test "says which step failed, on what, and why" do
    assert message(step: :exec, subject: "/bin/x", reason: :eacces) =~
             ~S'cannot execute "/bin/x": permission denied (eacces)'

    assert message(step: :cgroup_write, subject: "memory.max", reason: :einval) ==
             ~S'cannot write the cgroup setting "memory.max": invalid argument (einval)'

    assert message(step: :setuid, subject: "bob", reason: :unknown_user) =~
             ~S'cannot change to user "bob": no such user (unknown_user); getent passwd'
  end

  test "reads well without a subject" do
    assert message(step: :fork, reason: :enomem) ==
             "cannot fork a process: not enough memory (enomem)"
  end

  test "says what mends it, and prefers the hint that comes with the error" do
    assert message(step: :setuid, subject: "bob", reason: :eperm) ==
             ~S'cannot change to user "bob": operation not permitted (eperm); ' <>
               "changing the user needs CAP_SETUID"

    assert message(step: :setuid, subject: "bob", reason: :eperm, hint: "use sudo") =~
             ~r/; use sudo$/
  end

  test "has words for steps and reasons that it does not know, and for odd bytes" do
    assert message(step: :teleport, subject: <<0xFF>>, reason: :eodd) ==
             "cannot do the step teleport for <<255>>: failed (eodd)"
  end

  test "puts the subject where it belongs" do
    assert message(step: :start_timeout, subject: "web", reason: :timeout) =~
             ~S'cannot wait longer for "web" to become ready: it took too long (timeout); '

    assert message(step: :shim, reason: :died) =~ "cannot supervise the program: the helper died"
  end

  test "says where arguments go to whoever writes them into the command" do
    assert message(step: :lookup, subject: "ls -l", reason: :enoent) =~
             ~S'; arguments go into a list: MuonTrap.cmd("ls", ["-l"]), and '
  end

  test "knows every step of the native parts" do
    steps = Regex.scan(~r/^    [A-Z]\w+ = "(\w+)",$/m, File.read!(@failure_rs), capture: [1])
    assert length(steps) > 20

    for [step] <- steps do
      refute message(step: String.to_atom(step), reason: :eio) =~ "do the step"
      assert String.to_existing_atom(step) in MuonTrap.Error.Steps.all()
    end
  end

  test "knows every reason of the native parts" do
    [_all, reasons] = Regex.run(~r/pub enum Reason \{(.*?)\n\}/s, File.read!(@failure_rs))
    reasons = Regex.scan(~r/^    ([A-Z]\w+),$/m, reasons, capture: [1])
    assert length(reasons) > 5

    for [reason] <- reasons do
      reason = reason |> Macro.underscore() |> String.to_atom()
      refute message(step: :exec, reason: reason) =~ "failed ("
    end
  end
end
