# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.OtherVM do
  @moduledoc """
  Another VM with this library, started by something that changes its rights, and code to run in it.

  It runs as a command of this library: whatever becomes of the test, the VM goes with it.
  """

  import ExUnit.Callbacks, only: [on_exit: 1]
  alias MuonTrap.{Cgroups, Trees}

  # Nobody's, also where no user has that name.
  @uid 65_534
  # For slow machines; a test that fails ends by it.
  @timeout_ms 55_000

  @doc "The user that `as_user/1` becomes, and its group."
  @spec uid() :: pos_integer()
  def uid, do: @uid

  @doc "A command by that user, who is in no other group. More arguments of setpriv(1) give it back some rights."
  @spec as_user([String.t()]) :: [String.t()]
  def as_user(more \\ []),
    do: ["setpriv", "--reuid=#{@uid}", "--regid=#{@uid}", "--clear-groups" | more]

  @doc "A command by root without these capabilities, and without ways to get them back."
  @spec without([String.t()]) :: [String.t()]
  def without(capabilities) do
    gone = Enum.map_join(capabilities, ",", &"-#{&1}")
    ["setpriv", "--bounding-set=#{gone}", "--inh-caps=#{gone}"]
  end

  @doc "Whether a VM can be started that way; says so if not."
  @spec possible?([String.t()]) :: boolean()
  def possible?([command | args]) do
    cond do
      not Cgroups.root?() ->
        Cgroups.announce("root is needed to change the rights of a VM")

      System.find_executable(command) == nil ->
        Cgroups.announce("there is no #{command}")

      true ->
        {output, status} =
          System.cmd(command, args ++ ["elixir", "--version"], cd: "/", stderr_to_stdout: true)

        status == 0 or Cgroups.announce("#{command} #{Enum.join(args, " ")}: #{output}")
    end
  end

  @doc """
  A directory with a copy of the library in `muontrap`, where every user can read it. Removed after the test.
  """
  @spec directory() :: Path.t()
  def directory do
    directory = Path.join(System.tmp_dir!(), "muontrap-#{Trees.token()}")
    library = Path.join(directory, "muontrap")
    File.mkdir_p!(library)
    on_exit(fn -> File.rm_rf!(directory) end)
    for part <- ["ebin", "priv"], do: File.cp_r!(app(part), Path.join(library, part))
    {"", 0} = System.cmd("chmod", ["-R", "a+rX", directory])
    directory
  end

  defp app(part), do: Application.app_dir(:muontrap, part)

  @doc "The path of a test program that every user can execute."
  @spec program(Path.t(), String.t()) :: Path.t()
  def program(directory, name), do: Path.join(directory, "muontrap/priv/test_programs/#{name}")

  @doc """
  Runs code in a VM that `wrapper` starts, with `System.argv/0` as given. Returns what it says on both streams,
  and its status.
  """
  @spec run(Path.t(), [String.t()], String.t(), [String.t()], keyword()) ::
          {String.t(), MuonTrap.Result.status() | non_neg_integer() | :timeout}
  def run(directory, wrapper, code, args \\ [], opts \\ []) do
    [command | rest] = wrapper ++ elixir(directory) ++ ["-e", code | args]

    opts =
      Keyword.merge(
        [cd: "/", env: [{"HOME", directory}], stderr_to_stdout: true, timeout: @timeout_ms],
        opts
      )

    MuonTrap.cmd(command, rest, opts)
  end

  @doc "A VM with the library, without the code."
  @spec elixir(Path.t()) :: [String.t()]
  def elixir(directory), do: ["elixir", "-pa", Path.join(directory, "muontrap/ebin")]
end
