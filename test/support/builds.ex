# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Builds do
  @moduledoc "Projects that depend on muontrap, cargos that pretend, and binaries for any machine, for the tests of how it is installed."

  # Of mix/, which mix.exs or a test has loaded.
  @compile {:no_warn_undefined, MuonTrap.Build.Elf}

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [on_exit: 1]

  alias MuonTrap.Trees

  @source Path.expand("../..", __DIR__)

  @doc "The source tree of muontrap."
  def source, do: @source

  @doc "A folder that goes with the test."
  def folder do
    name = "muontrap_build_#{System.unique_integer([:positive])}_#{System.pid()}"
    tmp = Path.join(System.tmp_dir!(), name)
    File.mkdir_p!(tmp)
    on_exit(fn -> File.rm_rf!(tmp) end)
    tmp
  end

  @doc "Where Cargo has built for the tests that run now."
  def cargo_target do
    System.get_env("CARGO_TARGET_DIR") || Path.join(Mix.Project.app_path(), "native")
  end

  @doc "A project that depends on the muontrap of a folder. `more` is put into its `project/0`."
  def throw_away_app(tmp, source, more \\ "") do
    app = Path.join(tmp, "app")
    File.mkdir_p!(Path.join(app, "lib"))
    File.write!(Path.join(app, "lib/throw_away.ex"), "defmodule ThrowAway do\nend\n")

    File.write!(Path.join(app, "mix.exs"), """
    defmodule ThrowAway#{System.unique_integer([:positive])}.MixProject do
      use Mix.Project

      def project do
        [app: :throw_away, version: "0.1.0", deps: [{:muontrap, path: #{inspect(source)}}]#{more}]
      end
    end
    """)

    app
  end

  @doc "Runs Mix in a project as its user would, with what Cargo has built here. `wrap` is put before the command."
  def mix(args, app, options \\ []) do
    [command | args] = Keyword.get(options, :wrap, []) ++ ["mix" | args]

    env = [
      {"MIX_ENV", "prod"},
      {"MIX_BUILD_PATH", nil},
      {"MIX_BUILD_ROOT", nil},
      {"MUONTRAP_NATIVE_PREBUILT", nil},
      {"CARGO_TARGET_DIR", cargo_target()}
    ]

    env = env ++ Keyword.get(options, :env, [])
    System.cmd(command, args, cd: app, env: env, stderr_to_stdout: true)
  end

  @doc "Sets a variable of this VM, or with `nil` takes it away. The test's end puts back what was there."
  def put_env(name, value) do
    before = System.get_env(name)
    on_exit(fn -> System.put_env([{name, before}]) end)
    System.put_env([{name, value}])
  end

  @doc "Puts a `cargo` first in PATH that runs shell commands: `:build`, and `:static` where programs shall be static."
  def cargo(tmp, options) do
    version = Keyword.get(options, :version, "9999.0.0")
    build = Keyword.get(options, :build, "exit 1")
    static = Keyword.get(options, :static, "exit 1")
    bin = Path.join(tmp, "bin")
    File.mkdir_p!(bin)

    File.write!(Path.join(bin, "cargo"), """
    #!/bin/sh
    case $1 in
      --version) echo "cargo #{version} (0123456 2020-01-01)" ;;
      -vV) echo "host: some-machine" ;;
      build) case $RUSTC_WORKSPACE_WRAPPER in */rustc-static) #{static} ;; *) #{build} ;; esac ;;
    esac
    """)

    File.chmod!(Path.join(bin, "cargo"), 0o755)
    put_env("PATH", bin <> ":" <> System.get_env("PATH"))
  end

  @doc "Fails unless a command that holds three `sleep`s in its VM leaves nothing when that is killed."
  def assert_ends_with_its_vm(command, env) do
    token = Trees.token()
    [command | args] = ["/bin/sh", "-c", "echo $$; exec \"$@\"", "-"] ++ command
    env = for {name, value} <- [{"MUONTRAP_TOKEN", token} | env], do: {~c"#{name}", ~c"#{value}"}

    port =
      Port.open({:spawn_executable, command}, [
        :binary,
        :exit_status,
        line: 100,
        args: args,
        env: env
      ])

    assert_receive {^port, {:data, {:eol, _pid}}}

    # Shell, VM and what comes with it, spawner, shim, and the four of the tree; the names tell which is which.
    assert Trees.eventually(fn ->
             Enum.count(Trees.carrying(token), &(name(&1) == "sleep")) == 3
           end)

    {:os_pid, pid} = Port.info(port, :os_pid)
    # The script that starts a release is one with its VM by then: both have exec'd.
    vm = Enum.find(Trees.carrying(token), pid, &(name(&1) =~ "beam"))
    {"", 0} = System.cmd("kill", ["-KILL", "#{vm}"])
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
    Port.close(port)
  rescue
    # It has closed already, as the program has ended.
    ArgumentError -> :ok
  end

  defp name(pid) do
    case File.read("/proc/#{pid}/comm") do
      {:ok, name} -> String.trim(name)
      {:error, _gone} -> ""
    end
  end

  @machines %{
    "x86_64" => {62, 2, 1, 0},
    "aarch64" => {183, 2, 1, 0},
    "armhf" => {40, 1, 1, 0x400},
    "armel" => {40, 1, 1, 0x200},
    "riscv64" => {243, 2, 1, 0},
    "s390x" => {22, 2, 2, 0}
  }

  @doc "A binary of headers alone, for a machine and an interpreter (`nil`: linked statically), and `text` after them."
  def elf(machine, interpreter, text \\ "") do
    {number, class, data, flags} = Map.fetch!(@machines, machine)
    bits = if class == 1, do: 32, else: 64
    {header, entry} = if bits == 32, do: {52, 32}, else: {64, 56}
    string = if interpreter, do: interpreter <> <<0>>, else: ""
    segments = if interpreter, do: 1, else: 0

    n = fn value, bits ->
      if data == 1, do: <<value::little-size(bits)>>, else: <<value::size(bits)>>
    end

    at = header + entry
    length = byte_size(string)

    identity = <<0x7F, "ELF", class, data, 1, 0::72>>

    head =
      [n.(3, 16), n.(number, 16), n.(1, 32), n.(0, bits), n.(header, bits), n.(0, bits)] ++
        [n.(flags, 32), n.(header, 16), n.(entry, 16), n.(segments, 16), n.(0, 48)]

    segment =
      if bits == 32,
        do: [
          n.(3, 32),
          n.(at, 32),
          n.(0, 64),
          n.(length, 32),
          n.(length, 32),
          n.(4, 32),
          n.(1, 32)
        ],
        else: [
          n.(3, 32),
          n.(4, 32),
          n.(at, 64),
          n.(0, 128),
          n.(length, 64),
          n.(length, 64),
          n.(1, 64)
        ]

    IO.iodata_to_binary([identity, head, segment, string, text])
  end

  @doc "A binary that this VM could have been built with, as far as its headers tell."
  def own_elf(text \\ "") do
    {:ok, elf} = MuonTrap.Build.Elf.parse(File.read!("/proc/self/exe"))

    machine =
      Enum.find_value(@machines, fn {name, {number, _, _, _}} -> number == elf.machine && name end)

    elf(machine, elf.interpreter, text)
  end
end
