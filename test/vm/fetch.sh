# shellcheck shell=bash
# shellcheck disable=SC2154 # test/vm/run sets what is not set here
# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0
#
# Kernels and user lands from Debian's mirrors, unpacked into the cache.

# What a project without Hex dependencies needs to be compiled and tested.
suite_packages=elixir,erlang-dev,erlang-tools,procps,iputils-ping

apt_options=(-qq -o DPkg::Lock::Timeout=600 -o APT::Sandbox::User=root)

# Runs a command that prints nothing unless it fails.
quietly() {
  "$@" >"$work/log" 2>&1 </dev/null || { cat "$work/log" >&2; die "failed: $*"; }
}

own_suite() { (. /etc/os-release && echo "$VERSION_CODENAME"); }

# use_suite SUITE [ARCHITECTURE]: makes apt_options look at one other suite alone, on the mirror that this
# machine's apt uses already, and sets mirror. The machine's own apt stays as it is. With an architecture nothing
# counts as installed.
use_suite() {
  local state=$cache/apt-$1${2:+-$2} keys=/usr/share/keyrings/debian-archive-keyring.gpg
  # shellcheck disable=SC2016 # apt's own variables
  mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' 'Created-By: Packages' |
    awk -v own="$(own_suite)" '$2 == own { print $1; exit }')
  [ -n "$mirror" ] || die "found no Debian mirror in this machine's apt settings"
  mkdir -p "$state/lists/partial" "$state/archives/partial"
  echo "deb [signed-by=$keys] $mirror $1 main" >"$state/sources.list"
  apt_options+=(-o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state"
    -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false)
  [ -n "${2:-}" ] || return 0
  : >"$state/status"
  apt_options+=(-o "APT::Architecture=$2" -o "APT::Architectures=$2" -o "Dir::State::status=$state/status")
}

