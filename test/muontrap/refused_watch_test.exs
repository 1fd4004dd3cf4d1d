# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.RefusedWatchTest do
  @moduledoc """
  A kernel that does not watch another descriptor, for lack of memory or beyond `max_user_watches`: a clear error at
  the start, and nobody who waits for ever after it.
  """

  use ExUnit.Case

  alias MuonTrap.Cgroups

  @moduletag timeout: 120_000
  @moduletag :tmp_dir

  unless System.find_executable("cc") do
    Cgroups.announce("there is no C compiler for a library that refuses")
    @moduletag :skip
  end

  # Stands between the VM and its C library. Of the reactor's epoll descriptor, which is made while the file is
  # there, it refuses what the file names.
  @library """
  #define _GNU_SOURCE
  #include <errno.h>
  #include <fcntl.h>
  #include <stdlib.h>
  #include <sys/epoll.h>
  #include <sys/syscall.h>
  #include <unistd.h>

  static int reactor = -1;

  static char refused(void) {
    char what = 0;
    int file = open(getenv("REFUSED"), O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
      if (read(file, &what, 1) != 1) what = 0;
      close(file);
    }
    return what;
  }

  int epoll_create1(int flags) {
    int made = syscall(SYS_epoll_create1, flags);
    if (refused()) reactor = made;
    return made;
  }

  int epoll_ctl(int epoll, int operation, int descriptor, struct epoll_event *event) {
    char what = epoll == reactor ? refused() : 0;
    if ((what == 'a' && operation == EPOLL_CTL_ADD) ||
        (what == 'm' && operation == EPOLL_CTL_MOD)) {
      errno = ENOSPC;
      return -1;
    }
    return syscall(SYS_epoll_ctl, epoll, operation, descriptor, event);
  }
  """

  @prelude """
  {:ok, _started} = Application.ensure_all_started(:muontrap)
  refuse = fn what -> File.write!(System.fetch_env!("REFUSED"), what) end
  bytes = :binary.copy("0123456789", 100_000)
  refuse.("nothing")
  {"", 0} = MuonTrap.cmd("true", [])
  """

  # What the last expression is in a VM with such a C library.
  defp in_vm(code, directory) do
    source = Path.join(directory, "refuse.c")
    library = Path.join(directory, "refuse.so")
    File.write!(source, @library)

    {"", 0} =
      System.cmd("cc", ["-shared", "-fPIC", "-o", library, source], stderr_to_stdout: true)

    code = @prelude <> "IO.puts(\"result \" <> inspect((fn -> #{code} end).()))"
    args = ["-pa", Application.app_dir(:muontrap, "ebin"), "-e", code]
    env = [{"LD_PRELOAD", library}, {"REFUSED", Path.join(directory, "refused")}]
    {output, status} = System.cmd("elixir", args, env: env, stderr_to_stdout: true)
    assert status == 0, output
    [_all, result] = Regex.run(~r/^result (.*)$/m, output)
    result
  end

  test "for more events: output and input still arrive", %{tmp_dir: directory} do
    code = """
    refuse.("m")
    {output, 0} = MuonTrap.cmd("cat", [], input: bytes, timeout: 60_000)
    script = "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three; cat >/dev/null"
    opts = [input: bytes, stderr_to_stdout: true, timeout: 60_000]
    {output == bytes, MuonTrap.cmd("sh", ["-c", script], opts)}
    """

    assert in_vm(code, directory) == ~S({true, {"one\ntwo\nthree\n", 0}})
  end

  test "for more events: a Daemon's lines and its end still arrive", %{tmp_dir: directory} do
    code = """
    parent = self()
    refuse.("m")
    Process.flag(:trap_exit, true)
    script = "for i in 1 2 3; do sleep 0.1; echo $i; done"
    log = fn line -> send(parent, {:line, line}) end
    {:ok, daemon} = MuonTrap.Daemon.start_link("sh", ["-c", script], logger_fun: log)
    lines = for _ <- 1..3, do: (receive do {:line, line} -> line after 60_000 -> :none end)
    {lines, receive do {:EXIT, ^daemon, reason} -> reason after 60_000 -> :none end}
    """

    assert in_vm(code, directory) == ~S({["1", "2", "3"], :normal})
  end

  test "for more events: an owner's death still ends the program", %{tmp_dir: directory} do
    code = """
    refuse.("m")
    owner = spawn(fn -> MuonTrap.cmd("yes", []) end)
    wait = fn wait, done? -> if done?.(), do: :ok, else: (Process.sleep(10); wait.(wait, done?)) end
    wait.(wait, fn -> MuonTrap.list() != [] end)
    Process.exit(owner, :kill)
    wait.(wait, fn -> MuonTrap.list() == [] end)
    """

    assert in_vm(code, directory) == ":ok"
  end

  test "for another command: it does not start, and the next one does", %{tmp_dir: directory} do
    code = """
    refuse.("a")
    refused =
      try do
        MuonTrap.cmd("cat", [], input: "x")
      rescue
        error -> error.original
      end
    refuse.("nothing")
    {refused, MuonTrap.cmd("cat", [], input: "x"), MuonTrap.list()}
    """

    assert in_vm(code, directory) == ~S({:enospc, {"x", 0}, []})
  end
end
