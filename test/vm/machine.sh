# shellcheck shell=bash
# shellcheck disable=SC2016 # the quoted programs are for other shells
# shellcheck disable=SC2154 # test/vm/run sets what is not set here
# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0
#
# One run of the machine.

# The command with its folder and environment, as a script.
command_script() {
  local name
  while IFS= read -r name; do
    case $name in
      PATH | LANG | CI) ;;
      HOME) [ -z "$user" ] || continue ;;
      MIX_* | ERL_* | ELIXIR_* | RUST* | CARGO_* | MUONTRAP_*) ;;
      *) continue ;;
    esac
    printf 'export %s=%q\n' "$name" "${!name}"
  done < <(compgen -e)
  printf 'export LC_ALL=C.UTF-8\ncd %q || exit 125\nexec' "$dir"
  printf ' %q' "$@"
  echo
}

finish_initramfs() (
  into=$work/initramfs
  mkdir -p "$into/vm"
  cd "$into"
  cp "$here/guest/init" init
  chmod 755 init
  cp "$here/guest/session" vm/session
  command_script "$@" >vm/command
  printf '%s=%q\n' kernel "$kernel" dir "$dir" mode "$mode" user "$user" >vm/settings
  { cat "$kernel_dir/initramfs"; find . | cpio --quiet -o -H newc; } >"$work/initrd"
)

# Puts together what the guest may see: the root read-only, DIR, and a folder
# for the answer. Called in a mount namespace of its own, so that nothing is
# mounted anywhere else.
lay_out() { # SHARE ROOT DIR EXCHANGE
  mount -t tmpfs -o mode=755 share "$1"
  mkdir "$1/root" "$1/dir" "$1/exchange"
  mount --bind "$2" "$1/root"
  mount -o remount,bind,ro "$1/root"
  mount --bind "$3" "$1/dir"
  mount --bind "$4" "$1/exchange"
}