# unpack FOLDER PACKAGE...: unpacks packages into a folder without installing them.
unpack() {
  local into=$1 deb
  shift
  mkdir -p "$into" "$work/debs"
  (cd "$work/debs" && quietly apt-get "${apt_options[@]}" download "$@") || exit
  for deb in "$work"/debs/*.deb; do quietly dpkg -x "$deb" "$into"; done
  rm -rf "$work/debs"
}

install_tools() {
  local entry missing=() wanted=()
  [ "$kernel" = host ] || wanted+=(cpio:cpio modprobe:kmod busybox:busybox-static xz:xz-utils)
  case $kernel in host | uml) ;; *) wanted+=(qemu-system-x86_64:qemu-system-x86) ;; esac
  [ -z "$suite" ] || wanted+=(debootstrap:debootstrap)
  for entry in "${wanted[@]}"; do
    command -v "${entry%%:*}" >/dev/null || missing+=("${entry#*:}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  note "installing ${missing[*]}"
  quietly apt-get "${apt_options[@]}" update
  quietly env DEBIAN_FRONTEND=noninteractive \
    apt-get "${apt_options[@]}" install -y --no-install-recommends "${missing[@]}"
}

# start_initramfs TREE RELEASE MODULE...: a shell and the modules that lead to the root file system;
# TREE has them in lib/modules. Written to ./initramfs.
start_initramfs() {
  local tree=$1 release=$2 module file name into=$work/initramfs-start
  shift 2
  rm -rf "$into"
  mkdir -p "$into"/{bin,proc,sys,dev,share,upper,new,modules}
  quietly depmod -b "$tree" "$release"
  for module; do
    modprobe -d "$tree" -S "$release" --show-depends "$module" ||
      die "kernel $release has no $module"
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$work/modules"
  while read -r file; do
    name=$(basename "${file%.xz}")
    case $file in *.xz) xz -dc "$file" ;; *) cat "$file" ;; esac >"$into/modules/$name"
    echo "$name"
  done <"$work/modules" >"$into/modules/list"
  cp "$(command -v busybox)" "$into/bin/busybox"
  (cd "$into" && find . | cpio --quiet -o -H newc) >initramfs
}

kernel_depends() { # NAME PACKAGE: the packages of that name that PACKAGE depends on
  apt-cache "${apt_options[@]}" depends --important "$2" |
    awk -v name="Depends: $1-" '$0 ~ name { print $2 }'
}

# Leaves the kernel and the start of its initramfs in kernel_dir.
fetch_kernel() (
  [ ! -e "$kernel_dir/initramfs" ] || exit 0
  note "fetching kernel $kernel"
  new=$work/kernel
  mkdir -p "$new"
  cd "$new"
  case $kernel in
    uml) fetch_uml ;;
    *) fetch_stock_kernel ;;
  esac
  rm -rf tree "$kernel_dir"
  mv "$new" "$kernel_dir"
)

fetch_uml() {
  # Older ones cannot save the registers of a recent processor. It gets the C library that it was
  # made for.
  use_suite forky
  quietly apt-get "${apt_options[@]}" update
  unpack root user-mode-linux libc6 libgcc-s1
  [ -e root/lib64 ] || ln -s usr/lib64 root/lib64
  [ -e root/lib ] || ln -s usr/lib root/lib
  mkdir -p tree/lib root/proc root/dev root/tmp root/share
  mv root/usr/lib/uml/modules tree/lib/modules
  start_initramfs "$PWD/tree" "$(basename tree/lib/modules/*)" overlay
  rm -rf root/usr/share root/usr/lib/x86_64-linux-gnu/gconv
}

fetch_stock_kernel() {
  local package newest release parts
  case $kernel in
    5.10) package=linux-image-cloud-amd64 && use_suite bullseye ;;
    6.1) package=linux-image-cloud-amd64 && use_suite bookworm ;;
    6.12) package=linux-image-cloud-amd64 && use_suite trixie ;;
  esac
  quietly apt-get "${apt_options[@]}" update
  # The usual name stands for the newest of a series, and depends on it.
  newest=$(kernel_depends linux-image "$package")
  package=${newest:-$package}
  mapfile -t parts < <(kernel_depends 'linux-(base|binary|modules)' "$package")
  unpack tree "$package" "${parts[@]}"
  [ -d tree/lib/modules ] || ln -s usr/lib tree/lib
  release=$(basename tree/lib/modules/*)
  mv "$(find tree -name 'vmlinuz*' -type f | head -n 1)" vmlinuz
  start_initramfs "$PWD/tree" "$release" virtio_pci virtiofs overlay
}

# Debian 12's QEMU takes three times as long to emulate a fork as the one in its backports, which
# runs on the same libraries.
fetch_qemu() (
  [ ! -e "$cache/qemu" ] && [ "$(own_suite)" = bookworm ] || exit 0
  note "fetching QEMU"
  use_suite bookworm-backports
  quietly apt-get "${apt_options[@]}" update
  unpack "$work/qemu" qemu-system-x86 qemu-system-common qemu-system-data
  "$work/qemu/usr/bin/qemu-system-x86_64" --version >/dev/null || rm -rf "$work/qemu"/*
  mv "$work/qemu" "$cache/qemu"
)

fetch_root() (
  [ ! -e "$root.done" ] || exit 0
  note "installing $suite in $root"
  use_suite "$suite"
  rm -rf --one-file-system "$root"
  scripts=/usr/share/debootstrap/scripts
  script=$scripts/$suite
  [ -e "$script" ] || script=$scripts/sid # a suite newer than debootstrap
  quietly debootstrap --variant=minbase --include="$suite_packages" \
    "$suite" "$root" "$mirror" "$script"
  rm -rf "$root"/var/cache/apt/archives/*.deb
  touch "$root.done"
)

# Of trixie, since that of bookworm cannot run OTP. It is linked statically.
fetch_qemu_user() (
  [ ! -e "$cache/qemu-user" ] || exit 0
  note "fetching qemu-user"
  use_suite trixie
  quietly apt-get "${apt_options[@]}" update
  unpack "$work/qemu-user" qemu-user
  mv "$work/qemu-user" "$cache/qemu-user"
)

# Packages of another architecture with all that they depend on, unpacked into $root. Nothing of it is run for that.
fetch_foreign_root() ( # ARCHITECTURE
  [ ! -e "$root.done" ] || exit 0
  note "unpacking trixie for $1 in $root"
  use_suite trixie "$1"
  quietly apt-get "${apt_options[@]}" update
  debs=$work/foreign
  mkdir -p "$debs/partial"
  quietly apt-get "${apt_options[@]}" -o "Dir::Cache::archives=$debs" -y --no-install-recommends --download-only \
    install base-files bash coreutils dash findutils libc-bin grep sed util-linux ${suite_packages//,/ }
  rm -rf --one-file-system "$root"
  mkdir -p "$root"
  for deb in "$debs"/*.deb; do quietly dpkg -x "$deb" "$root"; done
  rm -rf "$debs"
  echo "root:x:0:0:root:/root:/bin/bash" >"$root/etc/passwd"
  echo "root:x:0:" >"$root/etc/group"
  touch "$root.done"
)
