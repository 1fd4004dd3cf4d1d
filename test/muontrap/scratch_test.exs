# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ScratchTest do
  @moduledoc "A VM in a root that has nothing but it and what it needs, as in a container from scratch: no shell, no `/etc`, no `/tmp`."

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, Trees}

  @moduletag :cgroup

  # What is to be there, each under its own path: the VM, the libraries and this one, and the shared objects of all.
  defp parts do
    erts = Path.join(:code.root_dir(), "erts-#{:erlang.system_info(:version)}")

    native =
      Path.wildcard(Path.join(erts, "bin/{beam.smp,erlexec,erl_child_setup}")) ++
        [Application.app_dir(:muontrap, "priv/muontrap_nif.so"), Trees.program("daemonize")]

    objects =
      for file <- native,
          {text, 0} <- [System.cmd("ldd", [file], stderr_to_stdout: true)],
          [_all, path] <- Regex.scan(~r"(/\S+) \(0x", text),
          do: path

    apps = for app <- [:muontrap, :elixir, :logger], do: to_string(:code.lib_dir(app))
    Enum.uniq([to_string(:code.root_dir()) | apps] ++ objects)
  end

  # Called in a mount namespace of its own, on a root that is empty; then the VM is started without a shell.
  @lay_out ~S"""
  new=$1; shift
  mount -t tmpfs none "$new"
  while [ "$1" != -- ]; do
    if [ -d "$1" ]; then mkdir -p "$new$1"; else mkdir -p "$new${1%/*}"; touch "$new$1"; fi
    mount --bind "$1" "$new$1"
    shift
  done
  shift
  mkdir "$new/proc" "$new/dev"
  mount -t proc none "$new/proc"
  mount --bind /dev "$new/dev"
  exec chroot "$new" "$@"
  """

  defp run(code, token) do
    root = to_string(:code.root_dir())
    bin = Path.join(root, "erts-#{:erlang.system_info(:version)}/bin")
    new = Path.join(System.tmp_dir!(), "muontrap_scratch_#{System.pid()}")
    File.mkdir_p!(new)
    on_exit(fn -> File.rmdir(new) end)
    paths = for app <- [:muontrap, :elixir, :logger], do: Path.join(:code.lib_dir(app), "ebin")
    flags = ["-boot", Path.join(root, "bin/start_clean"), "-noshell", "-pa"] ++ paths
    vm = [Path.join(bin, "erlexec") | flags] ++ ["-eval", code]

    # Nothing else is in its environment.
    env = ["ROOTDIR=#{root}", "BINDIR=#{bin}", "EMU=beam", "MUONTRAP_TOKEN=#{token}"]

    start =
      ["env", "-i", "PATH=#{System.get_env("PATH")}" | env] ++ ["sh", "-euc", @lay_out, "-", new]

    System.cmd("unshare", ["--mount"] ++ start ++ parts() ++ ["--"] ++ vm, stderr_to_stdout: true)
  end

  defp possible? do
    match?({_, 0}, System.cmd("unshare", ["--mount", "true"], stderr_to_stdout: true)) or
      Cgroups.announce("no mount namespace can be made")
  end

  # In Erlang, as there is no script to start Elixir with.
  defp code(muontrap, tree) do
    """
    {ok, _} = application:ensure_all_started(muontrap),
    {<<"muontrap ", _/binary>>, 0} = muontrap:cmd("#{muontrap}", ["--version"]),
    enoent = try muontrap:cmd("/bin/sh", []) catch error:Reason -> Reason end,
    spawn(fun() -> muontrap:cmd("#{tree}", [], [{delay_to_sigkill, 50}]) end),
    Wait = fun Wait() ->
      case 'Elixir.MuonTrap':list() of
        [#{"\#{stdout_bytes := N}"}] when N > 0 -> stands;
        _ -> receive after 10 -> Wait() end
      end
    end,
    io:put_chars(atom_to_list(Wait())), halt(0).
    """
  end

  test "a VM without a shell or /etc runs programs, and leaves nothing when it ends" do
    if possible?() do
      token = Trees.token()
      code = code(MuonTrap.muontrap_path(), Trees.program("daemonize"))
      {output, status} = run(code, token)
      # The VM of OTP 29 complains before that if it has no SCTP.
      assert {status, String.ends_with?(output, "stands")} == {0, true}, output
      assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    end
  end
end
