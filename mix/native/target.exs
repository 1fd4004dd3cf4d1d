# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Build.Target do
  @moduledoc false
  # Which machine is built for, and with which linker: from the environment, else this machine.
  #
  # `from` is the variable that said so, `nil` for this machine.

  alias MuonTrap.Build.Elf

  defstruct [:triple, :from, :linker]

  # The first pattern that fits is the one: {TARGET_CPU, architecture of the triple}.
  @arm_processors [
    {~r/^cortex[-_]?a/i, "armv7"},
    {~r/^arm(9|v5)/i, "armv5te"}
  ]

  @toolchain ~r/^(?<arch>[a-z0-9_]+)(-[a-z0-9_]+)?-(?<os>linux|elf|darwin\d*)(-(?<abi>[a-z0-9_]+))?$/

  @doc "Reads the environment, a map. Raises `Mix.Error` where it names what is no Linux."
  def resolve(env) do
    env = Map.reject(env, fn {_name, value} -> String.trim(value) == "" end)

    target =
      explicit(env, "MUONTRAP_NATIVE_TARGET") || nerves(env) || toolchain(env) ||
        explicit(env, "CARGO_BUILD_TARGET") || host()

    unless target.triple =~ "linux" do
      Mix.raise(
        "muontrap runs on Linux alone, got: #{target.triple}#{said(target)}. " <>
          "Compile it where it shall run, in a container for example, or name a Linux target."
      )
    end

    target
  end

  @doc "Who said so, for the end of a sentence."
  def said(%{from: nil}), do: " (this machine)"
  def said(%{from: from}), do: " (from #{from})"

  defp explicit(env, name) do
    with triple when triple != nil <- env[name], do: %__MODULE__{triple: triple, from: name}
  end

  # What a Nerves system sets.
  defp nerves(%{"TARGET_ARCH" => arch} = env) do
    triple = triple(arch, env["TARGET_OS"] || "linux", env["TARGET_ABI"], env["TARGET_CPU"])
    %__MODULE__{triple: triple, from: "TARGET_ARCH", linker: compiler(env)}
  end

  defp nerves(_env), do: nil

  # What an older one sets, and other build systems.
  defp toolchain(env) do
    from_prefix(env, "CROSSCOMPILE", env["CROSSCOMPILE"]) ||
      from_prefix(env, "CC", env["CC"] && cross_compiler(env["CC"]))
  end

  defp from_prefix(env, name, prefix) when is_binary(prefix) do
    case Regex.named_captures(@toolchain, prefix |> Path.basename() |> String.trim_trailing("-")) do
      %{"arch" => arch, "os" => "linux", "abi" => abi} ->
        abi = if abi == "", do: nil, else: abi
        triple = triple(arch, "linux", abi, env["TARGET_CPU"])
        %__MODULE__{triple: triple, from: name, linker: compiler(env)}

      _other ->
        nil
    end
  end

  defp from_prefix(_env, _name, nil), do: nil

  # aarch64-linux-gnu of /usr/bin/aarch64-linux-gnu-gcc-12 --sysroot=...
  defp cross_compiler(cc) do
    [program | _flags] = String.split(cc)

    case Regex.run(~r/^(.+)-(gcc|clang|cc)(-[\d.]+)?$/, Path.basename(program)) do
      [_, prefix | _] -> prefix
      nil -> nil
    end
  end

  defp compiler(%{"CC" => cc}), do: cc
  defp compiler(%{"CROSSCOMPILE" => prefix}), do: String.trim_trailing(prefix, "-") <> "-gcc"
  defp compiler(_env), do: nil

  @doc "The triple of Rust's for a machine as compilers name it."
  def triple(arch, os, abi, cpu) do
    arch = architecture(arch, cpu)
    "#{arch}-unknown-#{os}-#{abi || if(arch =~ ~r/^arm/, do: "gnueabihf", else: "gnu")}"
  end

  defp architecture("arm", cpu) do
    Enum.find_value(@arm_processors, "arm", fn {pattern, architecture} ->
      if cpu && cpu =~ pattern, do: architecture
    end)
  end

  defp architecture("armv7" <> _rest, _cpu), do: "armv7"
  defp architecture("armv6" <> _rest, _cpu), do: "arm"
  defp architecture("armv5" <> _rest, _cpu), do: "armv5te"
  defp architecture("arm64", _cpu), do: "aarch64"
  defp architecture("amd64", _cpu), do: "x86_64"
  defp architecture("riscv64", _cpu), do: "riscv64gc"
  defp architecture("i" <> <<_digit>> <> "86", _cpu), do: "i686"
  defp architecture(arch, _cpu), do: arch

  # The VM tells what it is: it has to load the library.
  defp host do
    case vm() do
      {:ok, elf} ->
        case Elf.triple(elf) do
          {:ok, triple} -> %__MODULE__{triple: triple}
          :error -> %__MODULE__{triple: told()}
        end

      :error ->
        %__MODULE__{triple: told()}
    end
  end

  defp told do
    case :os.type() do
      {:unix, :linux} -> to_string(:erlang.system_info(:system_architecture))
      {family, name} -> "#{family}/#{name}"
    end
  end

  @doc "The headers of the VM that runs this."
  def vm do
    case File.read("/proc/self/exe") do
      {:ok, file} -> Elf.parse(file)
      {:error, _reason} -> :error
    end
  end

  @doc "The name of Cargo's variable for a target: CARGO_TARGET_<TRIPLE>_<WHAT>."
  def variable(triple, what) do
    "CARGO_TARGET_#{triple |> String.upcase() |> String.replace(["-", "."], "_")}_#{what}"
  end

  @doc "Compilers that Debian, Alpine and others have for a target, by name."
  def usual_linkers(triple) do
    [arch | rest] = String.split(triple, "-")
    abi = List.last(rest)

    arch =
      case arch do
        "riscv64" <> _ -> "riscv64"
        "arm" <> _ -> "arm"
        "i" <> _ -> "i686"
        arch -> arch
      end

    for compiler <- ["gcc", "cc"], do: "#{arch}-linux-#{abi}-#{compiler}"
  end
end
