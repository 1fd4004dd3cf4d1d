# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Upstream.OptionsTest do
  @moduledoc """
  `MuonTrap.Options.validate/4` as MuonTrap 1.8 and 2.0 document it: what it returns, and what it raises.
  """

  use ExUnit.Case, async: true

  alias MuonTrap.Options

  doctest MuonTrap.Options, only: [validate: 4]

  @both [:cmd, :daemon]

  defp validate(kind \\ :cmd, opts), do: Options.validate(kind, "echo", [], opts)

  defp refusal(kind, opts),
    do: assert_raise(ArgumentError, fn -> validate(kind, opts) end).message

  describe "a call" do
    test "is a map with the command's path, its arguments, and what was given" do
      for kind <- @both do
        path = System.find_executable("echo")
        assert Options.validate(kind, "echo", ["a"], []) == %{cmd: path, args: ["a"], into: ""}
        assert Options.validate(kind, path, [], %{}) == %{cmd: path, args: [], into: ""}
      end
    end

    test "of a program that is not there is the error of System.cmd/3, without the arguments" do
      for kind <- @both do
        assert catch_error(Options.validate(kind, "no-such-program", ["secret"], [])) == :enoent

        try do
          Options.validate(kind, "no-such-program", ["secret"], [])
        rescue
          ErlangError -> refute inspect(__STACKTRACE__) =~ "secret"
        end
      end
    end

    test "with a NUL in the program or an argument that is no binary is refused in the known words" do
      for {kind, name} <- [cmd: "MuonTrap.cmd/3", daemon: "MuonTrap.Daemon.start_link/3"] do
        null = fn -> Options.validate(kind, "a\0b", [], []) end
        text = "cannot execute #{name} for program with null byte"
        assert_raise ArgumentError, ~r/^#{Regex.escape(text)}/, null
        list = fn -> Options.validate(kind, "echo", [~c"a"], []) end

        assert_raise ArgumentError,
                     ~r/^all arguments for #{Regex.escape(name)} must be binaries/,
                     list
      end
    end
  end

  describe "options" do
    test "for both functions come back as they were given" do
      given = [
        cd: "dir",
        arg0: "name",
        stderr_to_stdout: true,
        capture_stderr_only: true,
        parallelism: false,
        uid: 5,
        gid: "users",
        groups: [10, "audio"],
        delay_to_sigkill: 1,
        stdio_window: 1024
      ]

      for kind <- @both, opts <- [given, Map.new(given)] do
        assert Map.drop(validate(kind, opts), [:cmd, :args, :into]) == Map.new(given)
      end
    end

    test "for one function are refused by the other" do
      fun = fn -> :ok end

      for {key, value} <- [into: [], timeout: 5],
          do: assert(validate([{key, value}])[key] == value)

      for {key, value} <- [
            name: :a_name,
            log_prefix: "p",
            log_transform: &Function.identity/1,
            logger_metadata: [a: 1],
            logger_fun: &Function.identity/1,
            exit_status_to_reason: &Function.identity/1,
            wait_for: fun
          ] do
        assert validate(:daemon, [{key, value}])[key] == value
        assert refusal(:cmd, [{key, value}]) =~ inspect(key)
      end

      for {key, value} <- [into: "", timeout: 5],
          do: assert(refusal(:daemon, [{key, value}]) =~ inspect(key))
    end

    test "that nobody knows are refused" do
      for kind <- @both, do: assert(refusal(kind, no_such_option: 1) =~ ":no_such_option")
    end

    test "for levels take all of Logger's, and the old name of one" do
      levels = [:emergency, :alert, :critical, :error, :warning, :warn, :notice, :info, :debug]
      for level <- levels, do: assert(validate(:daemon, log_output: level).log_output == level)
      assert refusal(:daemon, log_output: :loud) =~ ":log_output"
    end

    test "for loggers and waiting check what can be called" do
      for fun <- [{IO, :puts}, {IO, :puts, []}],
          do: assert(validate(:daemon, logger_fun: fun).logger_fun == {IO, :puts, []})

      for fun <- [&Map.get/2, :puts, {IO, "puts"}],
          do: assert(refusal(:daemon, logger_fun: fun) =~ "invalid option :logger_fun")

      for fun <- [&Function.identity/1, :wait],
          do: assert(refusal(:daemon, wait_for: fun) =~ "invalid option :wait_for")
    end

    test "for the environment come as a port takes them" do
      assert validate(env: [{"A", "é"}, {"B", nil}]).env == [{~c"A", ~c"é"}, {~c"B", false}]
      assert validate(env: %{"A" => <<0xFF>>}).env == [{~c"A", [0xFF]}]
      assert refusal(:cmd, env: ["A=1"]) =~ ":env"
    end

    test "for groups are ids and names, none of them root's" do
      assert validate(groups: []).groups == []

      for group <- [0, -1, "0", "", "a,b", :audio],
          do: assert(refusal(:cmd, groups: [10, group]) =~ "invalid :groups entry")

      assert refusal(:cmd, groups: "audio") =~ "invalid option :groups"
    end
  end

  describe "cgroups" do
    test "below a base have a path of their own, another one each time" do
      paths = for _ <- 1..2, do: validate(cgroup_base: "base").cgroup_path

      for path <- paths,
          do: assert(["base", <<_five::binary-5, _more::binary>>] = Path.split(path))

      assert Enum.uniq(paths) == paths
    end

    test "have a base or a path, not both, and one of them if there are settings" do
      assert refusal(:cmd, cgroup_base: "a", cgroup_path: "b") =~ ":cgroup_base"
      text = "requires a :cgroup_path or :cgroup_base"
      for kind <- @both, do: assert(refusal(kind, cgroup: %{memory_max: 1}) =~ text)
      assert validate(cgroup: %{memory_max: 1}, cgroup_path: "a").cgroup_path == "a"
      refute Map.has_key?(validate(cgroup: %{}), :cgroup_path)
    end

    test "of 1.x keep their controllers and sets" do
      sets = [{"memory", "memory.limit_in_bytes", "268435456"}]
      options = validate(cgroup_path: "a", cgroup_controllers: ["memory"], cgroup_sets: sets)
      assert %{cgroup_controllers: ["memory"], cgroup_sets: ^sets} = options
    end

    test "of 2.x become controllers and sets by the names of v2" do
      config = %{
        memory_max: 500_000_000,
        memory_high: :max,
        memory_oom_group: true,
        cpu_max: {50_000, 100_000},
        pids_max: 200
      }

      options = validate(cgroup_path: "a", cgroup: config)
      refute Map.has_key?(options, :cgroup)
      assert Enum.sort(options.cgroup_controllers) == ["cpu", "memory", "pids"]

      assert Enum.sort(options.cgroup_sets) == [
               {"cpu", "cpu.max", "50000 100000"},
               {"memory", "memory.high", "max"},
               {"memory", "memory.max", "500000000"},
               {"memory", "memory.oom.group", "1"},
               {"pids", "pids.max", "200"}
             ]
    end

    test "of 2.x have their keys and values checked" do
      for key <- [:bogus, :cgroup_path],
          do:
            assert(
              refusal(:daemon, cgroup: %{key => 1}) =~ ~r/unknown cgroup config field.*#{key}/
            )

      for {key, value} <- [
            memory_max: -1,
            memory_max: "5 MB",
            cpu_max: {-1, 100},
            cpu_weight: true
          ],
          do: assert(refusal(:daemon, cgroup: %{key => value}) =~ ~r/invalid value.*#{key}/)
    end
  end
end
