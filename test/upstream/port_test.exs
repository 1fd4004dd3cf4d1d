# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Upstream.PortTest do
  @moduledoc """
  `MuonTrap.muontrap_path/0`, `MuonTrap.Port` and ports on the program, as code that was written against MuonTrap 1.x
  and 2.x uses them.
  """

  use ExUnit.Case, async: false
  use MuonTrap.Case

  alias MuonTrap.{Ports, Trees}

  doctest MuonTrap.Port

  describe "the program" do
    test "is an executable file below priv" do
      path = MuonTrap.muontrap_path()
      assert path == Application.app_dir(:muontrap, "priv/muontrap")
      assert path == MuonTrap.Port.muontrap_path()
      assert {"muontrap 1.9.0\n", 0} = System.cmd(path, ["--version"])
    end

    test "is found by the spelling of old code" do
      for path <- [MuonTrap.muontrap_path(), to_charlist(MuonTrap.muontrap_path())] do
        args = ["--capture-output", "--", "echo", "hello"]

        port =
          Port.open({:spawn_executable, path}, [:binary, :exit_status, :use_stdio, args: args])

        assert {"hello\n", 0} = Ports.collect(port)
      end
    end
  end

  describe "port_options" do
    defp args(options) do
      options = Map.merge(%{cmd: "/bin/echo", args: ["1"]}, Map.new(options))
      args = options |> MuonTrap.Port.port_options() |> Keyword.fetch!(:args)
      {own, ["--", "/bin/echo", "1"]} = Enum.split(args, -3)
      own
    end

    test "has what a port needs" do
      assert [:use_stdio, :exit_status, :binary, :hide, {:args, ["--", "true"]}] =
               MuonTrap.Port.port_options(%{cmd: "true", args: []})

      assert {:args, ["--capture-output", "--", "true"]} in MuonTrap.Port.port_options(
               %{cmd: "true", args: []},
               ["--capture-output"]
             )
    end

    test "turns each option into arguments of the program" do
      for {option, expected} <- [
            {{:cgroup_path, "a/b"}, ["--group", "a/b"]},
            {{:cgroup_controllers, ["cpu", "memory"]}, ~w(--controller cpu --controller memory)},
            {{:delay_to_sigkill, 123}, ["--delay-to-sigkill", "123"]},
            {{:stdio_window, 32}, ["--stdio-window", "32"]},
            {{:uid, 1234}, ["--uid", "1234"]},
            {{:uid, "bob"}, ["--uid", "bob"]},
            {{:gid, "bob"}, ["--gid", "bob"]},
            {{:groups, [10, "audio"]}, ["--groups", "10,audio"]},
            {{:groups, []}, ["--groups", ""]},
            {{:arg0, "name"}, ["--arg0", "name"]},
            {{:log_output, :debug}, ["--capture-output"]},
            {{:logger_fun, &Function.identity/1}, ["--capture-output"]},
            {{:stderr_to_stdout, true}, ["--capture-stderr"]},
            {{:stderr_to_stdout, false}, []},
            {{:capture_stderr_only, true}, ["--capture-stderr-only"]},
            {{:name, SomeServer}, []}
          ] do
        assert args([option]) == expected, inspect(option)
      end

      sets = [{"cpu", "cpu.max", "50000 100000"}, {"memory", "memory.max", "268435456"}]

      assert args(cgroup_sets: sets) ==
               ["--controller", "cpu", "--set", "cpu.max=50000 100000"] ++
                 ["--controller", "memory", "--set", "memory.max=268435456"]
    end

    test "leaves to the port what is the port's" do
      options =
        MuonTrap.Port.port_options(%{cmd: "true", args: [], cd: "/", env: [{~c"A", ~c"b"}]})

      assert options[:cd] == "/"
      assert options[:env] == [{~c"A", ~c"b"}]
    end

    test "runs" do
      options = %{
        cmd: "sh",
        args: ["-c", "pwd; echo $A; echo err >&2"],
        cd: "/",
        log_output: :info
      }

      options =
        Map.merge(options, %{stderr_to_stdout: true, env: [{~c"A", ~c"b"}], arg0: "muontrap"})

      path = {:spawn_executable, MuonTrap.muontrap_path()}

      assert {"/\nb\nerr\n", 0} =
               Ports.collect(Port.open(path, MuonTrap.Port.port_options(options)))
    end
  end

  describe "acknowledgements" do
    test "are a byte for each 256 bytes, and one for the rest" do
      for {count, bytes} <- [
            {1, <<0>>},
            {10, <<9>>},
            {256, <<255>>},
            {257, <<255, 0>>},
            {512, <<255, 255>>},
            {513, <<255, 255, 0>>}
          ] do
        assert IO.iodata_to_binary(MuonTrap.Port.encode_acks(count)) == bytes
      end
    end

    test "to a port that is closed are no error" do
      port = Ports.open(["--", "sleep", "1000"])
      Port.close(port)
      assert MuonTrap.Port.report_bytes_handled(port, 10) == :ok
    end

    test "that come after the end of a short program kill nobody" do
      # A write to a port whose program is gone would end this process, which is linked to it.
      for _ <- 1..200 do
        port = Ports.open(["--capture-output", "--", "echo", "hello"])
        assert {"hello\n", 0} = Ports.collect(port)
      end

      refute_received {_port, _event}
    end

    test "of what was never captured kill nobody either" do
      for args <- [
            ["--capture-output", "--", "sh", "-c", "echo err >&2"],
            ["--", "sh", "-c", "echo err >&2"],
            ["--no-such-option", "--", "true"],
            ["--capture-output", "--", "no-such-program"]
          ],
          _ <- 1..20 do
        port = Ports.open(args, [:stderr_to_stdout])
        assert {said, status} = Ports.collect(port)
        assert said != "" and status in [0, 125, 127]
      end
    end

    test "let 1 MiB through the default window, whole and in order" do
      script = "i=0; while [ $i -lt 65536 ]; do printf '%015d\\n' $i; i=$((i + 1)); done"
      port = Ports.open(["--capture-output", "--", "sh", "-c", script])
      {output, 0} = Ports.collect(port)
      assert byte_size(output) == 1_048_576
      expected = for i <- 0..65_535, into: "", do: String.pad_leading("#{i}", 15, "0") <> "\n"
      assert output == expected
    end

    test "that do not come hold the program back after a window" do
      port = Ports.open(["--capture-output", "--stdio-window", "1000", "--", "yes"])
      assert received(port, 1000) == 1000
      refute_receive {^port, {:data, _more}}, 300
      MuonTrap.Port.report_bytes_handled(port, 300)
      assert received(port, 300) == 300
      refute_receive {^port, {:data, _more}}, 300
      Port.close(port)
    end

    test "of more than there was gain nothing" do
      port = Ports.open(["--capture-output", "--stdio-window", "1000", "--", "yes"])
      MuonTrap.Port.report_bytes_handled(port, 1_000_000)
      assert received(port, 1000) == 1000
      refute_receive {^port, {:data, _more}}, 300
      Port.close(port)
    end

    test "are not needed by whoever reads a little and never sends one" do
      port = Ports.open(["--capture-output", "--", "sh", "-c", "echo one; echo two; exit 3"])
      assert {"one\ntwo\n", 3} = Ports.collect(port, fn _port, _data -> :ok end)
    end

    test "are not needed for the rest of a program that has ended" do
      # More than the window, and less than a pipe holds.
      script = "head -c 50000 /dev/zero"
      port = Ports.open(["--capture-output", "--", "sh", "-c", script])
      {output, 0} = Ports.collect(port, fn _port, _data -> :ok end)
      assert byte_size(output) == 50_000
    end
  end

  defp received(_port, missing) when missing <= 0, do: 0

  defp received(port, missing) do
    receive do
      {^port, {:data, data}} -> byte_size(data) + received(port, missing - byte_size(data))
    after
      60_000 -> 0
    end
  end

  describe "output" do
    @both ["sh", "-c", "echo out; echo err >&2"]

    # With what comes on muontrap's own standard error, which the port takes as well.
    defp said(flags),
      do: Ports.collect(Ports.open(flags ++ ["--" | @both], [:stderr_to_stdout]))

    test "goes where the options say" do
      assert {"err\n", 0} = said([])
      assert {"", 0} = said(["--capture-stderr"])
      assert {"err\n", 0} = said(["--capture-stderr-only"])
      assert {"out\nerr\n", 0} = said(["--capture-output", "--capture-stderr"])
      assert {both, 0} = said(["--capture-output"])
      assert both in ["out\nerr\n", "err\nout\n"]
    end

    test "of standard error alone is captured, and counts" do
      args = ["--capture-stderr-only", "--stdio-window", "100", "--", "sh", "-c", "yes >&2"]
      port = Ports.open(args)
      assert received(port, 100) == 100
      refute_receive {^port, {:data, _more}}, 300
      Port.close(port)
    end

    test "is not mixed up where both streams are captured" do
      script = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; echo $i >&2; done"
      args = ["--capture-output", "--capture-stderr", "--", "sh", "-c", script]
      {output, 0} = Ports.collect(Ports.open(args))
      assert output == Enum.map_join(1..9, &"#{&1}\n#{&1}\n")
    end
  end

  test "the name that a program sees is that of --arg0" do
    for flag <- ["--arg0", "-0"] do
      args = ["--capture-output", flag, "name", "--", "sh", "-c", "echo $0"]
      assert {"name\n", 0} = Ports.collect(Ports.open(args))
    end
  end

  test "a program that reads waits, and takes no acknowledgement" do
    port = Ports.open(["--capture-output", "--", "sh", "-c", "echo started; cat; echo over"])
    Ports.await(port, "started")
    MuonTrap.Port.report_bytes_handled(port, 8)
    refute_receive {^port, _event}, 300
    Port.close(port)
  end

  test "closing the port ends all of the program" do
    token = Trees.token()
    {args, opts} = Ports.tree(:double_fork, token)
    port = Ports.open(args, opts)
    Ports.await(port, "ready")
    assert [_one | _more] = Trees.carrying(token)
    Port.close(port)
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
  end
end
