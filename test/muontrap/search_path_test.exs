# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.SearchPathTest do
  @moduledoc "Which file of the VM's `PATH` a program under another user is."

  use ExUnit.Case

  alias MuonTrap.{Cgroups, OtherVM}

  # What comes of each of the calls that come as arguments.
  @run ~S"""
  for call <- System.argv() do
    {{program, opts}, []} = Code.eval_string(call)

    try do
      {output, 0} = MuonTrap.cmd(program, [], [cd: "/"] ++ opts)
      IO.write("went " <> output)
    rescue
      error in ErlangError -> IO.puts("went #{error.original}")
    end
  end
  """

  @weak OtherVM.without(["dac_override", "dac_read_search"])
  @user [uid: OtherVM.uid()]
  @other [uid: 4321]

  setup do
    directory = OtherVM.directory()
    where = &Path.join(directory, &1)
    # The last one is everybody's.
    private =
      for {name, owner} <- [roots: 0, users: OtherVM.uid()], do: {where.("#{name}"), owner}

    all = private ++ [{where.("all"), nil}]

    # Without a line that says what runs it as well.
    for {path, _owner} <- all, do: program(path, "everywhere", "echo ${0%/*}\n")

    for {path, _owner} <- private,
        do: program(path, "only_#{Path.basename(path)}", "#!/bin/sh\necho ${0%/*}\n")

    if Cgroups.root?() do
      for {path, owner} <- private do
        File.chown!(path, owner)
        File.chmod!(path, 0o700)
      end
    end

    %{directory: directory, path: Enum.map(all, &elem(&1, 0))}
  end

  defp program(path, name, script) do
    File.mkdir_p!(path)
    file = Path.join(path, name)
    File.write!(file, script)
    File.chmod!(file, 0o755)
  end

  defp went(%{directory: directory, path: path}, wrapper, calls) do
    env = [{"HOME", directory}, {"PATH", Enum.join(path ++ [System.get_env("PATH")], ":")}]
    args = Enum.map(calls, &inspect/1)
    assert {output, 0} = OtherVM.run(directory, wrapper, @run, args, env: env)
    for [_line, where] <- Regex.scan(~r/^went (.*)$/m, output), do: Path.basename(where)
  end

  @calls [
    {"everywhere", []},
    {"everywhere", @user},
    {"everywhere", @other},
    {"everywhere", [gid: 4321]},
    {"only_roots", @user},
    {"only_users", @user},
    {"nowhere", @user}
  ]

  test "is the first one that this user may execute", context do
    if Cgroups.root?() or Cgroups.announce("root is needed to change the user") do
      assert ~w(roots users all roots eacces users enoent) == went(context, [], @calls)
    end
  end

  test "may be where root without CAP_DAC_OVERRIDE cannot look for it", context do
    if OtherVM.possible?(@weak) do
      assert ~w(roots users all roots eacces users enoent) == went(context, @weak, @calls)

      assert ~w(enoent enoent) ==
               went(context, @weak, [{"only_users", []}, {"only_users", @other}])
    end
  end
end
