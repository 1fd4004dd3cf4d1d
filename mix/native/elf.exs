# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Build.Elf do
  @moduledoc false
  # What machine and what C library a binary is for, from its headers: elf(5).

  import Bitwise

  @pt_load 1
  @pt_dynamic 2
  @pt_interp 3

  @dt_needed 1
  @dt_strtab 5
  @dt_verneed 0x6FFFFFFE
  @dt_verneednum 0x6FFFFFFF

  @arm 40
  @arm_soft_float 0x200
  @arm_hard_float 0x400

  @machines %{
    3 => "x86",
    8 => "MIPS",
    20 => "PowerPC",
    21 => "PowerPC64",
    22 => "S/390",
    40 => "ARM",
    62 => "x86-64",
    183 => "AArch64",
    243 => "RISC-V",
    258 => "LoongArch"
  }

  # {first part of a triple, machine, bits, endianness}
  @architectures [
    {~r/^x86_64$/, 62, 64, :little},
    {~r/^i[3-6]86$/, 3, 32, :little},
    {~r/^aarch64$/, 183, 64, :little},
    {~r/^(arm|thumb)/, 40, 32, :little},
    {~r/^riscv64/, 243, 64, :little},
    {~r/^riscv32/, 243, 32, :little},
    {~r/^powerpc64le$/, 21, 64, :little},
    {~r/^powerpc64$/, 21, 64, :big},
    {~r/^powerpc$/, 20, 32, :big},
    {~r/^s390x$/, 22, 64, :big},
    {~r/^mipsel$/, 8, 32, :little},
    {~r/^mips$/, 8, 32, :big},
    {~r/^mips64el$/, 8, 64, :little},
    {~r/^loongarch64$/, 258, 64, :little}
  ]

  @doc """
  Returns `{:ok, map}` with `:machine`, `:bits`, `:endian`, `:float` (ARM), `:interpreter`, `:needed`, `:libc`
  (`nil` where nothing tells, as in what is linked statically) and `:versions` that it needs of shared libraries,
  or `:error` if it is no ELF file.
  """
  def parse(<<0x7F, "ELF", class, data, _::binary>> = file)
      when class in [1, 2] and data in [1, 2] do
    bits = if class == 1, do: 32, else: 64
    endian = if data == 1, do: :little, else: :big
    read = &number(file, &1, &2, endian)
    segments = segments(read, bits)
    dynamic = dynamic(read, bits, segments)

    needed =
      for {@dt_needed, offset} <- dynamic, do: string(file, strings(dynamic, segments) + offset)

    interpreter = interpreter(file, segments)
    machine = read.(18, 2)

    {:ok,
     %{
       machine: machine,
       bits: bits,
       endian: endian,
       float: float(machine, read.(if(bits == 32, do: 36, else: 48), 4)),
       interpreter: interpreter,
       needed: needed,
       libc: libc([interpreter | needed]),
       versions: versions(file, read, dynamic, segments)
     }}
  rescue
    # Cut off.
    _error in [ArgumentError, MatchError] -> :error
  end

  def parse(_file), do: :error

  @doc "What a target needs, in the keys of `parse/1`. Keys that its triple does not tell are missing."
  def wanted(triple) do
    [architecture | rest] = String.split(triple, "-")
    abi = List.last(rest) || ""

    libc =
      for {part, libc} <- [{"gnu", :glibc}, {"musl", :musl}],
          String.starts_with?(abi, part),
          do: libc

    float =
      cond do
        not (architecture =~ ~r/^(arm|thumb)/) -> nil
        String.ends_with?(abi, "hf") -> :hard
        true -> :soft
      end

    @architectures
    |> Enum.find_value(%{}, fn {pattern, machine, bits, endian} ->
      if architecture =~ pattern, do: %{machine: machine, bits: bits, endian: endian}
    end)
    |> Map.merge(for(libc <- libc, into: %{}, do: {:libc, libc}))
    |> Map.merge(if float, do: %{float: float}, else: %{})
  end

  @doc "The keys in which a file is not what is wanted. What it does not tell is no mismatch."
  def mismatches(elf, wanted) do
    for {key, value} <- wanted, found = Map.fetch!(elf, key), found != value, do: key
  end

  @doc "A file or what is wanted in words."
  def describe(elf) do
    float = elf[:float] && "#{elf.float} float"
    libc = elf[:libc] && to_string(elf.libc)
    bits = elf[:bits] && "#{elf.bits} bits"
    machine = elf[:machine] && Map.get(@machines, elf.machine, "machine #{elf.machine}")
    endian = if elf[:endian] == :big, do: "big-endian"
    Enum.map_join(Enum.reject([machine, bits, endian, float, libc], &is_nil/1), ", ", & &1)
  end

  @doc "The triple without surprises of a machine that runs this file, or `:error`."
  def triple(%{machine: machine, libc: libc} = elf) do
    architecture =
      case {machine, elf.bits, elf.endian} do
        {62, 64, _} -> "x86_64"
        {3, 32, _} -> "i686"
        {183, 64, :little} -> "aarch64"
        {@arm, 32, :little} -> if elf.float == :soft, do: "arm", else: "armv7"
        {243, 64, _} -> "riscv64gc"
        _other -> nil
      end

    hf = if machine == @arm, do: if(elf.float == :soft, do: "eabi", else: "eabihf"), else: ""

    case {architecture, libc} do
      {nil, _libc} -> :error
      {_, :glibc} -> {:ok, "#{architecture}-unknown-linux-gnu#{hf}"}
      {_, :musl} -> {:ok, "#{architecture}-unknown-linux-musl#{hf}"}
      {_, nil} -> :error
    end
  end

  defp number(file, at, size, endian) do
    :binary.decode_unsigned(binary_part(file, at, size), endian)
  end

  defp segments(read, bits) do
    {table, size, count} =
      if bits == 32,
        do: {read.(28, 4), read.(42, 2), read.(44, 2)},
        else: {read.(32, 8), read.(54, 2), read.(56, 2)}

    for index <- Enum.take(0..count, count) do
      at = table + index * size

      if bits == 32,
        do: {read.(at, 4), read.(at + 4, 4), read.(at + 8, 4), read.(at + 16, 4)},
        else: {read.(at, 4), read.(at + 8, 8), read.(at + 16, 8), read.(at + 32, 8)}
    end
  end

  defp dynamic(read, bits, segments) do
    size = div(bits, 8)

    case List.keyfind(segments, @pt_dynamic, 0) do
      nil ->
        []

      {_type, offset, _address, length} ->
        offset
        |> Stream.iterate(&(&1 + 2 * size))
        |> Stream.take(div(length, 2 * size))
        |> Stream.map(&{read.(&1, size), read.(&1 + size, size)})
        |> Enum.take_while(fn {tag, _value} -> tag != 0 end)
    end
  end

  defp strings(dynamic, segments) do
    {@dt_strtab, address} = List.keyfind(dynamic, @dt_strtab, 0)
    offset(address, segments)
  end

  defp offset(address, segments) do
    {_type, offset, start, _length} =
      Enum.find(segments, fn {type, _offset, start, length} ->
        type == @pt_load and address >= start and address < start + length
      end)

    offset + address - start
  end

  defp string(file, at) do
    [string | _rest] = :binary.split(binary_part(file, at, min(512, byte_size(file) - at)), <<0>>)
    string
  end

  defp interpreter(file, segments) do
    case List.keyfind(segments, @pt_interp, 0) do
      nil -> nil
      {_type, offset, _address, _length} -> string(file, offset)
    end
  end

  # Each file's list of versions: the Verneed and Vernaux of elf(5).
  defp versions(file, read, dynamic, segments) do
    with {_tag, address} <- List.keyfind(dynamic, @dt_verneed, 0),
         {_tag, count} <- List.keyfind(dynamic, @dt_verneednum, 0) do
      strings = strings(dynamic, segments)

      {versions, _at} =
        Enum.reduce(1..count, {[], offset(address, segments)}, fn _index, {versions, at} ->
          {own, _at} =
            Enum.reduce(1..read.(at + 2, 2), {[], at + read.(at + 8, 4)}, fn _index, {own, aux} ->
              {[string(file, strings + read.(aux + 8, 4)) | own], aux + read.(aux + 12, 4)}
            end)

          {own ++ versions, at + read.(at + 12, 4)}
        end)

      Enum.sort(versions)
    else
      nil -> []
    end
  end

  defp float(@arm, flags) when (flags &&& @arm_hard_float) != 0, do: :hard
  defp float(@arm, flags) when (flags &&& @arm_soft_float) != 0, do: :soft
  defp float(_machine, _flags), do: nil

  defp libc(names) do
    names = for name <- names, name, do: Path.basename(name)

    cond do
      Enum.any?(names, &(&1 =~ ~r/^(ld-musl-|libc\.musl-|libc\.so$)/)) -> :musl
      Enum.any?(names, &(&1 =~ ~r/^(libc\.so\.6|ld-linux|ld64\.so)/)) -> :glibc
      true -> nil
    end
  end
end
