# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.EnvironmentTest do
  @moduledoc "A program inherits the environment of the VM byte for byte, whatever the VM takes it for."

  use ExUnit.Case, async: true

  alias MuonTrap.Trees

  # Each VM, by what makes its encoding.
  @vms [
    {"without LANG", [], []},
    {"with LC_ALL=C", ["LC_ALL=C"], []},
    {"with LC_ALL=C.UTF-8", ["LC_ALL=C.UTF-8"], []},
    {"with +fnl", ["LC_ALL=C.UTF-8"], ["+fnl"]},
    {"with +fnu", ["LC_ALL=C"], ["+fnu"]}
  ]

  @all_bytes for byte <- 1..255, into: "", do: <<byte>>

  @variables [
    "NAME=Zoë",
    "LATIN1=Zo\xEB",
    "BOTH=ë\xEB",
    "WIDE=€𝄞",
    "WIDE_AND_BROKEN=€\xEB",
    "SURROGATE=\xED\xA0\x80",
    "OVERLONG=\xC0\xAF",
    "CUT=a\xC3",
    "CONTROLS=\x80\x9F",
    "EMPTY=",
    "EQUALS==a=b",
    "LINES=a\nb",
    "ALL=" <> @all_bytes,
    "LONG=" <> String.duplicate("é", 6_000),
    "LONG_RAW=" <> String.duplicate("\xE9", 6_000),
    # The same characters in a VM of UTF-8.
    "ë=two bytes",
    "\xEB=one byte",
    "€=wide",
    "\xFF\xFE=\xFF"
  ]

  for {name, setting, flags} <- @vms do
    @tag setting: setting, flags: flags
    test "a VM #{name}", %{setting: setting, flags: flags} do
      assert [theirs, theirs, ours | differing] =
               in_a_vm(setting, flags, """
               {theirs, 0} = System.cmd("/usr/bin/env", ["-0"])
               send_back.(theirs)
               # Once more, when it is known.
               for _ <- 1..2, do: send_back.(elem(MuonTrap.cmd("/usr/bin/env", ["-0"]), 0))

               # Changed, removed, added, and back.
               :os.putenv('NAME', 'other')
               :os.unsetenv('EMPTY')
               :os.putenv('NEW', [0xE9])
               send_back.(elem(System.cmd("/usr/bin/env", ["-0"]), 0))
               send_back.(elem(MuonTrap.cmd("/usr/bin/env", ["-0"]), 0))
               """)

      assert ours == theirs
      for variable <- @variables, do: assert(variable in ours)
      assert [theirs, theirs] = differing
      assert "NAME=other" in theirs
      refute "EMPTY=" in theirs
    end

    @tag setting: setting, flags: flags
    test "what is changed, in a VM #{name}", %{setting: setting, flags: flags} do
      changes = [{"NAME", "Zo\xEB"}, {"LATIN1", nil}, {"\xEB", "ë"}, {"ë", nil}, {"NÉW", "\xC3"}]

      assert [ours, alone] =
               in_a_vm(setting, flags, """
               changes = #{inspect(changes, binaries: :as_binaries, limit: :infinity)}
               send_back.(elem(MuonTrap.cmd("/usr/bin/env", ["-0"], env: changes), 0))
               {alone, 0} = MuonTrap.cmd("/usr/bin/env", ["-0"], env: changes, clear_env: true)
               send_back.(alone)
               """)

      expected = ["NAME=Zo\xEB", "\xEB=ë", "NÉW=\xC3"]
      assert Enum.sort(expected) == alone
      for variable <- expected, do: assert(variable in ours)
      for name <- ["LATIN1=", "ë="], do: refute(Enum.any?(ours, &String.starts_with?(&1, name)))
      assert ("ALL=" <> @all_bytes) in ours
    end

    @tag setting: setting, flags: flags
    test "paths, in a VM #{name}", %{setting: setting, flags: flags} do
      for name <- ["ë", "\xEB"] do
        folder = Path.join(System.tmp_dir!(), Trees.token() <> name)
        File.mkdir!(folder)
        on_exit(fn -> File.rm_rf!(folder) end)
        File.ln_s!("/bin/pwd", Path.join(folder, "pröbe"))
        path = "PATH=#{folder}:#{System.fetch_env!("PATH")}"

        assert [[found], [entered], [named]] =
                 in_a_vm([path | setting], flags, """
                 folder = #{inspect(folder, binaries: :as_binaries)}
                 cmd = fn program, opts -> elem(MuonTrap.cmd(program, ["-P"], opts), 0) end
                 send_back.(cmd.("pröbe", cd: "/"))
                 send_back.(cmd.("pwd", cd: folder))
                 send_back.(cmd.(folder <> "/pröbe", cd: folder))
                 """)

        assert found == "/\n"
        assert entered == folder <> "\n"
        assert named == folder <> "\n"
      end
    end
  end

  test "values that the VM changes to others of the same characters" do
    # 0xEB and its UTF-8 are one character to `os:env/0`.
    assert [before, later] =
             in_a_vm(["LC_ALL=C.UTF-8"], [], """
             send_back.(elem(MuonTrap.cmd("/usr/bin/env", ["-0"]), 0))
             :os.putenv('LATIN1', [?Z, ?o, 0xEB])
             send_back.(elem(MuonTrap.cmd("/usr/bin/env", ["-0"]), 0))
             """)

    assert "LATIN1=Zo\xEB" in before
    assert "LATIN1=Zoë" in later
  end

  test "an environment of 1 MiB, changed and large again" do
    assert [large, small, again] =
             in_a_vm(["LC_ALL=C"], [], """
             put = fn value -> for n <- 1..16, do: :os.putenv('BIG' ++ Integer.to_charlist(n), value) end
             count = fn ->
               {out, 0} = MuonTrap.cmd("/usr/bin/env", ["-0"])
               send_back.(Integer.to_string(byte_size(out)))
             end
             put.(List.duplicate(0xE9, 60_000))
             count.()
             put.('x')
             count.()
             put.(List.duplicate(0xE9, 60_000))
             count.()
             """)

    assert large == again
    [[large], [small]] = [large, small]
    assert String.to_integer(large) == String.to_integer(small) + 16 * 59_999
  end

  # Runs code in a VM of its own that was started with these bytes as its environment, for the shell scripts that
  # start VMs drop what they do not like. Returns what `send_back` was given, split at NULs and sorted.
  defp in_a_vm(setting, flags, code) do
    root = to_string(:code.root_dir())
    bin = Path.join(root, "erts-#{:erlang.system_info(:version)}/bin")
    file = Path.join(System.tmp_dir!(), Trees.token() <> ".out")
    script = file <> ".exs"
    on_exit(fn -> Enum.each([file, script], &File.rm/1) end)

    File.write!(script, """
    send_back = fn bytes -> File.write!(#{inspect(file)}, [<<byte_size(bytes)::32>>, bytes], [:append]) end
    {:ok, _} = Application.ensure_all_started(:muontrap)
    #{code}
    """)

    ebins =
      for app <- [:elixir, :logger, :muontrap],
          do: ["-pa", Application.app_dir(app, "ebin")]

    own = [
      "BINDIR=#{bin}",
      "ROOTDIR=#{root}",
      "EMU=beam",
      "PROGNAME=erl",
      "ERL_CRASH_DUMP=/dev/null"
    ]

    path = if Enum.any?(setting, &(&1 =~ "PATH=")), do: [], else: ["PATH=/usr/bin:/bin"]

    eval =
      "{ok, _} = application:ensure_all_started(elixir), 'Elixir.Code':eval_file(<<\"#{script}\">>), halt()."

    args =
      ["-i" | own ++ path ++ setting ++ @variables] ++
        [Path.join(bin, "erlexec"), "-noshell", "-noinput"] ++
        flags ++
        List.flatten(ebins) ++ ["-eval", eval]

    {output, status} = System.cmd("/usr/bin/env", args, stderr_to_stdout: true, env: clean())
    assert status == 0, output
    for <<size::32, bytes::binary-size(size) <- File.read!(file)>>, do: split(bytes)
  end

  defp clean, do: for({name, _value} <- System.get_env(), do: {name, nil})

  defp split(bytes), do: bytes |> String.split("\0", trim: true) |> Enum.sort()
end
