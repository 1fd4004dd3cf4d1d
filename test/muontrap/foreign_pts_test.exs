# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.ForeignPtsTest do
  @moduledoc "A VM whose `/dev/pts` is that of another container than its `/dev/ptmx`."

  use MuonTrap.Case

  alias MuonTrap.OtherVM

  # In a mount namespace of its own: nothing of it is seen elsewhere.
  @elsewhere """
  dev=$0/dev && mkdir -p "$dev" && mount -t tmpfs none "$dev" && mkdir "$dev/pts" "$dev/other" &&
  cp -a /dev/null /dev/zero /dev/urandom /dev/tty "$dev" && mount --bind /dev/pts "$dev/pts" &&
  mount -t devpts -o newinstance,ptmxmode=0666 none "$dev/other" && ln -s other/ptmx "$dev/ptmx" &&
  mount --move "$dev" /dev && exec "$@"
  """

  test "a program gets its terminal, and no other" do
    directory = OtherVM.directory()
    wrapper = ["unshare", "--mount", "sh", "-c", @elsewhere, directory]

    if OtherVM.possible?(wrapper) do
      code = ~S"""
      script = "test -t 0 && echo as typed >/dev/tty; cat; tty"
      {output, status} = MuonTrap.cmd("sh", ["-c", script], pty: true, input: "hello\n", timeout: 20_000)
      IO.inspect({String.split(output, "\r\n"), status})
      """

      assert {output, 0} = OtherVM.run(directory, wrapper, code)
      assert output =~ "as typed"
      assert output =~ ~r/"hello", .*"hello"/
      # The one with that number in /dev/pts, if there is one, is a stranger's.
      refute output =~ "/dev/pts/"
    end
  end
end
