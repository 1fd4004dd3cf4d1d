# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.TakeOverTest do
  @moduledoc "A program cannot get hold of its helpers, nor speak in their names."

  use ExUnit.Case

  alias MuonTrap.{Cgroups, OtherVM}

  # Twice as short as a command that the VM is not told of at once, and twice longer.
  @code ~S"""
  [program] = System.argv()
  {said, 7} = MuonTrap.cmd(program, ["7"])
  {^said, 7} = MuonTrap.cmd("sh", ["-c", "sleep 0.1; exec " <> program <> " 7"])
  %{output: ^said, status: {:exited, 7}} = MuonTrap.run(program, ["7"])
  IO.puts(said)
  """

  defp attempts(directory, wrapper, code \\ @code) do
    program = OtherVM.program(directory, "take_over")
    assert {output, 0} = OtherVM.run(directory, wrapper, code, [program])
    output
  end

  test "a program of the VM's own user reaches neither shim nor spawner" do
    wrapper = OtherVM.as_user()

    if OtherVM.possible?(wrapper) do
      said = attempts(OtherVM.directory(), wrapper)
      lines = String.split(said, "\n", trim: true)
      assert length(lines) == 8
      for line <- lines, do: assert(line =~ ~r/ (EPERM: |Permission denied )/)
    end
  end

  # CAP_SYS_PTRACE reaches everything; see "What is not promised". The result is still the program's.
  test "a program that may trace everybody gets the sockets, and forges nothing" do
    if Cgroups.root?() do
      code = ~S"""
      [program] = System.argv()

      for _ <- 1..20, command <- ["", "sleep 0.01; "] do
        {said, 7} = MuonTrap.cmd("sh", ["-c", command <> "exec " <> program <> " 7"])
        true = said =~ "forged\nparent descriptors ok"
      end

      IO.puts("over")
      """

      assert attempts(OtherVM.directory(), [], code) == "over\n"
    end
  end

  describe "helpers that nobody may attach to" do
    @inspect ~S"""
    opts = fn score -> if score, do: [oom_score_adj: score], else: [] end
    own = File.read!("/proc/self/oom_score_adj") |> String.trim()

    for score <- [nil, 0, 500, 1000] do
      {output, 0} = MuonTrap.cmd(MuonTrap.Trees.program("inspect"), [], opts.(score))
      expected = if score, do: to_string(score), else: own
      true = output =~ "\noom_score_adj=#{expected}\n"
      [[_fd, "0"], [_, "1"], [_, "2"]] = Regex.scan(~r/^fd\.(\d+)=/m, output)
    end

    try do
      MuonTrap.cmd("true", [], oom_score_adj: -1000)
      IO.puts("lowered")
    rescue
      error in MuonTrap.Error -> IO.puts("#{error.step} #{error.reason}")
    end

    try do
      MuonTrap.cmd("/dev/null", [], oom_score_adj: 500)
    rescue
      error in ErlangError -> IO.puts("exec #{error.original}")
    end

    spawner = MuonTrap.Nif.spawner_pid()
    IO.puts("helper " <> File.read!("/proc/#{spawner}/oom_score_adj"))
    """

    test "still set the OOM score of programs" do
      wrapper = OtherVM.as_user()

      if OtherVM.possible?(wrapper) do
        own = File.read!("/proc/self/oom_score_adj")
        expected = "oom_score_adj eacces\nexec eacces\nhelper #{own}\n"
        assert {^expected, 0} = OtherVM.run(OtherVM.directory(), wrapper, @inspect)
      end
    end

    test "still give a program the OOM score of the VM where theirs is lower" do
      wrapper =
        OtherVM.as_user([
          "--inh-caps=+sys_resource",
          "--ambient-caps=+sys_resource"
        ])

      if OtherVM.possible?(wrapper) do
        expected = "lowered\nexec eacces\nhelper -900\n\n"
        assert {^expected, 0} = OtherVM.run(OtherVM.directory(), wrapper, @inspect)
      end
    end

    # With fs.suid_dumpable=1 a change of user lets others of that user attach; so the child has nothing then.
    test "start programs of another user where that makes a process reachable" do
      directory = OtherVM.directory()
      setting = Path.join(directory, "suid_dumpable")
      File.write!(setting, "1\n")
      mount = "mount --bind #{setting} /proc/sys/fs/suid_dumpable && exec \"$0\" \"$@\""
      wrapper = ["unshare", "--mount", "sh", "-c", mount]

      code = ~S"""
      opts = [uid: 4321, cd: "/tmp", input: "input", oom_score_adj: 500]
      {output, 0} = MuonTrap.cmd(MuonTrap.Trees.program("inspect"), [], opts)
      for line <- ["Uid=4321 4321 4321 4321", "cwd=/tmp", "oom_score_adj=500", "CapEff=0000000000000000"],
          do: true = output =~ "\n" <> line <> "\n"
      [[_fd, "0"], [_, "1"], [_, "2"]] = Regex.scan(~r/^fd\.(\d+)=/m, output)
      {"input", 0} = MuonTrap.cmd("cat", [], opts)

      for {program, opts} <- [{"/dev/null", []}, {"true", [cd: "/nowhere"]}, {"true", [rlimits: [nofile: 100]]}] do
        try do
          MuonTrap.cmd(program, [], [uid: 4321] ++ opts)
          IO.puts("runs")
        rescue
          error in MuonTrap.Error -> IO.puts("#{error.step} #{error.subject} #{error.reason}")
          error in ErlangError -> IO.puts("exec #{error.original}")
        end
      end
      """

      if Cgroups.root?() and OtherVM.possible?(wrapper) do
        assert {"exec eacces\nexec enoent\nruns\n", 0} = OtherVM.run(directory, wrapper, code)
      end
    end
  end
end
