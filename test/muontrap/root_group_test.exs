# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.RootGroupTest do
  @moduledoc "Nothing is run as root, nor in root's group, by naming it."

  use ExUnit.Case

  alias MuonTrap.{Cgroups, OtherVM}

  for {key, value} <- [
        groups: [0],
        groups: [5, "0"],
        groups: ["root"],
        gid: 0,
        gid: "root",
        uid: 0
      ] do
    test "#{key}: #{inspect(value)} is refused with words, before anything starts" do
      opts = [{unquote(key), unquote(value)}]

      for call <- [
            fn -> MuonTrap.cmd("true", [], opts) end,
            fn -> MuonTrap.run("true", [], opts) end,
            fn -> MuonTrap.Daemon.start_link("true", [], opts) end
          ] do
        message = assert_raise(ArgumentError, call).message
        assert message =~ ~r/invalid (option )?#{inspect(unquote(key))}/
        assert message =~ ~r/other than root/
        assert message =~ ~r/got: (0|"0"|"root")$/
      end
    end
  end

  # A system may have more names for 0, and says who is in which group.
  @accounts ~S"""
  mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/group" /etc/group && shift && exec "$@"
  """

  test "another name of root's group is refused, and a user who is in it stays there" do
    directory = OtherVM.directory()
    passwd = "root:x:0:0::/:/bin/sh\nin-it:x:4321:4321::/:/bin/sh\n"
    File.write!(Path.join(directory, "passwd"), passwd)
    group = "root:x:0:in-it\nwheel:x:0:\nin-it:x:4321:\nnobodys:x:77:\n"
    File.write!(Path.join(directory, "group"), group)
    wrapper = ["unshare", "--mount", "sh", "-c", @accounts, "sh", directory]

    code = ~S"""
    all = [
      [groups: [77, "wheel"]],
      [gid: "wheel"],
      [groups: ["nowhere"]],
      [uid: "in-it"],
      [uid: "in-it", groups: ["nobodys"]]
    ]

    for opts <- all do
      try do
        {output, 0} = MuonTrap.cmd("id", ["-G"], opts)
        IO.write(output)
      rescue
        error in MuonTrap.Error -> IO.puts(Exception.message(error))
      end
    end
    """

    if Cgroups.root?() and OtherVM.possible?(wrapper) do
      assert {output, 0} = OtherVM.run(directory, wrapper, code)

      assert output == """
             cannot set the supplementary groups "wheel": muontrap runs nothing as root by naming it (root)
             cannot change to group "wheel": muontrap runs nothing as root by naming it (root)
             cannot set the supplementary groups "nowhere": no such group (unknown_group); getent group lists the groups; an id works without an entry
             4321 0
             4321 77
             """
    end
  end
end
