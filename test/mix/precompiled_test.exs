# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

Code.require_file("mix/native/build.exs", Path.expand("../..", __DIR__))

defmodule MuonTrap.Build.PrecompiledTest do
  @moduledoc "Archives of what was built elsewhere: taken if they are what they should be, else refused with a way out."

  # The environment and Mix's shell belong to the whole VM.
  use ExUnit.Case, async: false

  import MuonTrap.Builds

  alias MuonTrap.Build
  alias MuonTrap.Build.{Fetch, Precompiled, Target}

  @triple "aarch64-unknown-linux-gnu"
  @name "muontrap-1.2.3-nif-2.15-#{@triple}.tar.gz"

  setup do
    shell = Mix.shell()
    Mix.shell(Mix.Shell.Process)
    on_exit(fn -> Mix.shell(shell) end)
    tmp = folder()

    for name <-
          ~w(MUONTRAP_BUILD MUONTRAP_NATIVE_PREBUILT MUONTRAP_PRECOMPILED_DIR CARGO_TARGET_DIR) ++
            ~w(http_proxy HTTP_PROXY no_proxy NO_PROXY),
        do: put_env(name, nil)

    put_env("MUONTRAP_NATIVE_TARGET", @triple)
    put_env("XDG_CACHE_HOME", Path.join(tmp, "cache"))
    # Whoever asks Cargo here has taken the wrong way.
    cargo(tmp, build: "exit 42", static: "exit 42")

    options = %{
      priv: Path.join(tmp, "priv"),
      native: Path.join(source(), "native"),
      cargo_target: Path.join(tmp, "target"),
      tests?: false,
      version: "1.2.3",
      checksums: Path.join(tmp, "checksum.exs"),
      url: nil,
      timeout_ms: 60_000
    }

    %{
      tmp: tmp,
      options: options,
      archive: archive(["muontrap", "muontrap_nif.so", "muontrap_spawner"])
    }
  end

  defp archive(names, machine \\ "aarch64") do
    tar =
      Path.join(
        System.tmp_dir!(),
        "muontrap_#{System.unique_integer([:positive])}_#{System.pid()}"
      )

    files = for name <- names, do: {to_charlist(name), elf(machine, nil, name)}
    :ok = :erl_tar.create(tar, files, [:compressed])
    content = File.read!(tar)
    File.rm!(tar)
    content
  end

  defp sum(content), do: Base.encode16(:crypto.hash(:sha256, content), case: :lower)

  defp list(path, content, url \\ nil),
    do: File.write!(path, inspect(%{url: url, sha256: %{@name => sum(content)}}))

  # Answers each connection with what `answer` returns, and counts them. Ends with the test.
  defp server(answer) do
    {:ok, listener} =
      :gen_tcp.listen(0, [:binary, active: false, ip: {127, 0, 0, 1}, reuseaddr: true])

    {:ok, port} = :inet.port(listener)
    test = self()

    start_supervised!(
      {Task,
       fn ->
         Stream.repeatedly(fn -> :gen_tcp.accept(listener) end)
         |> Enum.each(fn {:ok, socket} ->
           {:ok, request} = :gen_tcp.recv(socket, 0, 60_000)
           send(test, {:request, request |> String.split("\r\n") |> hd()})
           answer.(socket)
           :gen_tcp.close(socket)
         end)
       end},
      id: port
    )

    on_exit(fn -> :gen_tcp.close(listener) end)
    "http://127.0.0.1:#{port}/releases"
  end

  defp reply(content, length \\ nil) do
    fn socket ->
      head =
        "HTTP/1.1 200 OK\r\ncontent-length: #{length || byte_size(content)}\r\nconnection: close\r\n\r\n"

      :gen_tcp.send(socket, [head, content])
    end
  end

  describe "from an address" do
    test "it is fetched, verified, installed and kept", %{
      options: options,
      archive: archive,
      tmp: tmp
    } do
      url = server(reply(archive))
      list(options.checksums, archive, url)
      assert {true, _watched} = Build.run(options)
      assert_receive {:request, "GET /releases/#{@name} HTTP/1.1"}
      assert_receive {:mix_shell, :info, ["muontrap: took #{@name} from " <> _]}

      assert File.read!(Path.join(options.priv, "muontrap_spawner")) ==
               elf("aarch64", nil, "muontrap_spawner")

      assert Enum.sort(File.ls!(options.priv)) == [
               "muontrap",
               "muontrap_nif.so",
               "muontrap_spawner"
             ]

      # From the cache, for another build; one that was changed there is fetched again.
      assert {true, _watched} = Build.run(%{options | priv: Path.join(tmp, "other")})
      refute_received {:request, _}
      [cached] = Path.wildcard(Path.join(tmp, "cache/**/#{@name}"))
      File.write!(cached, "changed")
      assert {true, _watched} = Build.run(%{options | priv: Path.join(tmp, "third")})
      assert_receive {:request, _}
      assert File.read!(cached) == archive
    end

    test "the configured one goes before that of the release", %{
      options: options,
      archive: archive
    } do
      list(options.checksums, archive, "http://127.0.0.1:1/nobody")
      assert {true, _watched} = Build.run(%{options | url: server(reply(archive))})
    end

    test "one that was changed, is cut off or another is not unpacked", %{
      options: options,
      archive: archive
    } do
      list(options.checksums, archive)
      half = binary_part(archive, 0, div(byte_size(archive), 2))

      for {answer, message} <- [
            {reply(archive <> "x"),
             ~r/is not what muontrap's checksum.exs says.*MUONTRAP_BUILD=1/},
            {reply(half), ~r/SHA-256 of its #{byte_size(half)} bytes.*cut off or changed/},
            {reply(archive(["muontrap_nif.so"])), ~r/is not what/},
            {reply(half, byte_size(archive)),
             ~r/cannot fetch .*MUONTRAP_PRECOMPILED_DIR.*MUONTRAP_BUILD=1/}
          ] do
        assert_raise Mix.Error, message, fn -> Build.run(%{options | url: server(answer)}) end
        refute File.exists?(options.priv)
      end
    end

    test "one that is missing, or comes too slowly, is said to be", %{
      options: options,
      archive: archive
    } do
      list(options.checksums, archive)
      missing = &:gen_tcp.send(&1, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
      # Until the client has given up.
      silent = fn socket -> :gen_tcp.recv(socket, 0, 60_000) end

      assert_raise Mix.Error,
                   ~r/cannot fetch http.*: HTTP status 404 Not Found\. Compile again/,
                   fn ->
                     Build.run(%{options | url: server(missing)})
                   end

      assert_raise Mix.Error, ~r/cannot fetch http.*: no answer in time\./, fn ->
        Build.run(%{options | url: server(silent), timeout_ms: 200})
      end

      assert_raise Mix.Error, ~r/cannot fetch http.*: no connection: :econnrefused\./, fn ->
        Build.run(%{options | url: "http://127.0.0.1:1"})
      end
    end

    test "a proxy is asked, unless it is none for that host", %{
      options: options,
      archive: archive
    } do
      list(options.checksums, archive)
      "http://127.0.0.1:" <> rest = server(reply(archive))
      put_env("http_proxy", "http://127.0.0.1:#{String.replace(rest, "/releases", "")}")
      assert {true, _watched} = Build.run(%{options | url: "http://archives.invalid/here"})
      assert_receive {:request, "GET http://archives.invalid" <> _}

      put_env("no_proxy", "localhost,.invalid")

      assert {:error, _no_such_host} =
               Fetch.get("http://archives.invalid/here", timeout_ms: 20_000)

      refute_received {:request, _}
    end

    # OTP's packages leave it out where nobody asked for it.
    unless match?({:module, _}, Code.ensure_loaded(:public_key)) do
      MuonTrap.Cgroups.announce("there is no public_key to sign a certificate with")
      @tag :skip
    end

    test "a certificate that nobody has signed is refused", %{tmp: tmp} do
      key = [key: {:rsa, 2048, 65_537}, digest: :sha256]
      chain = %{root: key, intermediates: [], peer: key}
      keys = :public_key.pkix_test_data(%{server_chain: chain, client_chain: chain})
      {:ok, _} = Application.ensure_all_started(:ssl)
      {:ok, listener} = :ssl.listen(0, keys.server_config ++ [active: false, ip: {127, 0, 0, 1}])
      {:ok, {_address, port}} = :ssl.sockname(listener)

      start_supervised!(
        {Task,
         fn ->
           {:ok, socket} = :ssl.transport_accept(listener)
           :ssl.handshake(socket, 60_000)
         end}
      )

      assert {:error, reason} = Fetch.get("https://127.0.0.1:#{port}/#{tmp}", timeout_ms: 20_000)
      assert reason =~ ~r/no connection: .*(unknown|bad certificate|certificate)/i
    end
  end

  describe "from a folder" do
    setup %{tmp: tmp, archive: archive} do
      folder = Path.join(tmp, "archives")
      File.mkdir_p!(folder)
      File.write!(Path.join(folder, @name), archive)
      put_env("MUONTRAP_PRECOMPILED_DIR", folder)
      %{folder: folder}
    end

    test "it is verified by the folder's list, or by the package's, which goes first", context do
      %{folder: folder, options: options, archive: archive} = context
      list(Path.join(folder, "checksum.exs"), archive)
      assert {true, watched} = Build.run(options)
      assert Path.join(folder, @name) in watched

      list(options.checksums, "another")

      assert_raise Mix.Error, ~r/is not what checksum.exs says.*mix muontrap.checksum/, fn ->
        Build.run(options)
      end
    end

    test "without a list, an archive, or the folder itself, each has its sentence", context do
      %{folder: folder, options: options} = context

      assert_raise Mix.Error,
                   ~r/nothing tells the SHA-256 .*mix muontrap.checksum #{folder}/,
                   fn -> Build.run(options) end

      File.write!(Path.join(folder, "checksum.exs"), "System.halt(1)")

      assert_raise Mix.Error, ~r/checksum.exs is no list of checksums/, fn ->
        Build.run(options)
      end

      put_env("MUONTRAP_NATIVE_TARGET", "riscv64gc-unknown-linux-gnu")

      assert_raise Mix.Error,
                   ~r/no archive for riscv64gc.*bin\/precompile riscv64gc-unknown-linux-gnu/,
                   fn ->
                     Build.run(options)
                   end

      put_env("MUONTRAP_PRECOMPILED_DIR", folder <> "-none")

      assert_raise Mix.Error, ~r/names no folder, got: #{folder}-none/, fn ->
        Build.run(options)
      end
    end

    test "one that is verified, but for another machine or without a part, is not installed",
         context do
      %{folder: folder, options: options} = context

      for {archive, message} <- [
            {archive(["muontrap", "muontrap_nif.so", "muontrap_spawner"], "x86_64"),
             ~r/is for x86-64, 64 bits, but/},
            {archive(["muontrap_nif.so"]), ~r/lacks muontrap_spawner/},
            {"no archive", ~r/cannot unpack/}
          ] do
        File.write!(Path.join(folder, @name), archive)
        list(Path.join(folder, "checksum.exs"), archive)
        assert_raise Mix.Error, message, fn -> Build.run(options) end
        refute File.exists?(options.priv)
      end
    end

    test "nothing leaves the folder that it is unpacked to", %{
      folder: folder,
      options: options,
      tmp: tmp
    } do
      archive = archive(["muontrap", "muontrap_nif.so", "muontrap_spawner", "../outside", "more"])
      File.write!(Path.join(folder, @name), archive)
      list(Path.join(folder, "checksum.exs"), archive)
      assert {true, _watched} = Build.run(options)

      assert Enum.sort(File.ls!(options.priv)) == [
               "muontrap",
               "muontrap_nif.so",
               "muontrap_spawner"
             ]

      refute File.exists?(Path.join(tmp, "outside"))
    end

    test "MUONTRAP_BUILD=1 builds all the same", %{options: options} do
      put_env("MUONTRAP_BUILD", "1")
      assert_raise Mix.Error, ~r/cargo exited with 42/, fn -> Build.run(options) end
    end
  end

  test "a target that nothing was built for is said to be, and built here", %{
    options: options,
    archive: archive
  } do
    list(options.checksums, archive, "http://127.0.0.1:1")
    put_env("MUONTRAP_NATIVE_TARGET", "s390x-unknown-linux-gnu")
    assert_raise Mix.Error, ~r/cargo exited with 42/, fn -> Build.run(options) end
    assert_received {:mix_shell, :info, ["muontrap: nothing is built for s390x" <> _]}
  end

  test "the list is written by mix muontrap.checksum, for a folder or a release", %{
    tmp: tmp,
    archive: archive
  } do
    File.write!(Path.join(tmp, @name), archive)
    Mix.Tasks.Muontrap.Checksum.run([tmp])

    assert Precompiled.read(Path.join(tmp, "checksum.exs")) == %{
             url: nil,
             sha256: %{@name => sum(archive)}
           }

    list = Path.join(tmp, "list.exs")

    Mix.Tasks.Muontrap.Checksum.run([tmp, "--output", list, "--url", "https://example.com/v1.2.3"])

    assert %{url: "https://example.com/v1.2.3"} = Precompiled.read(list)

    assert_raise Mix.Error, ~r/no archive in .*bin\/precompile/, fn ->
      Mix.Tasks.Muontrap.Checksum.run([Path.join(tmp, "none")])
    end
  end

  test "musl and glibc of one machine have archives of their own" do
    for {vendor, libc} <- [{"alpine", "musl"}, {"unknown", "musl"}, {"unknown", "gnu"}] do
      target = Target.resolve(%{"MUONTRAP_NATIVE_TARGET" => "x86_64-#{vendor}-linux-#{libc}"})
      assert target.triple =~ libc
    end
  end
end
