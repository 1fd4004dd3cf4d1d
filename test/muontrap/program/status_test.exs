# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Program.StatusTest do
  @moduledoc """
  What the program `muontrap` says and ends with.
  """

  use ExUnit.Case, async: false
  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Ports, Trees}

  # A port keeps standard input open.
  defp run(args), do: Ports.collect(Ports.open(args, [:stderr_to_stdout]))

  test "the status is the program's" do
    for code <- [0, 1, 42, 124, 125, 255] do
      assert {"", ^code} = run(["--", "sh", "-c", "exit #{code}"])
    end

    for {signal, number} <- [{"TERM", 15}, {"KILL", 9}, {"SEGV", 11}] do
      status = 128 + number
      assert {"", ^status} = run(["--", "sh", "-c", "kill -#{signal} $$"])
    end
  end

  test "what cannot be run has the status that a shell gives it" do
    assert {text, 127} = run(["--", "no-such-program"])
    assert text =~ ~r/^muontrap: cannot find in PATH "no-such-program".*check PATH\n$/
    assert {text, 127} = run(["--", "/no/such/program"])
    assert text =~ "cannot execute \"/no/such/program\": No such file"
    assert {text, 126} = run(["--", "/etc/passwd"])
    assert text =~ "Permission denied; check the execute permission"
    assert {_text, 126} = run(["--", "/"])
  end

  test "a name with a slash is taken from where muontrap was started" do
    folder = Path.join(System.tmp_dir!(), Trees.token())
    File.mkdir_p!(folder)
    on_exit(fn -> File.rm_rf!(folder) end)
    File.write!(Path.join(folder, "here"), "#!/bin/sh\npwd\n")
    File.chmod!(Path.join(folder, "here"), 0o755)
    args = ["--capture-output", "--", "./here"]
    assert {output, 0} = Ports.collect(Ports.open(args, cd: folder))
    assert output == folder <> "\n"
  end

  test "a mistake is told in one line, with what to write instead" do
    for {args, expected} <- [
          {[], "no program to run: write muontrap [OPTION...] -- PROGRAM [ARG...]"},
          {["--capture-ouput", "--", "true"], "did you mean --capture-output?"},
          {["-k", "soon", "--", "true"], "expects milliseconds, got \"soon\""},
          {["--set", "a=b", "--", "true"], "write --controller memory --set a=b"},
          {["--cgroup", "pids_max=1", "--", "true"], "write --group PATH"},
          {["--uid", "no such user", "--", "true"], "no such user in /etc/passwd"},
          {["--uid", "root", "--", "true"], "nothing is run as root by naming it"}
        ] do
      assert {text, 125} = run(args), inspect(args)
      assert text =~ expected
      assert ["muontrap: " <> _what, ""] = String.split(text, "\n")
    end
  end

  test "--help says all on standard output" do
    for flag <- ["-h", "--help"] do
      assert {text, 0} = System.cmd(MuonTrap.muontrap_path(), [flag])
      assert text =~ "EXIT STATUS"
    end
  end

  test "neither environment nor arguments are in what it says" do
    opts = [:stderr_to_stdout, env: [{~c"MUONTRAP_SECRET", ~c"s3cret"}]]
    port = Ports.open(["--", "/etc/passwd", "s3cret"], opts)
    assert {text, 126} = Ports.collect(port)
    refute text =~ "s3cret"
  end

  test "the program has an own session, the environment, and no descriptor above 2" do
    script = "echo $A; ls /proc/self/fd | tr '\\n' ' '; ps -o sid= -p $$ | tr -d ' '; echo $$"
    opts = [env: [{~c"A", ~c"b"}]]
    port = Ports.open(["--capture-output", "--", "sh", "-c", script], opts)
    assert {output, 0} = Ports.collect(port)
    # Descriptor 3 is that of ls.
    assert ["b", "0 1 2 3 " <> session, pid, ""] = String.split(output, "\n")
    assert session == pid
  end

  test "limits and users reach the program" do
    script = "ulimit -n; grep NoNewPrivs /proc/self/status"

    args = [
      "--capture-output",
      "--rlimit",
      "nofile=77",
      "--no-new-privs",
      "--",
      "sh",
      "-c",
      script
    ]

    assert {"77\nNoNewPrivs:\t1\n", 0} = run(args)

    if Cgroups.root?() or Cgroups.announce("root is needed to change the user") do
      id = ["--capture-output", "--uid", "65534", "--gid", "65533", "--groups", "7,8"]
      script = "id -u; id -g; id -G; echo by-name >/dev/stdout"
      assert {output, 0} = run(id ++ ["--", "sh", "-c", script])
      assert output == "65534\n65533\n65533 7 8\nby-name\n"
    end
  end
end
