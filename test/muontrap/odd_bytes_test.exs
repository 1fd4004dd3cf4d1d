# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.OddBytesTest do
  @moduledoc "Every byte arrives as it was given, or is refused at the door with an error that says so."

  use MuonTrap.Case

  import MuonTrap.Generators, only: [check: 3, list: 2, bytes: 1]

  alias MuonTrap.{Cgroups, Counts, Error, Trees}

  # NUL ends a string of the kernel's.
  @bytes Enum.map(1..255, &<<&1>>)
  @odd [
    "..",
    "-",
    "--help",
    " ",
    "a b",
    "*",
    "$HOME",
    "`id`",
    "\"",
    "'",
    "\\",
    "\\n",
    "é€𝄞",
    <<0xC3>>,
    <<0xFF, 0xFE>>,
    <<0xED, 0xA0, 0x80>>,
    Enum.join(@bytes),
    String.duplicate("x", 255),
    String.duplicate("x", 256)
  ]
  @with_nul ["\0", "a\0", "\0a", "a\0b"]

  setup do: Counts.unchanged()

  setup do
    folder = Path.join(System.tmp_dir!(), Trees.token())
    File.mkdir!(folder)

    on_exit(fn -> File.rm_rf!(folder) end)
    %{folder: folder}
  end

  # Pairs, for a name may come twice.
  defp world(args, opts) do
    {output, 0} = MuonTrap.cmd(Trees.program("inspect"), args, opts)

    for line <- String.split(output, "\n", trim: true) do
      [key, value] = :binary.split(line, "=")
      {unescape(key), unescape(value)}
    end
  end

  # As Rust's escape_ascii has it.
  defp unescape(text) do
    Regex.replace(~r/\\(x..|.)/, text, fn
      _all, "x" <> hex -> <<String.to_integer(hex, 16)>>
      _all, "t" -> "\t"
      _all, "r" -> "\r"
      _all, "n" -> "\n"
      _all, itself -> itself
    end)
  end

  defp argv(args, opts \\ []) do
    for {"argv." <> number, value} <- world(args, opts),
        do: {String.to_integer(number), value}
  end

  defp env(env) do
    for {"env." <> name, value} <- world([], clear_env: true, env: env), do: {name, value}
  end

  test "arguments" do
    args = ["" | @bytes ++ @odd]
    assert [{0, _program} | given] = argv(args)
    assert given == Enum.zip(1..length(args), args)

    for odd <- @with_nul,
        do: assert_raise(ArgumentError, ~r/got: /, fn -> MuonTrap.cmd("true", [odd]) end)
  end

  test "arg0" do
    for odd <- ["" | @bytes ++ @odd], do: assert(argv([], arg0: odd) == [{0, odd}])

    for odd <- @with_nul,
        do: assert_raise(ArgumentError, fn -> MuonTrap.cmd("true", [], arg0: odd) end)
  end

  test "random arguments and values" do
    strings = fn -> list(fn -> :binary.replace(bytes(300), <<0>>, "0", [:global]) end, 20) end

    check(
      strings,
      fn strings ->
        assert [_program | given] = argv(strings)
        assert Enum.map(given, &elem(&1, 1)) == strings

        pairs =
          for {value, number} <- Enum.with_index(Enum.reject(strings, &(&1 == ""))),
              do: {"N#{number}", value}

        assert Enum.sort(env(pairs)) == Enum.sort(pairs)
      end,
      runs: 100
    )
  end

  test "values of variables" do
    # An empty one unsets, as with System.cmd/3.
    values = @bytes ++ @odd ++ ["=", "a=b"]
    pairs = for {value, number} <- Enum.with_index(values), do: {"N#{number}", value}
    assert Enum.sort(env(pairs)) == Enum.sort(pairs)

    for odd <- @with_nul,
        do: assert_raise(ArgumentError, fn -> MuonTrap.cmd("true", [], env: [{"A", odd}]) end)
  end

  test "names of variables" do
    names = Enum.uniq(for name <- @bytes ++ @odd, do: String.replace(name, "=", ""))
    pairs = for name <- names -- [""], do: {name, "value"}
    assert Enum.sort(env(pairs)) == Enum.sort(pairs)

    for odd <- ["", "=", "a=", "=a", "a=b" | @with_nul],
        do: assert_raise(ArgumentError, fn -> MuonTrap.cmd("true", [], env: [{odd, "v"}]) end)
  end

  test "the program", %{folder: folder} do
    for name <- file_names() do
      path = Path.join(folder, name)
      File.ln_s!(Trees.program("exit_with"), path)
      assert {"", 7} = MuonTrap.cmd(path, ["7"])
    end

    for odd <- @with_nul, do: assert_raise(ArgumentError, fn -> MuonTrap.cmd(odd, []) end)
    assert_raise ErlangError, ~r/:enoent/, fn -> MuonTrap.cmd("", []) end
    long = String.duplicate("x", 256)
    assert_raise ErlangError, ~r/:enametoolong/, fn -> MuonTrap.cmd("/" <> long, []) end
  end

  test "the directory", %{folder: folder} do
    for name <- file_names() do
      path = Path.join(folder, name)
      File.mkdir!(path)
      assert {"cwd", path} in world([], cd: path)
      assert {"cwd", folder} in world([], cd: path <> "/..")
    end

    for odd <- @with_nul,
        do: assert_raise(ArgumentError, fn -> MuonTrap.cmd("true", [], cd: odd) end)

    long = Path.join(folder, String.duplicate("x", 256))
    assert_raise ErlangError, ~r/:enametoolong/, fn -> MuonTrap.cmd("true", [], cd: long) end
    assert_raise ErlangError, ~r/:enoent/, fn -> MuonTrap.cmd("true", [], cd: folder <> "/no") end
    assert_raise ErlangError, ~r/:enoent/, fn -> MuonTrap.cmd("true", [], cd: "") end
  end

  # Those that a file may have.
  defp file_names do
    Enum.uniq(
      for name <- @bytes ++ @odd,
          name = String.replace(name, "/", ""),
          name not in ["", ".", ".."] and byte_size(name) <= 255,
          do: name
    )
  end

  @tag :cgroup
  test "the paths of groups" do
    if Cgroups.offers?([]) do
      for key <- [:cgroup_path, :cgroup_base], name <- file_names() do
        path = Path.join(Cgroups.base(), name)

        if name =~ "\n" do
          # The kernel takes none, for /proc/PID/cgroup has a line for each.
          error = assert_raise Error, fn -> MuonTrap.cmd("true", [], [{key, path}]) end
          assert %{step: :cgroup_create, reason: :einval} = error
        else
          {groups, 0} = MuonTrap.cmd("cat", ["/proc/self/cgroup"], [{key, path}])
          assert String.contains?(groups, path)
        end
      end
    end
  end

  @tag :cgroup
  test "paths that would lead out of the hierarchy, or to no group, are refused" do
    if Cgroups.offers?([]) do
      base = Cgroups.base()

      for key <- [:cgroup_path, :cgroup_base],
          path <-
            ["", "/", ".", "..", "/sys/fs/cgroup/#{base}", "#{base}//x", "#{base}/../x"] ++
              @with_nul do
        assert_raise ArgumentError, ~r/got: /, fn -> MuonTrap.cmd("true", [], [{key, path}]) end
      end

      long = Path.join(base, String.duplicate("x", 5_000))
      error = assert_raise Error, fn -> MuonTrap.cmd("true", [], cgroup_path: long) end
      assert %{step: :cgroup_create, reason: :enametoolong} = error

      # There is a file of that name.
      taken = Path.join(base, "cgroup.procs")
      error = assert_raise Error, fn -> MuonTrap.cmd("true", [], cgroup_path: taken) end
      assert error.step == :cgroup_create
      assert Exception.message(error) =~ taken
    end
  end
end
