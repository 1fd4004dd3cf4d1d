# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("mix/native/build.exs", Path.expand("../..", __DIR__))

defmodule MuonTrap.Build.TargetTest do
  @moduledoc "Which machine is built for, and whether a binary is for it."

  use ExUnit.Case, async: true

  import MuonTrap.Builds, only: [elf: 2, elf: 3]

  alias MuonTrap.Build.{Elf, Target}
  alias MuonTrap.Cgroups

  # What systems of Nerves set, and other build systems.
  @environments [
    {"rpi4",
     %{
       "TARGET_ARCH" => "aarch64",
       "TARGET_OS" => "linux",
       "TARGET_ABI" => "gnu",
       "TARGET_CPU" => "cortex_a72"
     }, "aarch64-unknown-linux-gnu"},
    {"rpi0",
     %{
       "TARGET_ARCH" => "arm",
       "TARGET_OS" => "linux",
       "TARGET_ABI" => "gnueabihf",
       "TARGET_CPU" => "arm1176jzf_s"
     }, "arm-unknown-linux-gnueabihf"},
    {"bbb",
     %{
       "TARGET_ARCH" => "arm",
       "TARGET_OS" => "linux",
       "TARGET_ABI" => "gnueabihf",
       "TARGET_CPU" => "cortex_a8"
     }, "armv7-unknown-linux-gnueabihf"},
    {"ev3",
     %{
       "TARGET_ARCH" => "arm",
       "TARGET_OS" => "linux",
       "TARGET_ABI" => "gnueabi",
       "TARGET_CPU" => "arm926ej_s"
     }, "armv5te-unknown-linux-gnueabi"},
    {"x86_64", %{"TARGET_ARCH" => "x86_64", "TARGET_OS" => "linux", "TARGET_ABI" => "musl"},
     "x86_64-unknown-linux-musl"},
    {"mangopi", %{"TARGET_ARCH" => "riscv64", "TARGET_OS" => "linux", "TARGET_ABI" => "gnu"},
     "riscv64gc-unknown-linux-gnu"},
    {"an old system", %{"CROSSCOMPILE" => "/opt/toolchain/bin/armv7-nerves-linux-gnueabihf"},
     "armv7-unknown-linux-gnueabihf"},
    {"a compiler", %{"CC" => "/usr/bin/aarch64-linux-gnu-gcc-12 --sysroot=/sys"},
     "aarch64-unknown-linux-gnu"},
    {"Yocto", %{"CC" => "aarch64-poky-linux-gcc -mcpu=cortex-a53"}, "aarch64-unknown-linux-gnu"},
    {"cargo", %{"CARGO_BUILD_TARGET" => "x86_64-unknown-linux-musl"},
     "x86_64-unknown-linux-musl"},
    {"all of them",
     %{
       "MUONTRAP_NATIVE_TARGET" => "riscv64gc-unknown-linux-gnu",
       "TARGET_ARCH" => "arm",
       "CARGO_BUILD_TARGET" => "x86_64-unknown-linux-musl"
     }, "riscv64gc-unknown-linux-gnu"},
    {"variables without a value",
     %{"TARGET_ARCH" => "", "CC" => " ", "CARGO_BUILD_TARGET" => "i686-unknown-linux-gnu"},
     "i686-unknown-linux-gnu"}
  ]

  for {name, env, triple} <- @environments do
    test "knows the target of #{name}" do
      assert %Target{triple: unquote(triple), from: from} =
               Target.resolve(unquote(Macro.escape(env)))

      assert is_binary(from)
    end
  end

  test "takes this machine where nothing names one, whatever its compiler is called" do
    {:ok, vm} = Target.vm()

    for env <- [%{}, %{"CC" => "gcc"}, %{"CC" => "clang-15"}, %{"CC" => "ccache gcc"}] do
      target = Target.resolve(env)
      assert target.from == nil
      assert Elf.mismatches(vm, Elf.wanted(target.triple)) == []
    end
  end

  test "tells machine, word size, byte order, float and C library of a binary" do
    for {machine, interpreter, triple} <- [
          {"x86_64", "/lib64/ld-linux-x86-64.so.2", "x86_64-unknown-linux-gnu"},
          {"x86_64", "/lib/ld-musl-x86_64.so.1", "x86_64-unknown-linux-musl"},
          {"aarch64", "/lib/ld-linux-aarch64.so.1", "aarch64-unknown-linux-gnu"},
          {"armhf", "/lib/ld-linux-armhf.so.3", "armv7-unknown-linux-gnueabihf"},
          {"armel", "/lib/ld-linux.so.3", "arm-unknown-linux-gnueabi"},
          {"riscv64", "/lib/ld-linux-riscv64-lp64d.so.1", "riscv64gc-unknown-linux-gnu"},
          {"s390x", "/lib/ld64.so.1", "s390x-unknown-linux-gnu"}
        ] do
      {:ok, elf} = Elf.parse(elf(machine, interpreter))
      assert elf.interpreter == interpreter
      assert Elf.mismatches(elf, Elf.wanted(triple)) == []

      for other <- ["powerpc64-unknown-linux-gnu"],
          do: assert(Elf.mismatches(elf, Elf.wanted(other)) != [])
    end

    {:ok, hard} = Elf.parse(elf("armhf", nil))
    assert Elf.mismatches(hard, Elf.wanted("arm-unknown-linux-gnueabi")) == [:float]
    {:ok, musl} = Elf.parse(elf("x86_64", "/lib/ld-musl-x86_64.so.1"))
    assert Elf.mismatches(musl, Elf.wanted("x86_64-unknown-linux-gnu")) == [:libc]
  end

  test "reads what a real library and program need" do
    {:ok, nif} = Elf.parse(File.read!(Application.app_dir(:muontrap, "priv/muontrap_nif.so")))
    {:ok, vm} = Target.vm()

    assert Map.take(nif, [:machine, :bits, :endian, :libc]) ==
             Map.take(vm, [:machine, :bits, :endian, :libc])

    assert nif.needed != []
    if nif.libc == :glibc, do: assert(Enum.any?(nif.versions, &(&1 =~ "GLIBC_2.")))
  end

  # Debian 10, RHEL 8.
  test "archives need no glibc after 2.28" do
    archives = Path.wildcard(Path.expand("../../_build/precompiled/*-gnu*.tar.gz", __DIR__))

    if archives == [],
      do: Cgroups.announce("bin/precompile has built no archive, whose glibc could be looked at")

    for archive <- archives do
      {:ok, files} = :erl_tar.extract(to_charlist(archive), [:compressed, :memory])

      for {name, content} <- files,
          {:ok, elf} = Elf.parse(content),
          "GLIBC_2." <> minor <- elf.versions do
        {minor, _patch} = Integer.parse(minor)
        assert minor <= 28, "#{name} of #{archive} needs GLIBC_2.#{minor}"
      end
    end
  end

  test "does not break on a file that is cut off anywhere, or is none" do
    whole = elf("x86_64", "/lib64/ld-linux-x86-64.so.2")

    for size <- 0..(byte_size(whole) - 1),
        result = Elf.parse(binary_part(whole, 0, size)),
        do: assert(result == :error or match?({:ok, _elf}, result))

    for text <- [
          "",
          "#!/bin/sh\n",
          String.duplicate(<<255>>, 200),
          "\x7fELF\x02\x01" <> String.duplicate(<<255>>, 200)
        ],
        do: assert(Elf.parse(text) == :error)

    assert {:ok, %{libc: nil}} = Elf.parse(elf("aarch64", nil, "and more"))
  end
end
