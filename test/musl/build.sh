# shellcheck shell=bash
# shellcheck disable=SC2154 # test/musl/run sets what is not set here
# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0
#
# Builds the VM in $vm, laid out as Debian's /usr: musl, Erlang and Elixir. It must stay there, since the paths
# of musl and of Erlang are in its files.

# What a project without Hex dependencies needs to be compiled and tested.
beams=(elixir erlang-{base,dev,tools,crypto,asn1,public-key,ssl,inets,parsetools,syntax-tools,runtime-tools})

# source_of PACKAGE FOLDER: unpacks upstream's part of the newest source package that the mirror has.
source_of() {
  local version
  mkdir -p "$work/archives" "$2"
  for version in $(apt-cache "${apt_options[@]}" showsrc "$1" | sed -n 's/^Version: //p' | sort -rVu); do
    rm -f "$work"/archives/*
    (cd "$work/archives" && apt-get "${apt_options[@]}" source --tar-only "$1=$version") >"$work/log" 2>&1 || continue
    quietly tar -xf "$(echo "$work"/archives/*.orig.tar.*z)" -C "$2" --strip-components=1
    return
  done
  cat "$work/log" >&2
  die "the mirror has no source of $1"
}

# As musl-gcc, which knows musl in /usr alone. The headers of the kernel are put beside those of musl.
make_compiler() {
  local specs=$vm/usr/lib/$machine-linux-musl/musl-gcc.specs include=$vm/usr/include
  sed -i "s|/usr/|$vm/usr/|g; s|-dynamic-linker /lib/|-dynamic-linker $vm/usr/lib/|" "$specs"
  ln -s ../linux ../asm-generic "$include/$machine-linux-musl/"
  ln -s "../$machine-linux-gnu/asm" "$include/$machine-linux-musl/asm"
  printf '#!/bin/sh\nexec gcc "$@" -specs "%s"\n' "$specs" >"$vm/cc"
  chmod 755 "$vm/cc"
}

# Linked statically into crypto.so.
build_openssl() {
  note "building OpenSSL"
  source_of openssl "$work/openssl"
  cd "$work/openssl"
  quietly ./Configure "linux-$machine" --prefix="$work/ssl" --libdir=lib \
    no-asm no-shared no-module no-tests no-apps no-docs no-engine no-tls no-dtls no-legacy -fPIC
  quietly make -j"$(nproc)" build_generated libcrypto.a libssl.a
  quietly make install_dev
}

# The emulator without its JIT, which would need musl for C++, the programs beside it, and two libraries in C.
build_otp() {
  local application built programs
  note "building Erlang"
  source_of erlang "$work/otp"
  cd "$work/otp"
  # Without TARGET the makefiles of an application ask for it, and this machine is none of musl.
  export ERL_TOP=$work/otp TARGET=$machine-pc-linux-musl
  quietly ./configure --build="$TARGET" --disable-jit --without-{termcap,javac,odbc,wx} \
    --with-ssl="$work/ssl" --disable-dynamic-ssl-lib
  quietly make -j"$(nproc)" -C lib/erl_interface opt
  quietly make -j"$(nproc)" emulator
  for application in crypto asn1; do quietly make -C "lib/$application/c_src" opt; done

  programs=$(echo "$vm"/usr/lib/erlang/erts-*/bin)
  for built in bin/"$TARGET"/*; do
    [ ! -e "$programs/${built##*/}" ] || cp --remove-destination "$built" "$programs/"
  done
  for application in crypto asn1; do
    cp lib/"$application"/priv/lib/"$TARGET"/*.so "$(echo "$vm/usr/lib/erlang/lib/$application"-*/priv/lib)"
  done
  for built in erlc escript; do cp --remove-destination "$programs/$built" "$vm/usr/lib/erlang/bin/"; done
  # A VM has that beside its emulator first in PATH.
  sed -i "s|ROOTDIR=/usr/lib/erlang|ROOTDIR=$vm/usr/lib/erlang|" "$vm/usr/lib/erlang/bin/erl" "$programs/erl"
}

build_vm() (
  [ ! -e "$vm.done" ] || exit 0
  note "building the VM in $vm"
  machine=$(uname -m)
  use_suite trixie "$(dpkg --print-architecture)"
  sed -i 'p; s/^deb /deb-src /' "$cache/apt-trixie-$(dpkg --print-architecture)/sources.list"
  quietly apt-get "${apt_options[@]}" update
  rm -rf "$vm"
  unpack "$vm" musl musl-dev musl-tools linux-libc-dev "${beams[@]}"
  make_compiler
  export CC=$vm/cc
  build_openssl
  build_otp
  "$vm/usr/lib/erlang/bin/erl" -noshell -eval 'crypto:hash(sha256, <<>>), halt().' || die "the VM does not run"
  grep -q ld-musl "$(echo "$vm"/usr/lib/erlang/erts-*/bin/beam.smp)" || die "the VM is not one of musl"
  touch "$vm.done"
)
