# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.GivenUpTest do
  @moduledoc "What a program under another user, group or groups keeps of the VM's rights: nothing."

  use ExUnit.Case

  alias MuonTrap.{Cgroups, OtherVM}

  @sets ~w(CapInh CapPrm CapEff CapAmb)
  # Below every user that the system has given, so that nobody is meant.
  @uid 4321

  # What the program says of itself, for each of the options that come as an argument.
  @inspect ~S"""
  for opts <- System.argv() do
    {opts, []} = Code.eval_string(opts)
    {output, 0} = MuonTrap.cmd(MuonTrap.Trees.program("inspect"), [], opts)
    fields = for field <- ~w(CapInh CapPrm CapEff CapAmb Uid Gid Groups), into: %{} do
      [_all, value] = Regex.run(~r/^#{field}=(.*)$/m, output)
      {field, value}
    end
    IO.puts("world " <> inspect(fields))
  end
  """

  defp worlds(directory, wrapper, all_opts) do
    args = Enum.map(all_opts, &inspect/1)
    assert {output, 0} = OtherVM.run(directory, wrapper, @inspect, args)

    for [_line, world] <- Regex.scan(~r/^world (.*)$/m, output) do
      {world, []} = Code.eval_string(world)
      world
    end
  end

  defp sets(world), do: for(set <- @sets, do: String.to_integer(world[set], 16))
  defp ids(field), do: field |> String.split() |> Enum.uniq()

  @powers ["--inh-caps=+setuid,+setgid,+chown", "--ambient-caps=+setuid,+setgid,+chown"]

  test "a VM that is not root keeps its ambient and inheritable capabilities for itself" do
    wrapper = OtherVM.as_user(@powers)

    if OtherVM.possible?(wrapper) do
      own = OtherVM.uid()

      all = [
        [],
        [uid: @uid],
        [uid: own],
        [gid: 1234],
        [groups: [77]],
        [uid: @uid, no_new_privs: true]
      ]

      [untouched | changed] = worlds(OtherVM.directory(), wrapper, all)
      assert Enum.all?(sets(untouched), &(&1 > 0))
      assert Enum.map(changed, &sets/1) == List.duplicate([0, 0, 0, 0], length(changed))
      own = ["#{own}"]
      assert [["4321"], ^own, ^own, ^own, ["4321"]] = Enum.map(changed, &ids(&1["Uid"]))
    end
  end

  test "a program cannot become root again" do
    wrapper = OtherVM.as_user(@powers)

    if OtherVM.possible?(wrapper) do
      directory = OtherVM.directory()

      code = ~S"""
      [program] = System.argv()
      {output, status} = MuonTrap.cmd(program, ["--leave"], uid: 4321, stderr_to_stdout: true)
      IO.puts("#{status} #{output}")
      """

      program = OtherVM.program(directory, "become_root")
      assert {"2 setresuid: EPERM" <> _text, 0} = OtherVM.run(directory, wrapper, code, [program])
    end
  end

  test "marks that let root keep its capabilities across a change of user do not help a program" do
    for marks <- ["+no_setuid_fixup", "+no_setuid_fixup,+noroot"],
        wrapper =
          ["setpriv", "--inh-caps=+setuid,+setgid", "--ambient-caps=+setuid,+setgid"] ++
            ["--securebits=#{marks}"],
        OtherVM.possible?(wrapper) do
      directory = OtherVM.directory()
      assert [world] = worlds(directory, wrapper, [[uid: @uid]])
      assert {marks, sets(world)} == {marks, [0, 0, 0, 0]}
      assert ids(world["Uid"]) == ["#{@uid}"]
    end
  end

  test "a user that the VM is already gets its own groups where they can be set, else keeps the VM's" do
    others = "--groups=#{OtherVM.uid()},77,88"
    user = ["setpriv", "--reuid=#{OtherVM.uid()}", "--regid=#{OtherVM.uid()}", others]

    if OtherVM.possible?(user) do
      directory = OtherVM.directory()
      own = "#{OtherVM.uid()}"
      assert [world] = worlds(directory, user ++ @powers, [[uid: OtherVM.uid()]])
      assert ids(world["Groups"]) -- [own] == []
      # Nobody could take them from a program of this VM.
      assert [world] = worlds(directory, user, [[uid: OtherVM.uid()]])
      assert Enum.sort(ids(world["Groups"])) == Enum.sort([own, "77", "88"])
    end
  end

  describe "the session keyring" do
    setup do
      directory = OtherVM.directory()
      hold = [OtherVM.program(directory, "session_key"), "hold"]

      code = ~S"""
      [find | all] = System.argv()
      for opts <- all do
        {opts, []} = Code.eval_string(opts)
        {output, status} = MuonTrap.cmd(find, ["find"], opts)
        IO.puts("#{status} " <> String.replace(output, "\n", " "))
      end
      """

      keys = fn wrapper, all ->
        args = [hd(hold) | Enum.map(all, &inspect/1)]
        assert {output, 0} = OtherVM.run(directory, wrapper ++ hold, code, args)
        output |> String.split("\n", trim: true) |> Enum.map(&String.trim/1)
      end

      %{directory: directory, hold: hold, keys: keys}
    end

    defp keys?(hold) do
      case System.cmd(hd(hold), ["hold", "true"], stderr_to_stdout: true) do
        {"", 0} -> true
        {said, _status} -> Cgroups.announce("keys of the kernel: #{said}")
      end
    end

    test "of the VM is out of reach under another user, who has one of its own", context do
      if Cgroups.root?() and keys?(context.hold) do
        assert ["0 found owner 0", "0 none owner 4321", "0 none owner 4321", "0 found owner 0"] =
                 context.keys.([], [[], [uid: 4321], [uid: 4321, gid: 5, groups: []], [gid: 5]])
      end
    end

    test "of a VM that is not root is out of reach, too, also under its own user", context do
      wrapper = OtherVM.as_user(@powers)

      if OtherVM.possible?(wrapper) and keys?(context.hold) do
        own = OtherVM.uid()

        assert ["0 found owner #{own}", "0 none owner 4321", "0 none owner #{own}"] ==
                 context.keys.(wrapper, [[], [uid: 4321], [uid: own]])
      end
    end

    # A user has 200 keys, see keyrings(7), and root a million.
    test "is a fresh one for more programs at once than the user may have keys", context do
      if Cgroups.root?() and keys?(context.hold) do
        code = ~S"""
        [find] = System.argv()
        count = 230
        sleep = fn _n -> spawn_link(fn -> MuonTrap.run("sleep", ["1000"], uid: 4322) end) end
        Enum.each(1..count, sleep)
        running? = fn -> Enum.count(MuonTrap.list(), &(&1.os_pid != nil)) == count end
        true = MuonTrap.Trees.eventually(running?)
        {output, 0} = MuonTrap.cmd(find, ["find"], uid: 4322)
        IO.puts(output)
        """

        [find, "hold"] = context.hold

        assert {"none\nowner 0\n\n", 0} =
                 OtherVM.run(context.directory, context.hold, code, [find])
      end
    end
  end
end
