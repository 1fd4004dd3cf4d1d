# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.VMStreamsTest do
  @moduledoc """
  Streams of the VM that a program inherits are open for it anew: what the VM and the program make of theirs does
  not disturb the other.
  """

  use ExUnit.Case

  alias MuonTrap.{Cgroups, OtherVM}

  @prelude ~S"""
  flags = fn pid, fd ->
    [_all, flags] = Regex.run(~r/^flags:\s*(\d+)/m, File.read!("/proc/#{pid}/fdinfo/#{fd}"))
    String.to_integer(flags, 8)
  end
  nonblock? = fn flags -> Bitwise.band(flags, 0o4000) != 0 end
  program = &MuonTrap.Trees.program/1
  """

  setup do
    directory = OtherVM.directory()
    %{directory: directory, program: &OtherVM.program(directory, &1)}
  end

  # The last word is the one that counts, so that the VM leaves its input alone.
  @no_input [{"ERL_ZFLAGS", "-noinput"}]

  defp run(context, wrapper, code, opts \\ []) do
    env = [{"HOME", context.directory} | Keyword.get(opts, :env, @no_input)]
    opts = Keyword.put(opts, :env, env)
    OtherVM.run(context.directory, wrapper, @prelude <> code, [], opts)
  end

  @reads ~S"""
  true = nonblock?.(flags.("self", 0)) and nonblock?.(flags.("self", 1))
  {"", 0} = MuonTrap.cmd("head", ["-n", "1"], use_stdio: false)
  {"", 0} = MuonTrap.cmd("sh", ["-c", "read line && echo it is $line"], use_stdio: false)

  if System.find_executable("python3") do
    {"", 0} = MuonTrap.cmd("python3", ["-c", "print(input().upper())"], use_stdio: false)
  else
    IO.puts("THREE")
  end

  {"", 0} = MuonTrap.cmd("seq", ["1", "30000"], use_stdio: false)
  true = nonblock?.(flags.("self", 0)) and nonblock?.(flags.("self", 1))
  """

  # What is written there is echoed first.
  defp assert_read({output, status}) do
    output = String.replace(output, "\r\n", "\n")
    assert {status, output} == {0, output}
    assert output =~ ~r/one\nit is two\nTHREE\n1\n2\n3\n/
    assert String.ends_with?(output, "\n29999\n30000\n")
    assert length(String.split(output, "\n")) > 30_000
  end

  test "a terminal that the VM made non-blocking can be read and written", context do
    terminal = [context.program.("terminal"), context.program.("nonblock"), "exec"]
    assert_read(run(context, terminal, @reads, input: "one\ntwo\nthree\n"))
  end

  test "so can it where there is no /proc", context do
    mount = "mount -t tmpfs none /proc && exec \"$0\" \"$@\""
    wrapper = ["unshare", "--mount", "sh", "-c", mount]

    if Cgroups.root?() and OtherVM.possible?(wrapper) do
      code = String.replace(@reads, ~r/^true = nonblock.*$/m, "")
      terminal = [context.program.("terminal"), context.program.("nonblock"), "exec"]
      assert_read(run(context, wrapper ++ terminal, code, input: "one\ntwo\nthree\n"))
    end
  end

  # As after su(1): the file belongs to who logged in.
  test "so can it by another user than the one whose file it is", context do
    if OtherVM.possible?(OtherVM.as_user()) do
      terminal = [context.program.("terminal"), context.program.("nonblock"), "exec"]
      code = ~S[{:error, :eacces} = File.open("/proc/self/fd/0")] <> "\n" <> @reads
      assert_read(run(context, terminal ++ OtherVM.as_user(), code, input: "one\ntwo\nthree\n"))
    end
  end

  test "pipes that the VM made non-blocking can be read and written", context do
    nonblock = [context.program.("nonblock"), "exec"]
    # Nothing is there when the program begins to read.
    input = Stream.map(["one\n", "two\n", "three\n"], &tap(&1, fn _ -> Process.sleep(1000) end))
    # Of a pipe, head(1) takes more than a line if there is more.
    reads =
      String.replace(@reads, ~s("head", ["-n", "1"]), ~s("sh", ["-c", "read line && echo $line"]))

    assert reads != @reads
    assert_read(run(context, nonblock, reads, input: input))
  end

  # Both wait for the same lines then, so somebody types until the program has one.
  test "a VM that reads its terminal leaves it to a program that waits for a line", context do
    lines = Stream.repeatedly(fn -> tap("typed\n", fn _ -> Process.sleep(100) end) end)

    code = ~S"""
    {"", 0} = MuonTrap.cmd("sh", ["-c", "head -n 1 | sed 's/^/it is /'"], use_stdio: false)
    """

    opts = [input: Stream.take(lines, 300), env: []]
    assert {output, 0} = run(context, [context.program.("terminal")], code, opts)
    assert output =~ "it is typed"
  end

  test "a program that makes its standard error non-blocking disturbs neither VM nor others",
       context do
    code = ~S"""
    before = flags.("self", 2)
    false = nonblock?.(before)
    other = MuonTrap.Trees.start(:direct, "none")
    other_pid = MuonTrap.Nif.info(other.handle).os_pid
    {_pattern, 0} = MuonTrap.cmd(program.("nonblock"), ["1000"])
    ^before = flags.("self", 2)
    false = nonblock?.(flags.(other_pid, 2))
    {"", 0} = MuonTrap.cmd("sh", ["-c", "echo said >&2"])
    MuonTrap.Command.abort(other)
    """

    for wrapper <- [[], [context.program.("terminal")]] do
      assert {output, 0} = run(context, wrapper, code)
      assert String.trim(output) == "said"
    end
  end

  test "a program has blocking streams although those of the VM are not, and what they are open for",
       context do
    code = ~S"""
    for _ <- 1..3 do
      {output, 0} = MuonTrap.cmd(program.("inspect"), [])
      [_all, flags] = Regex.run(~r/^flags\.2=(.*)$/m, output)
      1 = String.to_integer(flags, 8) |> Bitwise.band(0o4003)
      [_all, stderr] = Regex.run(~r/^fd\.2=(.*)$/m, output)
      {:ok, ^stderr} = File.read_link("/proc/self/fd/2")
    end
    IO.puts(nonblock?.(flags.("self", 2)))
    """

    assert {"true\n", 0} = run(context, [context.program.("nonblock"), "exec"], code)
  end

  test "what the VM may not open again is shared", context do
    if OtherVM.possible?(OtherVM.as_user()) do
      code = ~S"""
      {:error, :eacces} = File.open("/proc/self/fd/2", [:write])
      {"", 0} = MuonTrap.cmd("sh", ["-c", "echo said >&2"])
      {"", 0} = MuonTrap.cmd("sh", ["-c", "cat; echo said"], use_stdio: false)
      """

      assert {"said\nheardsaid\n", 0} = run(context, OtherVM.as_user(), code, input: "heard")
    end
  end

  test "a file is shared with its position", context do
    log = Path.join(context.directory, "log")
    wrapper = ["sh", "-c", "exec 2>\"$0\"; exec \"$@\"", log]

    code = ~S"""
    for word <- ["one", "two"], do: {"", 0} = MuonTrap.cmd("sh", ["-c", "echo #{word} >&2"])
    IO.puts(:stderr, "three")
    true = MuonTrap.Trees.eventually(fn -> File.stat!("/proc/self/fd/2").size == 14 end)
    {"", 0} = MuonTrap.cmd("sh", ["-c", "echo four >&2"])
    """

    assert {"", 0} = run(context, wrapper, code)
    assert File.read!(log) == "one\ntwo\nthree\nfour\n"
  end

  test "a stream that the VM has closed is /dev/null", context do
    code = ~S"""
    {"/dev/null\n", 0} = MuonTrap.cmd("readlink", ["/proc/self/fd/2"])
    IO.puts("over")
    """

    assert {"over\n", 0} = run(context, ["sh", "-c", "exec 2>&-; exec \"$0\" \"$@\""], code)
  end

  test "descriptors are counted as before", context do
    code = ~S"""
    {"", 0} = MuonTrap.cmd("true", [])
    open = fn -> length(File.ls!("/proc/self/fd")) end
    before = open.()
    for _ <- 1..50, do: {"", 0} = MuonTrap.cmd("true", [])
    for _ <- 1..50, do: {"", 0} = MuonTrap.cmd("true", [], use_stdio: false)
    true = MuonTrap.Trees.eventually(fn -> open.() == before end)
    IO.puts("over")
    """

    for wrapper <- [[], [context.program.("terminal")]] do
      assert {output, 0} = run(context, wrapper, code)
      assert String.trim(output) == "over"
    end
  end
end
