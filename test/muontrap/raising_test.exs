# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.RaisingTest do
  @moduledoc "`cmd!/3`, `run!/3` and `shell/2`."

  use MuonTrap.Case

  import ExUnit.CaptureIO

  alias MuonTrap.{Error, ExitError, Result}

  test "cmd! returns the output, and run! the result" do
    assert MuonTrap.cmd!("echo", ["hello"]) == "hello\n"
    assert MuonTrap.cmd!("printf", [~S(a\nb)], lines: 1, into: []) == ["a", "b"]
    result = MuonTrap.run!("sh", ["-c", "echo out; echo err >&2"], capture_stderr: true)
    assert %Result{status: {:exited, 0}, output: "out\n", stderr: "err\n"} = result
  end

  test "a failure says how, and what the program said of it, which is shown as well" do
    for run <- [&MuonTrap.cmd!/3, &MuonTrap.run!/3] do
      {error, shown} =
        with_io(:stderr, fn ->
          assert_raise ExitError, fn -> run.("sh", ["-c", "echo bad >&2; exit 2"], []) end
        end)

      assert shown == "bad\n"

      assert Exception.message(error) ==
               "sh exited with status 2. The end of its standard error:\nbad"

      assert error.result.exit_status == 2
    end
  end

  test "what options take of standard error is not shown" do
    shown =
      capture_io(:stderr, fn ->
        for opts <- [
              [capture_stderr: true],
              [stderr_to_stdout: true],
              [capture_stderr_only: true]
            ] do
          error = catch_error(MuonTrap.run!("sh", ["-c", "echo bad >&2; exit 2"], opts))
          assert %ExitError{command: "sh"} = error
          assert error.stderr == if(opts[:capture_stderr], do: "bad\n", else: "")
        end
      end)

    assert shown == ""
  end

  test "standard error that is no text is a message all the same" do
    script = ~S(printf 'a\377b\n' >&2; exit 1)
    error = catch_error(MuonTrap.run!("sh", ["-c", script], capture_stderr: true))
    assert error.stderr == <<"a", 255, "b\n">>
    assert Exception.message(error) =~ "a\uFFFDb"
  end

  # UTF-8 came out as the latin1 that the process of standard error takes bytes for.
  test "what is shown of standard error are the bytes that the program wrote" do
    code = ~S{MuonTrap.cmd!("sh", ["-c", "printf '\\303\\251\\377' >&2"])}
    args = ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", code]
    # From OTP 28 on the VM's standard error takes characters alone.
    otp = String.to_integer(System.otp_release())
    shown = if otp < 28, do: <<"é", 255>>, else: "éÿ"
    assert {^shown, 0} = System.cmd("elixir", args, stderr_to_stdout: true)
  end

  test "errors of the start are those of cmd and run" do
    assert :enoent = catch_error(MuonTrap.cmd!("no_such_program", []))
    assert %Error{reason: :enoent} = catch_error(MuonTrap.run!("no_such_program", []))
    assert_raise ArgumentError, fn -> MuonTrap.run!("true", [], no_such_option: 1) end
  end

  test "a line of shell is run as System.shell does" do
    for line <- ["echo one; exit 3", "exit 0", "echo $((1 + 2)) | cat", "(echo a\n echo b)"] do
      assert MuonTrap.shell(line) == System.shell(line)
    end

    assert MuonTrap.shell("cat", close_stdin: true) == {"", 0}
    assert MuonTrap.shell("cat", %{input: "x"}) == {"x", 0}
  end
end