# Sets processor to one that this process may run on and that no other machine has, if there is such.
take_processor() {
  local list part
  list=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
  for processor in $(for part in ${list//,/ }; do seq "${part%-*}" "${part#*-}"; done | shuf); do
    # Held as long as the machine runs.
    exec 8>"$cache/processor-$processor"
    ! flock -n 8 || return 0
  done
}

run_uml() {
  local args=(mem="${mem}M" initrd=/tmp/initrd con=null "con0=null,fd:1" seccomp=auto)
  [ "${VM_VERBOSE:-0}" = 2 ] || args+=(quiet)
  [ "$mode" != v2 ] || args+=(cgroup_no_v1=all)
  # A process namespace: when its first process ends, all the others do. On one
  # processor: they take turns anyhow, and waking one on another is far slower.
  take_processor
  timeout -k 5 "$limit" taskset -c "$processor" unshare --mount --pid --fork --kill-child bash -euc "$(declare -f lay_out)"'
    at=$1 initrd=$2
    lay_out "$at/share" "$3" "$4" "$5"
    shift 5
    mount -t proc proc "$at/proc"
    mount --rbind /dev "$at/dev"
    mount -t tmpfs -o size=100% tmp "$at/tmp"
    cp "$initrd" "$at/tmp/initrd"
    trap "exit 143" TERM
    HOME=/tmp TMPDIR=/tmp chroot "$at" /usr/bin/linux.uml "$@" &
    wait $!' - "$kernel_dir/root" "$work/initrd" "$root" "$dir" "$work/exchange" "${args[@]}" \
    </dev/null >"$work/console" 2>"$work/log" &
  machine=$!
  started+=("$machine")
}

# Hands the files to QEMU.
serve_files() {
  local server=/usr/lib/qemu/virtiofsd n
  [ -x "$server" ] || die "found no $server"
  mkdir "$work/share"
  unshare --mount bash -euc "$(declare -f lay_out)"'
    lay_out "$1" "$2" "$3" "$4"
    exec "$5" --socket-path="$6" -o source="$1" -o cache=always' - \
    "$work/share" "$root" "$dir" "$work/exchange" "$server" "$work/socket" >"$work/log" 2>&1 &
  started+=($!)
  for n in $(seq 200); do
    [ ! -S "$work/socket" ] || return 0
    kill -0 "${started[-1]}" 2>/dev/null || break
    sleep 0.05
  done
  cat "$work/log" >&2
  die "the file server did not start"
}

run_qemu() {
  local cpus
  cpus=$(nproc)
  [ "$cpus" -le 4 ] || cpus=4
  local qemu=(qemu-system-x86_64) append="console=ttyS0 panic=-1 mitigations=off"
  [ ! -x "$cache/qemu/usr/bin/qemu-system-x86_64" ] ||
    qemu=("$cache/qemu/usr/bin/qemu-system-x86_64" -L "$cache/qemu/usr/share/qemu" -L /usr/share/seabios)
  if grep -Eqw 'vmx|svm' /proc/cpuinfo && [ -w /dev/kvm ]; then
    qemu+=(-accel kvm -cpu host)
  else
    # An older model, which is quicker to emulate: a steady clock, and none of
    # the newest string instructions.
    qemu+=(-accel "tcg,thread=multi" -cpu Nehalem)
  fi
  [ "${VM_VERBOSE:-0}" = 2 ] || append+=" quiet"
  [ "$mode" != v2 ] || append+=" cgroup_no_v1=all"
  serve_files
  timeout -k 5 "$limit" "${qemu[@]}" -smp "$cpus" -m "$mem" \
    -object "memory-backend-memfd,id=ram,size=${mem}M,share=on" -machine q35,memory-backend=ram \
    -nodefaults -no-user-config -display none -no-reboot -serial "file:$work/console" \
    -kernel "$kernel_dir/vmlinuz" -initrd "$work/initrd" -append "$append" \
    -chardev "socket,id=files,path=$work/socket" \
    -device vhost-user-fs-pci,chardev=files,tag=share,queue-size=1024 \
    </dev/null >>"$work/log" 2>&1 &
  machine=$!
  started+=("$machine")
}

# Prints the command's output as it comes, and exits with its status.
answer() {
  local ended=0 status
  tail -n +1 -s 0.1 -f --pid="$machine" "$work/exchange/output" &
  started+=($!)
  wait "$machine" || ended=$?
  wait "${started[-1]}" || true
  [ "${VM_VERBOSE:-0}" != 2 ] || cat "$work/console" >&2
  status=$(cat "$work/exchange/status" 2>/dev/null || true)
  [ -z "$status" ] || exit "$status"
  if [ "$ended" = 124 ] || [ "$ended" = 137 ]; then
    echo "test/vm/run: stopped after $limit s" >&2
    exit 124
  fi
  tail -n 40 "$work/log" "$work/console" >&2 || true
  die "the machine ended without an answer"
}

# No other kernel: the user land of $root, over this host's kernel and cgroups.
run_here() {
  command_script "$@" >"$work/command"
  mkdir "$work/share"
  timeout -k 5 "$limit" unshare --mount --pid --fork --kill-child bash -euc "$(declare -f lay_out)"'
    share=$1 dir=$3 exchange=$4
    lay_out "$@"
    mkdir "$share/upper" "$share/work" "$share/new"
    mount -t overlay -o "lowerdir=$share/root,upperdir=$share/upper,workdir=$share/work" root "$share/new"
    cd "$share/new"
    mkdir -p ".$dir" ".$exchange" proc sys dev
    mount --bind "$dir" ".$dir"
    mount --bind "$exchange" ".$exchange"
    mount -t proc proc proc
    mount --rbind /sys sys
    mount --rbind /dev dev
    trap "exit 143" TERM
    chroot . /bin/bash "$exchange/command" &
    wait $!' - "$work/share" "$root" "$dir" "$work" </dev/null &
  started+=($!)
  wait $! || exit
}

