# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.PtyInputTest do
  @moduledoc "What is typed on a terminal."

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Nif, Terminal, Trees}

  defp sh(script, opts), do: MuonTrap.cmd("sh", ["-c", script], [pty: true] ++ opts)

  defp installed?(program),
    do: System.find_executable(program) != nil or Cgroups.announce("there is no #{program}")

  describe "input" do
    test "is typed and echoed, and ends" do
      assert MuonTrap.cmd("cat", [], pty: true, input: "hi\n") == {"hi\r\nhi\r\n", 0}
      # Behind an unfinished line the end has to be typed twice.
      assert MuonTrap.cmd("cat", [], pty: true, input: "hi") == {"hihi", 0}
    end

    test "ends at once where there is none, and never where it is left open" do
      assert MuonTrap.cmd("cat", [], pty: true) == {"", 0}

      assert within_time(&({_, :timeout} = sh("cat", stdin: :open, timeout: &1))) ==
               {"", :timeout}
    end

    test "in lines of any length arrives whole" do
      for length <- [4094, 4095, 4096, 4097, 8190, 100_000] do
        input = String.duplicate("x", length) <> "\nrest\n"
        assert {output, 0} = sh("stty -echo; wc -lc", input: input)

        assert output =~ ~r/ 2 +#{length + 6}\r\n\z/,
               "#{length}: #{String.slice(output, -99, 99)}"
      end
    end

    test "of a megabyte arrives, and its echo" do
      input = String.duplicate(String.duplicate("x", 99) <> "\n", 10_000)
      assert MuonTrap.cmd("tail", ["-n1"], pty: true, input: input, into: []) |> elem(1) == 0
      assert {output, 0} = sh("stty -echo; wc -lc", input: input)
      assert String.slice(output, -60, 60) =~ ~r/ 10000 +1000000\r\n\z/
    end

    test "ends as a key for a program that reads keys" do
      terminal = Terminal.open("sh", ["-c", "stty raw -echo; echo ready; head -c2 | od -An -tx1"])
      {_shown, terminal} = Terminal.expect(terminal, "ready")

      assert {{:exited, 0}, shown} =
               terminal |> Terminal.type("a") |> Terminal.close() |> Terminal.finish()

      assert shown =~ " 61 04"
    end

    test "waits for room, the end of it too" do
      terminal = Terminal.open("sh", ["-c", "stty -echo; echo ready; read line; wc -c"])
      {_shown, terminal} = Terminal.expect(terminal, "ready")
      full = fill(terminal.command.handle, 0)
      Nif.close_stdin(terminal.command.handle)
      assert Nif.write(terminal.command.handle, "late") == {:error, :epipe}
      # The first line was for the shell.
      assert {{:exited, 0}, shown} = Terminal.finish(terminal)
      assert shown =~ "#{full - 100}\r\n"
    end

    test "is refused once there is no room, and nobody has the terminal open" do
      terminal = Terminal.open("sh", ["-c", "echo ready; exec <&- >&- 2>&-; exec sleep 1000"])
      {_shown, terminal} = Terminal.expect(terminal, "ready")
      handle = terminal.command.handle
      # The program has not closed it yet where that says that it would have to wait.
      line = String.duplicate("x", 99) <> "\n"
      assert Trees.eventually(fn -> Nif.write(handle, line) == {:error, :epipe} end)
      assert {:ended, _outcome} = Terminal.stop(terminal)
    end

    defp fill(handle, typed) do
      case Nif.write(handle, String.duplicate("x", 99) <> "\n") do
        {:ok, 100} -> fill(handle, typed + 100)
        # The rest of a line that had no room.
        {:ok, part} -> typed + part
        {:error, :eagain} -> typed
      end
    end
  end

  # What is typed while a shell changes the terminal's settings may be lost.
  defp await_job(terminal) do
    shell = Nif.info(terminal.command.handle).os_pid

    assert Trees.eventually(fn ->
             [_name, fields] = String.split(File.read!("/proc/#{shell}/stat"), ") ", parts: 2)
             in_foreground = fields |> String.split() |> Enum.at(5) |> String.to_integer()
             in_foreground > 0 and in_foreground != shell
           end)
  end

  describe "keys" do
    test "interrupt what is in the foreground" do
      terminal = Terminal.open("sh", ["-c", "echo ready; exec sleep 1000"])
      {_shown, terminal} = Terminal.expect(terminal, "ready")
      assert {{:signaled, :sigint}, _rest} = terminal |> Terminal.type(<<3>>) |> Terminal.finish()
    end

    test "stop a job of a shell, which can have it go on" do
      if installed?("bash") do
        terminal = Terminal.open("bash", ["--norc", "-i"], env: [{"PS1", "ready> "}])
        {_shown, terminal} = Terminal.expect(terminal, "ready> ")
        {_shown, terminal} = terminal |> Terminal.type("cat\n") |> Terminal.expect("cat\r\n")
        await_job(terminal)

        {_shown, terminal} =
          terminal |> Terminal.type("one\n") |> Terminal.expect(~r/one\r\n.*one/s)

        {_shown, terminal} =
          terminal |> Terminal.type(<<26>>) |> Terminal.expect(~r/Stopped.*> $/s)

        {_shown, terminal} = terminal |> Terminal.type("fg\n") |> Terminal.expect("fg\r\n")
        await_job(terminal)

        {_shown, terminal} =
          terminal |> Terminal.type("two\n") |> Terminal.expect(~r/two\r\n.*two/s)

        {_shown, terminal} = terminal |> Terminal.type(<<3>>) |> Terminal.expect("ready> ")
        assert {{:exited, 7}, _rest} = terminal |> Terminal.type("exit 7\n") |> Terminal.finish()
      end
    end

    test "of a password are not shown" do
      if installed?("python3") do
        code = "import getpass; print('got', getpass.getpass()[::-1])"
        terminal = Terminal.open("python3", ["-c", code])
        {_shown, terminal} = Terminal.expect(terminal, "Password: ")
        assert {{:exited, 0}, shown} = terminal |> Terminal.type("secret\n") |> Terminal.finish()
        assert shown =~ "got terces"
        refute shown =~ "secret"
      end
    end
  end
end
