# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ContainersTest do
  @moduledoc "The recipes of the guide on containers and systemd, as they stand there."

  use MuonTrap.Case

  alias MuonTrap.{Cgroups, OtherVM, Trees}

  @guide File.read!("guides/containers.md")
  @systemd "/lib/systemd/systemd"
  # Its hierarchy, where there is cgroup v1.
  @of_systemd "/sys/fs/cgroup/systemd"

  # A tree whose owner is killed, inside. `sleep` is called so long that nobody else's is counted.
  @owner_killed ~S"""
  [seconds] = System.argv()
  count = fn ->
    for pid <- File.ls!("/proc"), pid =~ ~r/^\d+$/,
        {:ok, "sleep\0" <> rest} <- [File.read("/proc/#{pid}/cmdline")], rest == seconds <> "\0", reduce: 0 do
      sum -> sum + 1
    end
  end
  wait = fn wait, wanted -> unless count.() == wanted, do: (Process.sleep(20); wait.(wait, wanted)) end

  script = "(setsid sleep $0 &) & sleep $0"
  owner = spawn(fn -> MuonTrap.cmd("sh", ["-c", script, seconds]) end)
  wait.(wait, 2)
  Process.exit(owner, :kill)
  wait.(wait, 0)

  spawn(fn -> MuonTrap.cmd("sh", ["-c", script, seconds]) end)
  wait.(wait, 2)
  IO.write("process #{System.pid()}: the tree of a killed owner is gone, another one runs")
  System.halt(0)
  """

  # What the guide starts the VM with.
  defp wrapper(first) do
    [_all, line] = Regex.run(~r/^(#{first} .*) \\\n  bin\/my_app start$/m, @guide)
    String.split(line)
  end

  for first <- ["unshare", "bwrap"] do
    test "in a container by #{first}, without root, all ends with the owner and with the VM" do
      wrapper = OtherVM.as_user() ++ wrapper(unquote(first))

      if OtherVM.possible?(wrapper) do
        seconds = "1#{System.pid()}#{System.unique_integer([:positive])}"
        said = "the tree of a killed owner is gone, another one runs"
        {output, status} = OtherVM.run(OtherVM.directory(), wrapper, @owner_killed, [seconds])

        assert {output, status} == {"process #{vm_pid(unquote(first))}: " <> said, 0}
        assert Trees.eventually(fn -> sleeping(seconds) == [] end)
      end
    end
  end

  # bubblewrap keeps process 1 for itself.
  defp vm_pid("unshare"), do: 1
  defp vm_pid("bwrap"), do: 2

  test "under systemd a unit with muontrap leaves nothing when it is stopped, and when muontrap is killed" do
    if systemd?() do
      seconds = "1#{System.pid()}#{System.unique_integer([:positive])}"
      tmp = Path.join(System.tmp_dir!(), "muontrap-#{Trees.token()}")
      File.mkdir_p!(tmp)
      on_exit(fn -> File.rm_rf!(tmp) end)

      worker = Path.join(tmp, "worker")
      File.write!(worker, "#!/bin/sh\n(setsid sleep #{seconds} &) & sleep #{seconds}\n")
      File.chmod!(worker, 0o755)

      [_all, unit] =
        Regex.run(
          ~r/^```ini\n(\[Service\]\nExecStart=\/usr\/local\/bin\/muontrap .*?)^```/ms,
          @guide
        )

      unit =
        unit
        |> String.replace("/usr/local/bin/muontrap", MuonTrap.muontrap_path())
        |> String.replace("/usr/local/bin/worker", worker)

      File.write!(Path.join(tmp, "worker.service"), unit)

      assert in_systemd(tmp, seconds) == """
             runs: 2
             stopped: 0
             runs: 2
             killed: 0
             """

      assert Trees.eventually(fn -> sleeping(seconds) == [] end)
    end
  end

  # A systemd of its own: in namespaces, with a /run of its own, and below a cgroup of this test, which is the top of
  # the hierarchy there.
  defp in_systemd(tmp, seconds) do
    group = Path.join(hierarchy(), "muontrap-#{Trees.token()}")
    File.mkdir!(group)

    on_exit(fn -> assert Trees.eventually(fn -> removed?(group) end) end)

    script = """
    set -e
    mount -t tmpfs none /run
    mkdir -p /run/systemd/system /run/user /run/group
    mount --bind "$GROUP" /run/group
    mount -t tmpfs none /sys/fs/cgroup
    case $HIERARCHY in
      */systemd) mkdir /sys/fs/cgroup/systemd && mount --move /run/group /sys/fs/cgroup/systemd ;;
      *) mount --move /run/group /sys/fs/cgroup ;;
    esac
    export XDG_RUNTIME_DIR=/run/user SYSTEMD_UNIT_PATH="$UNITS:"
    #{@systemd} --user --unit=worker.service --log-target=null </dev/null >/dev/null 2>&1 &
    count() { grep -slzx "$SECONDS_OF_SLEEP" /proc/[0-9]*/cmdline | xargs -r grep -slzx sleep | wc -l; }
    wait_for() { for _ in $(seq 600); do [ "$(count)" != "$1" ] || break; sleep 0.1; done; }
    wait_for 2; echo "runs: $(count)"
    systemctl --user stop worker.service; echo "stopped: $(count)"
    systemctl --user start worker.service
    wait_for 2; echo "runs: $(count)"
    systemctl --user kill --signal=KILL --kill-who=main worker.service
    wait_for 0; echo "killed: $(count)"
    """

    enter =
      "echo 0 > \"$GROUP/cgroup.procs\" && exec unshare --cgroup --mount --pid --fork --mount-proc --kill-child sh -c \"$0\""

    env = [
      {"GROUP", group},
      {"HIERARCHY", hierarchy()},
      {"UNITS", tmp},
      {"SECONDS_OF_SLEEP", seconds}
    ]

    {output, 0} =
      MuonTrap.cmd("sh", ["-c", enter, script], env: env, stderr_to_stdout: true, timeout: 300_000)

    output
  end

  # What the systemd has made in it, too. Its processes may still be on their way out.
  defp removed?(group) do
    args = [group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"]
    System.cmd("find", args, stderr_to_stdout: true)
    not File.exists?(group)
  end

  # That of systemd on a machine with cgroup v1.
  defp hierarchy do
    if File.exists?(Path.join(@of_systemd, "cgroup.procs")),
      do: @of_systemd,
      else: "/sys/fs/cgroup"
  end

  defp systemd? do
    cond do
      not Cgroups.root?() ->
        Cgroups.announce("root is needed to start a systemd")

      not File.exists?(@systemd) ->
        Cgroups.announce("there is no systemd")

      not File.exists?(Path.join(hierarchy(), "cgroup.procs")) ->
        Cgroups.announce("there is no cgroup hierarchy for a systemd")

      hierarchy() == @of_systemd and systemd_version() >= 258 ->
        Cgroups.announce("a systemd of version 258 or later does not run with cgroup v1")

      true ->
        true
    end
  end

  # "systemd 252 (252.36-1~deb12u1)"
  defp systemd_version do
    {text, 0} = System.cmd(@systemd, ["--version"])
    [_all, version] = Regex.run(~r/^systemd (\d+)/, text)
    String.to_integer(version)
  end

  defp sleeping(seconds) do
    for pid <- File.ls!("/proc"),
        pid =~ ~r/^\d+$/,
        {:ok, "sleep\0" <> rest} <- [File.read("/proc/#{pid}/cmdline")],
        rest == seconds <> "\0",
        do: pid
  end
end
