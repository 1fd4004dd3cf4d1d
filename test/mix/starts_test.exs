# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.StartsTest do
  @moduledoc "Programs run, and end with their VM, in each way that a VM is started: escripts, releases, detached, from Erlang."

  # Projects are built, which the machine has one at a time of.
  use ExUnit.Case, async: false

  import Bitwise
  import MuonTrap.Builds

  alias MuonTrap.{Cgroups, OtherVM, Trees}

  @moduletag :build
  @moduletag timeout: 600_000

  @main ~S"""
  defmodule ThrowAway.Main do
    def main(["hold"]) do
      tree = "setsid sleep 1000 & (sleep 1000 &) & exec sleep 1000"
      spawn_link(fn -> MuonTrap.cmd("/bin/sh", ["-c", tree]) end)
      Process.sleep(:infinity)
    end

    def main(args) do
      {output, 0} = MuonTrap.cmd("/bin/echo", args)
      IO.write(output)
    end
  end
  """

  # One project for all: what is built is what these tests have.
  setup_all do
    tmp = Path.join(System.tmp_dir!(), "muontrap_starts_#{System.pid()}")
    File.mkdir_p!(tmp)
    on_exit(fn -> File.rm_rf!(tmp) end)

    more =
      ~s/, escript: [main_module: ThrowAway.Main, path: System.get_env("ESCRIPT"), / <>
        ~s/include_priv_for: [:muontrap]]/

    app = throw_away_app(tmp, source(), more)
    File.write!(Path.join(app, "lib/main.ex"), @main)
    File.mkdir_p!(Path.join(app, "config"))
    config = ~s/import Config\nconfig :muontrap, priv_dir: System.get_env("PRIV_DIR")\n/
    File.write!(Path.join(app, "config/config.exs"), config)
    priv = Application.app_dir(:muontrap, "priv")

    built = fn args, env ->
      {_output, 0} = mix(args, app, env: [{"MUONTRAP_NATIVE_PREBUILT", priv} | env])
    end

    scripts =
      for name <- [:whole, :bare, :named], into: %{}, do: {name, Path.join(tmp, "#{name}")}

    built.(["escript.build"], [{"ESCRIPT", scripts.whole}])
    without_native_part(scripts.whole, scripts.bare)
    built.(["escript.build"], [{"ESCRIPT", scripts.named}, {"PRIV_DIR", priv}])
    built.(["release", "--path", Path.join(tmp, "release")], [])
    {"", 0} = System.cmd("chmod", ["-R", "a+rX", tmp])
    %{scripts: scripts, release: Path.join(tmp, "release")}
  end

  # As Mix makes it for a project that does not ask for it; before 1.15 it takes everything along.
  defp without_native_part(from, to) do
    {:ok, sections} = :escript.extract(to_charlist(from), [])
    {:ok, files} = :zip.unzip(sections[:archive], [:memory])

    files =
      Enum.reject(files, fn {name, _content} ->
        to_string(name) =~ ~r"(^|/)muontrap(_nif\.so|_spawner)?$"
      end)

    {:ok, {_name, archive}} = :zip.create(~c"archive", files, [:memory])
    sections = Keyword.replace!(sections, :archive, archive)

    :ok =
      :escript.create(
        to_charlist(to),
        for({key, value} <- sections, value != :undefined, do: {key, value})
      )

    File.chmod!(to, 0o755)
  end

  setup do
    tmp = folder()
    %{tmp: tmp, cache: Path.join(tmp, "cache")}
  end

  defp escript(script, args, cache, wrap \\ []) do
    [command | args] = wrap ++ [script | args]
    System.cmd(command, args, env: [{"XDG_CACHE_HOME", cache}], stderr_to_stdout: true, cd: "/")
  end

  describe "an escript" do
    test "runs programs with the native part that it holds", %{scripts: scripts, cache: cache} do
      assert {"works\n", 0} = escript(scripts.whole, ["works"], cache)
      assert [folder] = Path.wildcard(Path.join(cache, "muontrap/escript-*"))
      assert Enum.sort(File.ls!(folder)) == ["muontrap", "muontrap_nif.so", "muontrap_spawner"]
      assert (File.stat!(folder).mode &&& 0o777) == 0o700

      # The same again, and nothing else.
      before = File.stat!(Path.join(folder, "muontrap_nif.so"))
      assert {"again\n", 0} = escript(scripts.whole, ["again"], cache)
      assert File.stat!(Path.join(folder, "muontrap_nif.so")).inode == before.inode
      assert [^folder] = Path.wildcard(Path.join(cache, "muontrap/escript-*"))
    end

    test "leaves nothing when its VM is killed", %{scripts: scripts, cache: cache} do
      assert_ends_with_its_vm([scripts.whole, "hold"], [{"XDG_CACHE_HOME", cache}])
    end

    test "does not use what was changed, but puts its own there again", %{
      scripts: scripts,
      cache: cache
    } do
      assert {"works\n", 0} = escript(scripts.whole, ["works"], cache)
      [spawner] = Path.wildcard(Path.join(cache, "muontrap/escript-*/muontrap_spawner"))
      own = File.read!(spawner)

      # What runs cannot be written to, and the spawner of the time before may still do.
      replace = fn content ->
        File.rm!(spawner)
        File.write!(spawner, content)
        File.chmod!(spawner, 0o700)
      end

      for change <- [
            fn -> replace.("#!/bin/sh\necho evil\n") end,
            fn -> replace.(own <> "x") end,
            fn -> File.rm!(spawner) end,
            fn -> File.chmod!(spawner, 0o777) end,
            fn -> File.rm!(spawner) && File.ln_s!("/bin/true", spawner) end
          ] do
        change.()
        assert {"works\n", 0} = escript(scripts.whole, ["works"], cache)
        assert File.lstat!(spawner).type == :regular
        assert File.read!(spawner) == own
        assert (File.stat!(spawner).mode &&& 0o777) == 0o700
      end
    end

    test "uses no folder that others may write to", %{scripts: scripts, cache: cache} do
      assert {"works\n", 0} = escript(scripts.whole, ["works"], cache)
      [folder] = Path.wildcard(Path.join(cache, "muontrap/escript-*"))

      for open <- [folder, Path.dirname(folder)] do
        mode = File.stat!(open).mode
        File.chmod!(open, 0o777)
        assert {output, status} = escript(scripts.whole, ["works"], cache)
        assert status != 0
        assert output =~ "others may write to it"
        assert output =~ "priv_dir:"
        File.chmod!(open, mode &&& 0o777)
      end

      if Cgroups.root?() or Cgroups.announce("root is needed to give a folder to another user") do
        File.chown!(folder, OtherVM.uid())
        assert {output, _status} = escript(scripts.whole, ["works"], cache)
        assert output =~ "#{folder} is another user's"
      end
    end

    test "says what it lacks, and takes the folder that is named", %{
      scripts: scripts,
      cache: cache,
      tmp: tmp
    } do
      assert {output, status} = escript(scripts.bare, ["s3cret"], cache)
      assert status != 0, output
      assert output =~ "include_priv_for: [:muontrap]"
      refute output =~ "s3cret"
      assert {"works\n", 0} = escript(scripts.named, ["works"], Path.join(tmp, "unused"))
      refute File.exists?(Path.join(tmp, "unused"))
    end

    test "says what it needs where it can keep nothing", %{scripts: scripts} do
      for cache <- ["/proc/none", "/dev/null/none"] do
        assert {output, status} = escript(scripts.whole, ["works"], cache)
        assert status != 0
        assert output =~ ~r/cannot make .*set XDG_CACHE_HOME/
      end
    end
  end

  describe "a release" do
    @works ~S"""
    {"works\n", 0} = MuonTrap.cmd("/bin/echo", ["works"])
    IO.puts("works")
    """

    test "runs elsewhere, read-only, by another user, with nothing in its environment", %{
      release: release,
      tmp: tmp
    } do
      moved = Path.join(tmp, "moved here")
      File.cp_r!(release, moved)
      {"", 0} = System.cmd("chmod", ["-R", "a-w", moved])
      on_exit(fn -> System.cmd("chmod", ["-R", "u+w", moved]) end)
      # Where logs and a crash dump would go, and the script's own temporary files.
      command = [
        "env",
        "-i",
        "PATH=/usr/bin:/bin",
        "RELEASE_TMP=#{tmp}/none",
        Path.join(moved, "bin/throw_away"),
        "eval",
        @works
      ]

      assert {"works\n", 0} = run(command)

      if OtherVM.possible?(OtherVM.as_user()) do
        File.chmod!(tmp, 0o755)
        assert {"works\n", 0} = run(OtherVM.as_user() ++ command)
      end
    end

    test "takes numbers for users where there is no /etc/passwd", %{release: release} do
      code = ~S"""
      {"4321\n", 0} = MuonTrap.cmd("/usr/bin/id", ["-u"], uid: 4321)
      {"4321 4322\n", 0} = MuonTrap.cmd("/usr/bin/id", ["-G"], uid: 4321, gid: 4321, groups: [4322])
      for opts <- [[uid: "nobody"], [gid: "nogroup"]] do
        error = try do MuonTrap.cmd("/usr/bin/id", [], opts) rescue error -> error end
        IO.puts(error.reason)
      end
      """

      if Cgroups.root?() or Cgroups.announce("root is needed to take /etc away") do
        script = "mount -t tmpfs none /etc && exec \"$0\" eval \"$1\""

        command = [
          "unshare",
          "--mount",
          "/bin/sh",
          "-c",
          script,
          Path.join(release, "bin/throw_away"),
          code
        ]

        assert {"unknown_user\nunknown_group\n", 0} = run(command)
      end
    end

    test "asks the doctor, also where the native part is gone", %{release: release, tmp: tmp} do
      ask = [Path.join(release, "bin/throw_away"), "eval", "IO.inspect(MuonTrap.doctor())"]
      assert {text, 0} = run(ask)
      assert text =~ ~r/ok +trial /
      assert text =~ ~r/:(ok|degraded)\n\z/

      moved = Path.join(tmp, "without")
      File.cp_r!(release, moved)
      for part <- Path.wildcard(Path.join(moved, "lib/muontrap-*/priv/*")), do: File.rm_rf!(part)
      assert {text, 0} = run([Path.join(moved, "bin/throw_away") | tl(ask)])
      for check <- [:library, :spawner, :trial], do: assert(text =~ ~r/missing +#{check} /)
      assert text =~ "mix deps.compile muontrap --force"
      assert text =~ ~r/:missing\n\z/
    end

    test "leaves nothing when it is killed", %{release: release} do
      code = "ThrowAway.Main.main([\"hold\"])"
      assert_ends_with_its_vm([Path.join(release, "bin/throw_away"), "eval", code], [])
    end
  end

  test "a VM that is detached and watched by its heart leaves nothing", %{tmp: tmp} do
    ebin = Application.app_dir(:muontrap, "ebin")
    file = Path.join(tmp, "pid")

    code = """
    spawn(fn -> MuonTrap.cmd("/bin/sh", ["-c", "setsid sleep 1000 & (sleep 1000 &) & exec sleep 1000"]) end)
    File.write!(#{inspect(file <> ".new")}, System.pid())
    File.rename!(#{inspect(file <> ".new")}, #{inspect(file)})
    """

    token = Trees.token()
    # What it would start again is nothing here.
    env = [{"MUONTRAP_TOKEN", token}, {"HEART_COMMAND", "true"}]
    args = ["--erl", "-detached -heart", "-pa", ebin, "-e", code, "--no-halt"]
    assert {_output, 0} = System.cmd("elixir", args, env: env, stderr_to_stdout: true)
    assert Trees.eventually(fn -> File.exists?(file) and length(Trees.carrying(token)) >= 4 end)
    # By its number alone: it is no child of this VM.
    {"", 0} = System.cmd("kill", ["-KILL", File.read!(file)])
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
  end

  describe "from Erlang" do
    # As a project of rebar3 has it, which starts muontrap and what that needs.
    defp erl(code) do
      paths = for app <- [:muontrap, :elixir, :logger], do: Path.join(:code.lib_dir(app), "ebin")

      run(
        ["erl", "-noshell", "-pa"] ++
          paths ++
          ["-eval", "{ok, _} = application:ensure_all_started(muontrap), " <> code <> " halt(0)."]
      )
    end

    test "programs run with strings of its own" do
      assert {output, 0} =
               erl(~S"""
               {<<"h\303\244llo\n">>, 0} = muontrap:cmd("/bin/echo", ["h\344llo"]),
               {<<"x">>, 3} = muontrap:cmd(<<"/bin/sh">>, ["-c", ["printf ", $x, "; exit 3"]]),
               {<<>>, timeout} = muontrap:cmd("sleep", ["1000"], [{timeout, 10}]),
               #{status := {exited, 0}, stderr := <<"e">>} =
                   muontrap:run("/bin/sh", ["-c", "printf e >&2"], [{capture_stderr, true}]),
               io:put_chars("works"),
               """)

      assert output == "works"
    end

    test "a supervised program ends with its process, and is logged" do
      assert {output, 0} =
               erl(~S"""
               process_flag(trap_exit, true),
               {ok, Pid} = muontrap:start_link("/bin/sh", ["-c", "echo a line; exec sleep 1000"],
                                               [{log_output, error}, {ready, {output, 'Elixir.Regex':'compile!'(<<"line">>)}}]),
               Program = muontrap:os_pid(Pid),
               exit(Pid, shutdown),
               receive {'EXIT', Pid, _} -> ok end,
               "" = os:cmd("kill -0 " ++ integer_to_list(Program) ++ " 2>/dev/null && echo alive"),
               io:put_chars("over\n"),
               """)

      assert output =~ "a line"
      assert output =~ "over\n"
    end

    test "an error says in words what failed, without the arguments" do
      assert {output, 0} =
               erl(~S"""
               try muontrap:cmd("true", ["s3cret"], [{cd, <<"/none">>}]) catch error:Error -> io:put_chars(muontrap:message(Error)) end,
               """)

      assert output =~ "enoent"
      refute output =~ "s3cret"
    end
  end

  defp run([command | args]), do: System.cmd(command, args, cd: "/", stderr_to_stdout: true)
end
