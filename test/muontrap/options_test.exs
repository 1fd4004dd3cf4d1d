# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.OptionsTest do
  use ExUnit.Case, async: true

  import Bitwise
  import MuonTrap.Generators

  alias MuonTrap.Options
  alias MuonTrap.Options.Words

  @kinds [:cmd, :run, :stream, :daemon, :session]
  @called [:cmd, :run, :stream]
  @uid_max 4_294_967_294

  defp validate!(kind \\ :cmd, opts), do: Options.validate!(kind, "true", [], opts)

  defp refusal(fun), do: assert_raise(ArgumentError, fun).message
  defp refusal(kind, opts), do: refusal(fn -> validate!(kind, opts) end)

  # Accepted values with what they come to, and refused values with what the message says it got.
  @common [
    {:cd, [{"/tmp", "/tmp"}, {"", ""}], [:tmp, ~c"/tmp", nil, "a\0b"]},
    {:arg0, [{"x", "x"}], ["a\0b", 1]},
    {:clear_env, [{true, true}], [1, nil, "true"]},
    {:stderr_to_stdout, [{true, true}, {false, false}], [nil, "yes"]},
    {:capture_stderr_only, [{true, true}], [0]},
    {:parallelism, [{true, true}, {false, false}], [:yes]},
    {:stdio_window, [{1, 1}, {1_073_741_824, 1_073_741_824}], [0, -1, 1_073_741_825, 1.0, "1"]},
    {:delay_to_sigkill,
     [{0, 0}, {2_100_001, 2_100_001}, {185_542_587_187_200_000, 185_542_587_187_200_000}],
     [-1, 0.5, :infinity, "100", 185_542_587_187_200_001]},
    {:uid, [{1, 1}, {@uid_max, @uid_max}, {"bob", "bob"}, {"1000", 1000}],
     [0, -1, @uid_max + 1, "", "root", "0", "4294967295", "a\0b", :bob, nil]},
    {:gid, [{5, 5}, {"users", "users"}], [0, -1, "root", @uid_max + 1, ~c"users"]},
    {:groups, [{[], []}, {[10, "audio", "7"], [10, "audio", 7]}], ["audio", nil]},
    {:stop_signal, [{:sighup, 1}, {:sigkill, 9}, {64, 64}], [0, 65, :hup, "sigterm"]},
    {:umask, [{0, 0}, {0o777, 0o777}], [-1, 0o1000, "022"]},
    {:nice, [{-20, -20}, {19, 19}], [-21, 20, 1.0]},
    {:oom_score_adj, [{-1000, -1000}, {1000, 1000}], [-1001, 1001]},
    {:no_new_privs, [{true, true}], [1]},
    {:cgroup_base, [{"a/b", "a/b"}, {"...", "..."}, {"/a/b/", "a/b"}, {:self, :self}],
     ["", "/", "a//b", ".", "a/./b", "..", "a/..", "../a", "/../a", "a\0b", :other, nil]},
    {:cgroup_path, [{"a", "a"}, {"/a", "a"}, {"a/", "a"}], ["", "a/../b", "a\0", :self]}
  ]

  @input [
    {:input, [{"a", "a"}, {["a", ?b, [["c"]]], ["a", ?b, [["c"]]]}, {1..2, 1..2}],
     [nil, :a, [:a], [0x1F600], %{a: 1}, 5, ["a" | :b]]}
  ]

  @daemon [
    {:name,
     [{:a, :a}, {{:global, 1}, {:global, 1}}, {{:via, Registry, :x}, {:via, Registry, :x}}],
     ["a", {:via, "Registry", :x}, {:local, :a}]},
    {:log_output, [{:debug, :debug}, {:warn, :warning}, {:emergency, :emergency}], [:loud, nil]},
    {:log_stderr, [{:warning, :warning}], [:loud]},
    {:log_prefix, [{"p: ", "p: "}], [:p]},
    {:log_line_max, [{16, 16}], [15, :infinity]},
    {:logger_metadata, [{[a: 1], [a: 1]}], [%{a: 1}, [1]]},
    {:logger_fun,
     [{{Function, :identity}, {Function, :identity, []}}, {{IO, :puts, [1]}, {IO, :puts, [1]}}],
     [{"IO", :puts}, :puts, {IO, :puts, 1}]},
    {:stdin, [{:pipe, :pipe}, {:null, :null}], [:open, :inherit, true]},
    {:stderr, [{:inherit, :inherit}, {:null, :null}], [:pipe, nil]},
    {:ready, [{:notify, :notify}, {{:tcp, 80}, {:tcp, 80}}],
     [{:tcp, 0}, {:tcp, 65_536}, {:output, "x"}, {:fun, :f}, true]},
    {:start_timeout, [{1, 1}, {:infinity, :infinity}], [0, -1]}
  ]

  @calls [
    {:timeout, [{1, 1}, {4_294_967_295, 4_294_967_295}, {:infinity, :infinity}],
     [0, -1, 1.5, "5", nil, 4_294_967_296]},
    {:lines, [{1024, 1024}], [0, nil, true]},
    {:stdin, [{:open, :open}, {:null, :null}], [:pipe, "x", true]}
  ]

  @session [
    {:stdin, [{:pipe, :pipe}, {:null, :null}], [:open, true]},
    {:capture_stderr, [{true, true}], [nil]},
    {:lines, [{1, 1}], [0, true]},
    {:timeout, [{1, 1}, {:infinity, :infinity}], [0, nil]},
    {:active, [{true, true}, {false, false}, {:once, :once}, {7, 7}], [0, -1, :twice, nil, 1.0]},
    {:max_buffer, [{1, 1}], [0, :infinity]}
  ]

  @tables [
    {@kinds, @common},
    {@kinds -- [:session], @input},
    {[:daemon], @daemon},
    {@called, @calls},
    {[:session], @session}
  ]

  for {kinds, table} <- @tables,
      {key, accepted, refused} <- table do
    test "accepts what #{inspect(key)} is for in #{hd(kinds)}, and says what is wrong with the rest" do
      for kind <- unquote(kinds) do
        for {given, value} <- unquote(Macro.escape(accepted)) do
          assert validate!(kind, [{unquote(key), given}])[unquote(key)] == value
        end

        for given <- unquote(Macro.escape(refused)) do
          message = refusal(kind, [{unquote(key), given}])
          assert message =~ "invalid option #{inspect(unquote(key))} for MuonTrap."
          assert message =~ ": expected "
          assert String.ends_with?(message, ", got: " <> shown(unquote(key), given))
        end
      end
    end
  end

  # Input may be a secret, and so may be what was meant for it.
  defp shown(:input, given), do: Words.kind(given)
  defp shown(:stdin, given) when is_binary(given), do: "a string"
  defp shown(_key, given), do: inspect(given)

  test "accepts functions of the right arity only" do
    for {key, good, bad} <- [
          {:log_transform, & &1, fn -> 1 end},
          {:logger_fun, & &1, fn _, _ -> 1 end},
          {:exit_status_to_reason, & &1, fn -> 1 end},
          {:wait_for, fn -> 1 end, & &1}
        ] do
      assert validate!(:daemon, [{key, good}])[key] == good
      assert refusal(:daemon, [{key, bad}]) =~ "expected a"
    end

    ready = fn -> true end
    assert validate!(:daemon, ready: {:fun, ready}).ready == {:fun, ready}
    # The newest OTP compiles a regex anew each time, so two are never the same.
    output = {:output, ~r/x/}
    assert validate!(:daemon, ready: output).ready == output
    stream = Stream.cycle(["a"])
    assert validate!(input: stream).input == stream
    assert refusal(:cmd, input: fn _ -> 1 end) =~ "invalid option :input"
  end

  test "takes any Collectable as :into and nothing else" do
    for into <- ["", [], %{}, MapSet.new(), IO.stream(:stdio, :line)],
        do: assert(validate!(into: into).into == into)

    for into <- [nil, 1, :a, fn -> 1 end],
        do: assert(refusal(:cmd, into: into) =~ "expected a Collectable")
  end

  describe "env" do
    test "is any enumerable of pairs, nil and an empty value unset, the last value of a name counts" do
      assert validate!(env: [{"A", "1"}, {"B", nil}, {"A", "2"}]).env == [{"B", nil}, {"A", "2"}]
      assert validate!(env: [{"A", "1"}, {"A", ""}]).env == [{"A", nil}]
      assert validate!(env: %{"A" => "é=\xFF"}).env == [{"A", "é=\xFF"}]
      assert validate!(env: Stream.map(["A"], &{&1, &1})).env == [{"A", "A"}]
    end

    test "refuses names and values that an environment cannot hold" do
      for {pair, got} <- [
            {{"", "s3cret"}, ~S({"", a string})},
            {{"A=B", "s3cret"}, ~S({"A=B", a string})},
            {{"A\0", "s3cret"}, ~S({<<65, 0>>, a string})},
            {{"A", "s3cret\0"}, ~S({"A", a string with a NUL byte})},
            {{:a, "s3cret"}, "a tuple of 2"},
            {{"A", :s3cret}, ~S({"A", an atom})},
            {{~c"A", "s3cret"}, "a tuple of 2"},
            {"A=s3cret", "a string"}
          ] do
        message = refusal(:cmd, env: [{"OK", "s3cret"}, pair])
        assert message =~ ~r/:env .*, got: #{Regex.escape(got)}$/s
        refute message =~ "s3cret"
      end

      for env <- [nil, 1, "A=1", [{"A", "1"} | :b], fn -> 1 end],
          do: assert(refusal(:cmd, env: env) =~ "got: #{Words.kind(env)}")
    end
  end

  describe "rlimits" do
    @resources [
                 :as,
                 :core,
                 :cpu,
                 :data,
                 :fsize,
                 :locks,
                 :memlock,
                 :msgqueue,
                 :nice,
                 :nofile,
                 :nproc
               ] ++
                 [:rss, :rtprio, :rttime, :sigpending, :stack]

    test "are pairs of soft and hard limit for all 16 resources of Linux" do
      assert length(@resources) == 16
      rlimits = for resource <- @resources, do: {resource, {1, :infinity}}
      assert validate!(rlimits: Enum.reverse(rlimits)).rlimits == rlimits
    end

    test "take one number for both, and the last value of a resource" do
      assert validate!(rlimits: [nofile: 1, nofile: 64]).rlimits == [nofile: {64, 64}]

      assert validate!(rlimits: %{core: :infinity, cpu: 0xFFFF_FFFF_FFFF_FFFE}).rlimits ==
               [core: {:infinity, :infinity}, cpu: {0xFFFF_FFFF_FFFF_FFFE, 0xFFFF_FFFF_FFFF_FFFE}]
    end

    test "refuse a soft limit over the hard one, unknown resources and odd numbers" do
      for limit <- [
            nofile: {2, 1},
            nofile: {:infinity, 1},
            nofile: -1,
            nofile: 1.0,
            nofile: 0xFFFF_FFFF_FFFF_FFFF,
            nofile: nil,
            files: 1,
            nofile: {1, 2, 3}
          ] do
        assert refusal(:cmd, rlimits: [limit]) =~ ":rlimits"
      end

      assert refusal(:cmd, rlimits: 1) =~ "got: 1"
    end
  end

  test "groups say which entry is wrong" do
    for group <- [-1, @uid_max + 1, :atom, "", "audio,video", "a\0"],
        do:
          assert(
            refusal(:cmd, groups: [10, group]) =~
              ~r/invalid :groups entry .*got: #{Regex.escape(inspect(group))}$/
          )
  end

  describe "cgroup settings" do
    test "take strings and integers, as old code does" do
      opts = [
        cgroup_controllers: ["memory", "cpu,cpuacct"],
        cgroup_base: "mycgroup",
        cgroup_sets: [
          {"memory", "memory.limit_in_bytes", "268435456"},
          {"cpu", "cpu.shares", 512}
        ]
      ]

      for kind <- @kinds do
        options = validate!(kind, opts)
        assert options.cgroup_controllers == ["memory", "cpu,cpuacct"]
        assert {"cpu", "cpu.shares", "512"} in options.cgroup_sets
      end
    end

    test "have their keys checked at the door" do
      assert validate!(cgroup_base: "a", cgroup: %{memory_max: 1}).cgroup == %{memory_max: 1}
      assert validate!(cgroup_base: "a", cgroup: %{}).cgroup == %{}
      assert refusal(:cmd, cgroup_base: "a", cgroup: %{bogus: 1}) =~ "bogus"
      assert refusal(:cmd, cgroup_base: "a", cgroup: 1) =~ "expected a map or keyword list"
    end

    test "come as a map or keyword list, with bytes as the kernel writes them" do
      for {given, value} <- [
            {[memory_max: 1], 1},
            {%{memory_max: "100M"}, 104_857_600},
            {[memory_max: "2g"], 2_147_483_648},
            {[memory_max: "4096"], 4096},
            {[memory_max: "max"], :max}
          ] do
        assert validate!(cgroup_base: "a", cgroup: given).cgroup == %{memory_max: value}
      end

      for {key, given} <- [
            memory_max: "100 MB",
            memory_max: "-1",
            memory_max: "",
            memory_max: "16E",
            memory_min: "max",
            pids_max: "100"
          ] do
        message = refusal(:cmd, cgroup_base: "a", cgroup: [{key, given}])
        assert message =~ ~r/invalid option :cgroup .*invalid value for cgroup key :#{key}/
        assert String.ends_with?(message, ", got: " <> inspect(given))
      end

      assert refusal(:cmd, cgroup_base: "a", cgroup: [memory_maks: 1]) =~
               "did you mean :memory_max?, got: :memory_maks"
    end

    test "refuse file and controller names that leave the group" do
      for set <- [
            {"memory", "../x", 1},
            {"..", "x", 1},
            {"memory", "", 1},
            {"memory", "x", 1.5},
            {"memory", "x", "1\0"},
            {:memory, "x", 1},
            {"memory", "x"}
          ] do
        assert refusal(:cmd, cgroup_base: "a", cgroup_sets: [set]) =~ ":cgroup_sets"
      end

      for controller <- ["", "a/b", "..", "a\0", :memory],
          do: assert(refusal(:cmd, cgroup_base: "a", cgroup_controllers: [controller]) =~ "got:")
    end

    test "need a group" do
      for {key, value} <- [
            cgroup: %{memory_max: 1},
            cgroup_controllers: ["memory"],
            cgroup_sets: [{"a", "b", 1}]
          ] do
        assert refusal(:cmd, [{key, value}]) =~ "requires a :cgroup_path or :cgroup_base"
        assert validate!([{key, value}, {:cgroup_path, "a"}]).cgroup_path == "a"
      end

      assert validate!(cgroup: %{}, cgroup_controllers: [], cgroup_sets: []).cgroup_base == nil
    end
  end

  test "refuses options that exclude each other, and names both" do
    for {kind, opts} <- [
          cmd: [cgroup_base: "a", cgroup_path: "b"],
          cmd: [use_stdio: false, into: []],
          cmd: [use_stdio: false, lines: 1],
          cmd: [use_stdio: false, capture_stderr_only: true],
          run: [use_stdio: false, capture_stderr: true],
          run: [capture_stderr: true, capture_stderr_only: true],
          run: [capture_stderr: true, stderr_to_stdout: true],
          cmd: [use_stdio: false, stdin: :open],
          daemon: [stderr: :null, log_stderr: :info],
          daemon: [stderr: :null, stderr_to_stdout: true],
          daemon: [stderr: :null, capture_stderr_only: true],
          daemon: [stderr_to_stdout: true, log_stderr: :info]
        ] do
      assert refusal(kind, opts) =~ ~r/cannot take .*, got: #{Regex.escape(inspect(opts))}$/
      for {key, value} <- opts, do: assert(validate!(kind, [{key, value}])[key] == value)
    end

    for {kind, opt} <- [run: [use_stdio: false], daemon: [stdin: :pipe], run: [stdin: :open]] do
      message = refusal(kind, opt ++ [input: "s3cret"])
      assert message =~ ~r/cannot take .* together with :input: .*input: a string\]$/
    end
  end

  test "takes options as a map" do
    for kind <- @kinds, do: assert(Options.validate!(kind, "ls", [], %{cd: "/a"}).cd == "/a")
  end

  test "has a Daemon's input open, and that of a call empty, unless something else is said" do
    assert %{stdin: :pipe, stderr: :inherit} = validate!(:daemon, [])
    assert validate!(:daemon, input: "x").stdin == :null
    assert validate!(:session, []).stdin == :pipe
    for kind <- @called, do: assert(validate!(kind, []).stdin == :null)
  end

  test "says what to write instead of a path that leads into a mounted hierarchy" do
    for {path, instead} <- [
          {"/sys/fs/cgroup/mine/a", ~S("mine/a")},
          {"/sys/fs/cgroup/mine/", ~S("mine")}
        ] do
      message = refusal(:cmd, cgroup_path: path)
      assert message =~ "relative to the mount point /sys/fs/cgroup, write #{instead} instead"
      assert String.ends_with?(message, ", got: " <> inspect(path))
    end

    assert refusal(:daemon, cgroup_base: "/sys/fs/cgroup") =~ "name a group below it"
  end

  test "takes what System.cmd/3 takes together with use_stdio: false" do
    assert validate!(use_stdio: false, into: "", stderr_to_stdout: true).use_stdio == false
  end

  test "takes standard error alone when both ways of capturing it are asked for, as upstream does" do
    options = validate!(stderr_to_stdout: true, capture_stderr_only: true)
    assert options.capture_stderr_only
    refute options.stderr_to_stdout
  end

  test "says which option is unknown and what was perhaps meant" do
    assert refusal(:cmd, tiemout: 5) ==
             "unknown option :tiemout for MuonTrap.cmd/3; did you mean :timeout?"

    assert refusal(:daemon, zzz: 1) ==
             "unknown option :zzz for MuonTrap.Daemon.start_link/3; " <>
               "h MuonTrap.Daemon.start_link in IEx lists what there is"

    # What is written wrong may be the environment.
    refute refusal(:cmd, envs: [{"A", "s3cret"}]) =~ "s3cret"
  end

  test "says which function takes an option, or what to use instead" do
    assert refusal(:cmd, name: :a) ==
             "option :name is not for MuonTrap.cmd/3; MuonTrap.Daemon.start_link/3 takes it"

    assert refusal(:cmd, capture_stderr: true) =~ "use MuonTrap.run/3"

    for opt <- [into: "", timeout: 1, lines: 1, use_stdio: true],
        do: assert(refusal(:daemon, [opt]) =~ "is not for MuonTrap.Daemon.start_link/3; ")
  end

  test "refuses commands, arguments and options that are malformed" do
    for {args, got} <- [
          {["a\0b", [], []], ~S(<<97, 0, 98>>)},
          {[:ls, [], []], ":ls"},
          {[~c"ls", [], []], inspect(~c"ls")},
          {[["ls", "s3cret"], [], []], "a list"},
          {["ls", "s3cret", []], "a string"},
          {["ls", ["a" | "b"], []], "a list"},
          {["ls", ["-l", ~c"s3cret"], []], "a charlist as argument 2"},
          {["ls", ["s3cret\0"], []], "a string with a NUL byte as argument 1"},
          {["ls", [], [:cd]], ":cd without a value"},
          {["ls", [], %{"env" => %{"A" => "s3cret"}}], ~S(the key "env")},
          {["ls", [], [{:cd, "/"} | :s3cret]], "a list"},
          {["ls", [], [{:cd, "/"}, "s3cret"]], "a string as element 2"},
          {["ls", [], ~r/x/], "a Regex"}
        ],
        kind <- @kinds do
      message = refusal(fn -> apply(Options, :validate!, [kind | args]) end)
      assert String.ends_with?(message, ", got: " <> got)
      refute message =~ "s3cret"
    end
  end

  test "returns command, arguments and every option of the function, the last value of each" do
    for kind <- @kinds do
      options = Options.validate!(kind, "ls", ["-l", <<0xFF>>], cd: "/a", cd: "/b")
      assert %{command: "ls", args: ["-l", <<0xFF>>], cd: "/b", stop_signal: 15} = options
      assert Enum.sort(Map.keys(options)) == Enum.sort([:command, :args | Options.keys(kind)])
    end

    assert Options.validate!(:daemon, "ls", [], []).log_prefix == "ls: "
  end

  test "documents every option of the function, and no other" do
    for kind <- @kinds do
      documented =
        for [key] <- Regex.scan(~r/^  \* `:(\w+)` - /m, Options.docs(kind), capture: [1]), do: key

      assert documented == Enum.map(Options.keys(kind), &Atom.to_string/1)
    end
  end

  test "documents options in groups, a sentence each, with types in words and defaults as they are written" do
    docs = Options.docs(:daemon)
    titles = for [title] <- Regex.scan(~r/^\*\*(.+)\*\*$/m, docs, capture: [1]), do: title

    assert titles == [
             "What runs",
             "Input and output",
             "Ending",
             "Identity and limits",
             "Cgroups",
             "Logging",
             "Readiness"
           ]

    assert docs =~ "or a number from 1 to 64; default: `:sigterm`."
    assert docs =~ ~r/`:delay_to_sigkill` - .* Milliseconds; default: `500`, /
    assert docs =~ ~r/`:start_timeout` - .* Milliseconds or `:infinity`; default: `30000`\.$/m

    for line <- String.split(docs, "\n"), String.starts_with?(line, "  * ") do
      # What it is, and what it takes.
      assert [_key, text] = String.split(line, " - ", parts: 2)
      assert text |> String.replace(~r/`[^`]*`/, "") |> String.split(". ") |> length() == 2
      refute line =~ "  . "
    end
  end

  test "answers any value of any option with a map or an ArgumentError" do
    check(
      fn -> {one_of(@kinds), one_of(Options.keys(one_of(@kinds))), junk(3)} end,
      fn {kind, key, value} ->
        try do
          assert is_map(validate!(kind, [{key, value}]))
        rescue
          error in ArgumentError ->
            assert error.message =~ Atom.to_string(key)
            assert error.message =~ ", got: " or error.message =~ "is not for"
        end
      end,
      runs: 10_000
    )
  end

  defp junk(0),
    do:
      one_of([nil, true, 0, -1, 1, 1.5, 1 <<< 64, "", "a", <<0>>, <<0xFF>>, :a, :infinity, self()])

  defp junk(depth) do
    case int(1..8) do
      1 ->
        list(fn -> junk(depth - 1) end, 3)

      2 ->
        {junk(depth - 1), junk(depth - 1)}

      3 ->
        {junk(depth - 1), junk(depth - 1), junk(depth - 1)}

      4 ->
        [junk(depth - 1) | junk(depth - 1)]

      5 ->
        [{one_of([:nofile, :a, "A"]), junk(depth - 1)}]

      6 ->
        one_of([
          fn -> 1 end,
          & &1,
          &Enumerable.reduce([1], &1, &2),
          1..3,
          MapSet.new(),
          ~r/x/,
          %{"a" => 1}
        ])

      _ ->
        junk(0)
    end
  end
end
