# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DevStreamsTest do
  @moduledoc "A program under another user may open its streams by name, as servers do with `/dev/stderr`."

  use ExUnit.Case

  alias MuonTrap.{Cgroups, OtherVM}

  @identities [
    [],
    [uid: 4321],
    [uid: 4321, gid: 1234, groups: []],
    [gid: 1234],
    [groups: [77]]
  ]

  @script """
  echo out > /dev/stdout && echo number > /proc/self/fd/1 && echo err > /dev/stderr && cat < /dev/stdin
  """

  for {opts, expected} <- [
        {[capture_stderr: true], {"out\nnumber\nin", "err\n"}},
        {[stderr_to_stdout: true], {"out\nnumber\nerr\nin", nil}}
      ] do
    @tag opts: opts, expected: expected
    test "pipes can be opened, with #{inspect(opts)}", %{opts: opts, expected: expected} do
      if Cgroups.root?() or Cgroups.announce("root is needed to change the user") do
        for identity <- @identities do
          opts = [input: "in", cd: "/"] ++ identity ++ opts
          result = MuonTrap.run("sh", ["-c", @script], opts)

          assert {result.status, result.output, result.stderr} ==
                   {{:exited, 0}, elem(expected, 0), elem(expected, 1)}
        end
      end
    end
  end

  @identities_in_pipelines [[], [uid: 4321], [uid: 1234], [gid: 1234]]
  @pipelines ~S"""
  for writer <- all, reader <- all do
    write = {"sh", ["-c", "echo out > /dev/stdout"], [cd: "/"] ++ writer}
    {command, args, opts} = read = {"sh", ["-c", "cat < /dev/stdin > /dev/stdout"], [cd: "/"] ++ reader}
    %{output: "out\n", status: {:exited, 0}} = MuonTrap.pipeline([write, read])
    {first, first_args, first_opts} = write
    stream = MuonTrap.stream!(first, first_args, first_opts)
    "out\n" = stream |> MuonTrap.pipe!(command, args, opts) |> Enum.join()
  end
  """

  test "a pipe between the programs of two users can be opened by both" do
    if Cgroups.root?() or Cgroups.announce("root is needed to change the user") do
      Code.eval_string(@pipelines, all: @identities_in_pipelines)
      # Nor does root get at what is another user's without this.
      wrapper = OtherVM.without(["dac_override", "dac_read_search"])
      code = "all = #{inspect(@identities_in_pipelines)}\n" <> @pipelines

      if OtherVM.possible?(wrapper),
        do: assert({"", 0} = OtherVM.run(OtherVM.directory(), wrapper, code))
    end
  end

  test "the standard input of a Daemon can be opened, and /dev/null" do
    if Cgroups.root?() or Cgroups.announce("root is needed to change the user") do
      me = self()
      script = "read line < /dev/stdin; echo $line > /dev/stdout; exec sleep 1000"
      opts = [uid: 4321, cd: "/", stdin: :pipe, logger_fun: &send(me, {:line, &1})]
      {:ok, daemon} = MuonTrap.Daemon.start_link("sh", ["-c", script], opts)
      :ok = MuonTrap.Daemon.write(daemon, "word\n")
      assert_receive {:line, "word" <> _}, 60_000
      GenServer.stop(daemon)
      assert {"", 0} = MuonTrap.cmd("sh", ["-c", "cat < /dev/stdin"], uid: 4321, cd: "/")
    end
  end

  test "a VM that may change the user but not owners opens them to the program all the same" do
    powers = ["--inh-caps=+setuid,+setgid", "--ambient-caps=+setuid,+setgid"]
    wrapper = OtherVM.as_user(powers)

    if OtherVM.possible?(wrapper) do
      code = ~S"""
      [script | all] = System.argv()

      for identity <- all do
        {identity, []} = Code.eval_string(identity)
        opts = [input: "in", stderr_to_stdout: true] ++ identity
        {"out\nnumber\nerr\nin", 0} = MuonTrap.cmd("sh", ["-c", script], opts)
      end

      IO.puts("over")
      """

      args = [@script | Enum.map([[uid: OtherVM.uid()] | @identities], &inspect/1)]
      assert {"over\n", 0} = OtherVM.run(OtherVM.directory(), wrapper, code, args)
    end
  end

  test "the VM's own streams stay as they are, and are used but not opened" do
    if Cgroups.root?() or Cgroups.announce("root is needed to change the user") do
      code = ~S"""
      look = fn -> for fd <- 0..2, do: Map.take(File.stat!("/proc/self/fd/#{fd}"), [:uid, :gid, :mode]) end
      before = look.()
      {"", 0} = MuonTrap.cmd("sh", ["-c", "echo used >&2"], uid: 4321)
      {"", 0} = MuonTrap.cmd("sh", ["-c", "echo used"], uid: 4321, use_stdio: false)
      {"", 2} = MuonTrap.cmd("sh", ["-c", "exec 2>/dev/null; echo opened > /proc/self/fd/1"], uid: 4321, use_stdio: false)
      true = look.() == before
      """

      assert {"used\nused\n", 0} = OtherVM.run(OtherVM.directory(), [], code)
    end
  end
end
