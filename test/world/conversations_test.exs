# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.World.ConversationsTest do
  @moduledoc """
  Sessions with programs that people talk to: interpreters, clients of databases, of TLS, a language server, and
  ffmpeg. Each is asked something, answers, is asked to leave, and leaves nothing.
  """

  use ExUnit.Case, async: true

  alias MuonTrap.{Result, Session, Trees, World}

  @moduletag :world
  @moduletag timeout: 600_000

  @patience_ms 120_000

  setup do
    token = Trees.token()
    %{token: token, opts: [env: [{"MUONTRAP_TOKEN", token}]]}
  end

  defp open!(program, args, opts) do
    {:ok, session} = MuonTrap.open(World.find(program), args, opts)
    session
  end

  defp say(session, text), do: :ok = Session.write(session, text)

  defp expect(session, pattern) do
    assert {:ok, before, match} = Session.expect(session, pattern, @patience_ms)
    {before, match}
  end

  # It leaves when it is told to, and nothing is left then.
  defp leaves(session, token, status \\ {:exited, 0}) do
    assert {:ok, %Result{status: ^status}} = Session.await(session, @patience_ms)
    assert Trees.carrying(token) == []
  end

  test "python3 -i: prompts, an error, and what an interrupt ends", %{token: token, opts: opts} do
    if World.installed?("python3") do
      session = open!("python3", ["-i", "-q"], [stderr_to_stdout: true] ++ opts)
      assert {"", _} = expect(session, ">>> ")
      say(session, "6 * 7\n")
      assert {"42\n", _} = expect(session, ">>> ")
      say(session, "1 / 0\n")
      assert {traceback, _} = expect(session, ">>> ")
      assert traceback =~ "ZeroDivisionError"

      say(session, "import time; print('sleeps', flush=True); time.sleep(1000)\n")
      expect(session, "sleeps\n")
      :ok = Session.signal(session, :sigint)
      assert {traceback, _} = expect(session, ">>> ")
      assert traceback =~ "KeyboardInterrupt"

      say(session, "exit(7)\n")
      leaves(session, token, {:exited, 7})
    end
  end

  test "bc: numbers of any length, line by line", %{token: token, opts: opts} do
    if World.installed?("bc") do
      session = open!("bc", ["-q"], env: [{"BC_LINE_LENGTH", "0"} | opts[:env]])

      for n <- [1, 64, 2_000] do
        say(session, "2^#{n}\n")
        assert Session.read_line(session, @patience_ms) == {:ok, "#{Integer.pow(2, n)}"}
      end

      :ok = Session.close_stdin(session)
      leaves(session, token)
    end
  end

  test "sqlite3: statements, an error apart, and a result that floods", %{
    token: token,
    opts: opts
  } do
    if World.installed?("sqlite3") do
      session =
        open!("sqlite3", ["-batch"], [capture_stderr: true, max_buffer: 4_000_000] ++ opts)

      say(
        session,
        "create table t (n int); insert into t values (1), (2); select sum(n) from t;\n"
      )

      assert Session.read_line(session, @patience_ms) == {:ok, "3"}
      say(session, "select nonsense;\n")
      assert {:ok, _, _} = Session.expect(session, {:stderr, ~r/no such column/}, @patience_ms)

      say(session, """
      with recursive c(x) as (select 1 union all select x + 1 from c where x < 200000) select x from c;
      .print done
      """)

      assert {numbers, _} = expect(session, "done\n")
      assert numbers == Enum.map_join(1..200_000, &"#{&1}\n")
      say(session, ".exit\n")
      # It has not forgotten.
      leaves(session, token, {:exited, 1})
    end
  end

  test "redis-cli: a transaction, and messages to subscribers as events", %{
    token: token,
    opts: opts
  } do
    if World.installed?("redis-server") and World.installed?("redis-cli") do
      port = World.port()

      args = [
        "--port",
        "#{port}",
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        World.directory()
      ]

      World.start(%{
        command: "redis-server",
        args: args,
        use: fn -> World.tool("redis-cli", ["-p", "#{port}", "ping"]) == "PONG\n" end
      })

      cli = ["-p", "#{port}"]
      session = open!("redis-cli", cli, opts)

      for {order, answer} <- [
            {"multi", "OK"},
            {"incr n", "QUEUED"},
            {"exec", "1"},
            {"get n", "1"}
          ] do
        say(session, order <> "\n")
        assert Session.read_line(session, @patience_ms) == {:ok, answer}
      end

      subscriber =
        open!("redis-cli", cli ++ ["subscribe", "news"], [lines: 1024, active: true] ++ opts)

      for line <- ["subscribe", "news", "1"], do: assert(event(subscriber) == line)
      say(session, "publish news hello\n")
      assert Session.read_line(session, @patience_ms) == {:ok, "1"}
      for line <- ["message", "news", "hello"], do: assert(event(subscriber) == line)

      assert {:ok, %Result{}} = Session.stop(subscriber)
      say(session, "quit\n")
      leaves(session, token)
      refute_receive {:muontrap, _, _}
    end
  end

  defp event(session) do
    assert_receive {:muontrap, ^session, {:stdout, line}}, @patience_ms
    :ok = Session.ack(session)
    line
  end

  test "openssl s_client: words with s_server over TLS", %{token: token, opts: opts} do
    if World.installed?("openssl") do
      port = World.port()
      directory = World.directory()
      [key, certificate] = for name <- ["key.pem", "cert.pem"], do: Path.join(directory, name)

      request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
      assert World.tool("openssl", request ++ ["-keyout", key, "-out", certificate, "-days", "2"])

      server =
        open!(
          "openssl",
          ["s_server", "-accept", "127.0.0.1:#{port}", "-key", key, "-cert", certificate],
          opts
        )

      expect(server, "ACCEPT\n")

      connect = [
        "s_client",
        "-connect",
        "127.0.0.1:#{port}",
        "-CAfile",
        certificate,
        "-verify_return_error"
      ]

      client = open!("openssl", connect, [stderr_to_stdout: true] ++ opts)
      expect(client, ~r/Verify return code: 0 \(ok\)/)
      expect(server, ~r/CIPHER is .*\n/)

      say(client, "hello from the client\n")
      expect(server, "hello from the client\n")
      say(server, "hello from the server\n")
      expect(client, "hello from the server\n")

      say(client, "Q\n")
      expect(client, "DONE\n")
      assert {:ok, %Result{status: {:exited, 0}}} = Session.await(client, @patience_ms)
      assert {:ok, %Result{}} = Session.stop(server)
      assert Trees.carrying(token) == []
    end
  end

  test "pylsp: a language server, with its frames, asked for what is wrong and what may come next",
       %{
         token: token,
         opts: opts
       } do
    if World.installed?("pylsp") do
      session = open!("pylsp", [], opts)

      request(
        session,
        1,
        "initialize",
        ~S({"processId": null, "rootUri": null, "capabilities": {}})
      )

      assert answer(session, 1) =~ ~S("completionProvider")
      notify(session, "initialized", "{}")

      # Larger than a pipe.
      filler = String.duplicate("# nothing to see here\\n", 10_000)
      text = filler <> "import math\\nmath.fact"

      notify(session, "textDocument/didOpen", ~s({"textDocument": {"uri": "file:///tmp/a.py",
        "languageId": "python", "version": 1, "text": "#{text}"}}))

      request(
        session,
        2,
        "textDocument/completion",
        ~S({"textDocument": {"uri": "file:///tmp/a.py"},
        "position": {"line": 10001, "character": 9}})
      )

      assert answer(session, 2) =~ "factorial"
      request(session, 3, "shutdown", "null")
      assert answer(session, 3) =~ ~r/"result": ?null/
      notify(session, "exit", "null")
      leaves(session, token)
    end
  end

  defp request(session, id, method, params),
    do:
      send_frame(
        session,
        ~s({"jsonrpc": "2.0", "id": #{id}, "method": "#{method}", "params": #{params}})
      )

  defp notify(session, method, params),
    do: send_frame(session, ~s({"jsonrpc": "2.0", "method": "#{method}", "params": #{params}}))

  defp send_frame(session, json),
    do: say(session, ["Content-Length: #{byte_size(json)}\r\n\r\n", json])

  # The answer to this request. What the server has to say unasked, is not looked at.
  defp answer(session, id) do
    {_headers, [_all, length]} = expect(session, ~r/Content-Length: (\d+)\r\n(?:.+\r\n)*\r\n/)
    {:ok, json} = Session.read_bytes(session, String.to_integer(length), @patience_ms)
    if json =~ ~r/"id": ?#{id}\b/, do: json, else: answer(session, id)
  end

  test "ffmpeg: told q, it finishes its file", %{token: token, opts: opts} do
    if World.installed?("ffmpeg") do
      file = Path.join(World.directory(), "out.mkv")
      source = ["-re", "-f", "lavfi", "-i", "testsrc=size=64x64:rate=10"]
      args = ["-hide_banner" | source] ++ ["-c:v", "mpeg4", "-flush_packets", "1", file]
      session = open!("ffmpeg", args, [stderr_to_stdout: true] ++ opts)
      expect(session, ~r/frame= *[1-9]/)
      say(session, "q")
      leaves(session, token)

      probe = [
        "-v",
        "error",
        "-count_frames",
        "-show_entries",
        "stream=nb_read_frames",
        "-of",
        "csv=p=0",
        file
      ]

      assert {frames, _} = "ffprobe" |> World.tool(probe) |> Integer.parse()
      assert frames > 0
    end
  end

  test "what is in the midst of a conversation ends with its owner", %{token: token, opts: opts} do
    programs = [{"python3", ["-i"]}, {"sqlite3", []}, {"pylsp", []}, {"bc", []}]
    here = Enum.filter(programs, fn {program, _args} -> World.installed?(program) end)
    test = self()

    owner =
      spawn(fn ->
        for {program, args} <- here, do: open!(program, args, opts)
        send(test, :talking)
        receive(do: (:never -> :ok))
      end)

    assert_receive :talking, @patience_ms
    assert length(Trees.carrying(token)) >= length(here)
    Process.exit(owner, :kill)
    assert Trees.eventually(fn -> Trees.carrying(token) == [] end)
  end
end
