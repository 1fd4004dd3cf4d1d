# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DirectoryTest do
  @moduledoc "Where a program runs when the VM, or the program's user, may not go everywhere."

  use ExUnit.Case

  alias MuonTrap.{Cgroups, OtherVM}

  # What comes of `pwd` with each of the options that come as arguments.
  @pwd ~S"""
  for opts <- System.argv() do
    {opts, []} = Code.eval_string(opts)

    try do
      {output, 0} = MuonTrap.cmd("sh", ["-c", "pwd"], opts)
      IO.write("went " <> output)
    rescue
      error in ErlangError -> IO.puts("went #{error.original}")
    end
  end
  """

  defp pwd(directory, wrapper, all_opts, run_opts \\ []) do
    args = Enum.map(all_opts, &inspect/1)
    assert {output, 0} = OtherVM.run(directory, wrapper, @pwd, args, run_opts)
    went(output)
  end

  # A VM that may not search its own directory has a lot to say about that.
  defp went(output),
    do: for([_line, where] <- Regex.scan(~r/^went (.*?)\r?$/m, output), do: where)

  defp private(directory, name, uid) do
    path = Path.join(directory, name)
    File.mkdir_p!(Path.join(path, "below"))

    for at <- [Path.join(path, "below"), path] do
      File.chmod!(at, 0o700)
      File.chown!(at, uid)
    end

    path
  end

  @weak OtherVM.without(["dac_override", "dac_read_search"])

  test "a user may run where root without CAP_DAC_OVERRIDE may not go, and the other way round" do
    if OtherVM.possible?(@weak) do
      directory = OtherVM.directory()
      users = private(directory, "users", OtherVM.uid())
      roots = private(directory, "roots", 0)
      user = [uid: OtherVM.uid()]

      assert [users, users <> "/below", roots, "eacces", "eacces", "enoent", "enoent"] ==
               pwd(directory, @weak, [
                 user ++ [cd: users],
                 user ++ [cd: users <> "/below"],
                 # With the rights of the VM, as before.
                 user ++ [cd: roots],
                 [cd: users],
                 [uid: 4321, cd: users],
                 user ++ [cd: users <> "/nowhere"],
                 user ++ [cd: "/nowhere"]
               ])
    end
  end

  test "the error of a directory that neither may enter is the user's, and names the step" do
    if OtherVM.possible?(@weak) do
      directory = OtherVM.directory()
      path = private(directory, "users", OtherVM.uid())

      code = ~S"""
      [path] = System.argv()
      {:error, error} = MuonTrap.Daemon.start_link("true", [], uid: 4321, cd: path)
      IO.puts("#{error.step} #{error.subject} #{error.reason}")
      """

      code = "Process.flag(:trap_exit, true)\n" <> code
      assert {output, 0} = OtherVM.run(directory, @weak, code, [path])
      assert output =~ "chdir #{path} eacces\n"
    end
  end

  describe "a VM that may not search its own directory" do
    setup do
      directory = OtherVM.directory()
      own = private(directory, "own", OtherVM.uid())
      # Inherited: nobody of them could go there.
      %{directory: directory, own: own, run_opts: [cd: own]}
    end

    # Not every OTP does: the code server of some fails there.
    defp starts_there?(wrapper, %{directory: directory, run_opts: run_opts}) do
      OtherVM.possible?(wrapper) and
        (match?({_output, 0}, OtherVM.run(directory, wrapper, ":ok", [], run_opts)) or
           Cgroups.announce("this OTP does not start in a directory that it may not search"))
    end

    test "runs programs elsewhere", %{directory: directory} = context do
      wrapper = ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups"]

      if starts_there?(wrapper, context) do
        all = [[cd: "/"], [cd: "/tmp"], [], [cd: "below"], [cd: "."]]

        assert ["/", "/tmp", "eacces", "eacces", "eacces"] ==
                 pwd(directory, wrapper, all, context.run_opts)
      end
    end

    test "runs programs of a user there who may", %{directory: directory, own: own} = context do
      if starts_there?(@weak, context) do
        user = [uid: OtherVM.uid()]
        all = [user, user ++ [cd: "below"], user ++ [cd: "/"], [], [uid: 4321]]

        assert [own, own <> "/below", "/", "eacces", "eacces"] ==
                 pwd(directory, @weak, all, context.run_opts)
      end
    end

    # It would be another one from where the helper is.
    test "finds no program by a relative path", %{directory: directory} = context do
      wrapper = ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups"]

      if starts_there?(wrapper, context) do
        code = ~S"""
        System.put_env("PATH", "bin:usr/bin:")
        {"", 0} = MuonTrap.cmd("/bin/true", [], cd: "/")
        try do
          MuonTrap.cmd("true", [], cd: "/")
        rescue
          error in ErlangError -> IO.puts("went #{error.original}")
        end
        """

        assert {output, 0} = OtherVM.run(directory, wrapper, code, [], context.run_opts)
        assert went(output) == ["enoent"]
      end
    end

    test "and has no /proc either", %{directory: directory} = context do
      wrapper =
        ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /proc && exec \"$0\" \"$@\""] ++
          ["setpriv", "--reuid=4321", "--regid=4321", "--clear-groups"]

      if starts_there?(wrapper, context) do
        assert ["/", "eacces", "eacces"] ==
                 pwd(directory, wrapper, [[cd: "/"], [], [cd: "below"]], context.run_opts)
      end
    end
  end

  test "a directory that was removed under the VM is still where it is" do
    directory = OtherVM.directory()
    gone = Path.join(directory, "gone")
    File.mkdir!(gone)

    code = ~S"""
    [gone] = System.argv()
    File.rmdir!(gone)
    {"0\n", 0} = MuonTrap.cmd("stat", ["-L", "-c", "%h", "/proc/self/cwd"])
    {"/\n", 0} = MuonTrap.cmd("pwd", [], cd: "/")

    try do
      MuonTrap.cmd("pwd", [], cd: gone)
    rescue
      error in ErlangError -> IO.puts(error.original)
    end
    """

    assert {"enoent\n", 0} = OtherVM.run(directory, [], code, [gone], cd: gone)
  end
end
