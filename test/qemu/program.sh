#!/bin/sh
# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0
#
#   test/qemu/program.sh FOLDER
#
# The programs of an archive, unpacked into FOLDER: what `muontrap` promises, without a VM. They are linked statically,
# so those for musl run on any user land.

set -u
muontrap=$1/muontrap
token=token-$$-end
# In sessions of their own, forked twice, deaf to SIGTERM.
tree="trap '' TERM; setsid sleep 1000 & (setsid sleep 1000 &) & sleep 1000 & echo ready; sleep 1000"

fail() { echo "FAILED: $*" >&2; exit 1; }
carrying() { grep -lsa "MUONTRAP_TOKEN=$token" /proc/[0-9]*/environ | wc -l; }
stands() { [ "$(carrying)" -ge 4 ]; }
gone() { [ "$(carrying)" = 0 ]; }

# within two minutes
holds() {
  attempts=1200
  until "$1"; do
    attempts=$((attempts - 1))
    [ $attempts -gt 0 ] || return 1
    sleep 0.1
  done
}

status() { # WANTED ARG...
  wanted=$1
  shift
  found=0
  # The input stays open as long as it runs.
  "$muontrap" "$@" <&3 >/dev/null 2>&1 || found=$?
  [ $found = "$wanted" ] || fail "muontrap $* ended with $found, expected $wanted"
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkfifo "$folder/input"
exec 3<>"$folder/input"

"$muontrap" --version || fail "no version"
"$1/muontrap_spawner" </dev/null 2>&1 | grep "It is started by the VM" >/dev/null || fail "the spawner does not start"

status 3 -- sh -c "exit 3"
status 137 -- sh -c 'kill -KILL $$'
status 127 -- no-such-program
status 126 -- /etc/passwd
status 124 --timeout 100 -- sleep 1000
echo "statuses: ok"

output=$("$muontrap" --pass-stdio -- seq 1 100000 | cksum)
[ "$output" = "$(seq 1 100000 | cksum)" ] || fail "output was lost"
echo "output: ok"

# What is left when it ends by itself.
env MUONTRAP_TOKEN=$token "$muontrap" -- sh -c "setsid sleep 1000 & (setsid sleep 1000 &) & exit 0" <&3
gone || fail "a program that ended left processes"
echo "end of the program: ok"

# The one who holds the input is gone.
mkfifo "$folder/owned"
env MUONTRAP_TOKEN=$token "$muontrap" -k 100 -- sh -c "$tree" <"$folder/owned" 3>&- &
exec 4>"$folder/owned"
holds stands || fail "no tree"
exec 4>&-
holds gone || fail "the end of the input left processes"
echo "end of the input: ok"

env MUONTRAP_TOKEN=$token "$muontrap" -k 100 -- sh -c "$tree" <&3 &
pid=$!
holds stands || fail "no tree"
kill -KILL $pid
holds gone || fail "SIGKILL to muontrap left processes"
echo "SIGKILL to muontrap: ok"
