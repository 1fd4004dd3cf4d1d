# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Node.SessionTest do
  @moduledoc "Conversations with programs on another node: all that they have on this one."

  use MuonTrap.Case

  import MuonTrap.NodeTrees
  import MuonTrap.Nodes, only: [eval: 3]

  alias MuonTrap.{Error, Result}

  setup :network

  # Both have what they need to talk over there.
  @prelude ~S"""
  import MuonTrap.Session
  alias MuonTrap.Trees
  patience = 60_000
  command = fn -> hd(:erpc.call(node, MuonTrap, :list, [])) end
  over? = fn -> Trees.eventually(fn -> :erpc.call(node, MuonTrap, :list, []) == [] end) end
  """

  defp converse(calling, working, code), do: eval(calling, @prelude <> code, node: working.node)

  test "is written to, read, and waited for", context do
    for [calling, working] <- [nodes(context, [:calling, :working])] do
      code = ~S"""
      script = "echo $WHERE; read line; echo got $line; printf 5:abcde; echo bad >&2; exec cat"
      {:ok, session} = MuonTrap.open("sh", ["-c", script], node: node, capture_stderr: true)
      where = read_line(session, patience)
      :ok = write(session, "this\n")
      got = expect(session, ~r/got (\w+)\n5:/, patience)
      five = read_bytes(session, 5, patience)
      bad = expect(session, {:stderr, "bad\n"}, patience)
      nothing = read(session, 10)
      :ok = write(session, "back")
      back = read(session, patience)
      {:ok, os_pid} = os_pid(session)
      there = command.().os_pid == os_pid
      :ok = close_stdin(session)
      the_end = read(session, patience)
      closed = write(session, "more")
      {:ok, result} = await(session, patience)
      [where, got, five, bad, nothing, back, there, the_end, closed, result, read(session), Process.info(self(), :messages)]
      """

      assert [
               where,
               got,
               five,
               bad,
               nothing,
               back,
               there,
               the_end,
               closed,
               result,
               over,
               messages
             ] = converse(calling, working, code)

      assert where == {:ok, "working"}
      assert got == {:ok, "", ["got this\n5:", "this"]}
      assert {five, bad} == {{:ok, "abcde"}, {:ok, "", ["bad\n"]}}
      assert {nothing, back} == {{:error, :timeout}, {:ok, {:stdout, "back"}}}
      assert {there, the_end, closed} == {true, :eof, {:error, :closed}}
      assert %Result{status: {:exited, 0}, stopped_by: nil} = result
      assert result.usage.max_rss_bytes > 0
      assert {over, messages} == {{:error, :closed}, {:messages, []}}
      assert idle?(working)
    end
  end

  test "has a terminal, and gives it another size", context do
    for [calling, working] <- [nodes(context, [:calling, :working])] do
      code = ~S"""
      {:ok, session} = MuonTrap.open("sh", [], node: node, pty: [rows: 24, cols: 80])
      :ok = write(session, "stty size\n")
      {:ok, _before, _match} = expect(session, "24 80\r\n", patience)
      :ok = resize(session, 40, 100)
      :ok = write(session, "stty size\n")
      {:ok, _before, _match} = expect(session, "40 100\r\n", patience)
      :ok = close_stdin(session)
      {:ok, result} = await(session, patience)
      {:ok, none} = MuonTrap.open("cat", [], node: node)
      {result.status, resize(none, 1, 1), stop(none) |> elem(1) |> Map.fetch!(:status)}
      """

      assert converse(calling, working, code) ==
               {{:exited, 0}, {:error, :enotty}, {:signaled, :sigterm}}
    end
  end

  test "is signalled and stopped, and answers when nobody is left", context do
    for [calling, working] <- [nodes(context, [:calling, :working])] do
      code = ~S"""
      script = "trap 'echo heard; exit 7' USR1; trap '' TERM; echo ready; while :; do sleep 0.01; done"
      open! = fn -> {:ok, session} = MuonTrap.open("sh", ["-c", script], node: node); {:ok, "ready"} = read_line(session, patience); session end
      one = open!.()
      sent = signal(one, :sigusr1)
      heard = [read_line(one, patience), read(one, patience)]
      gone = signal(one, :sigusr1)
      {:ok, result} = await(one, patience)
      two = open!.()
      reader = Task.async(fn -> read(two, :infinity) end)
      {:ok, stopped} = stop(two, 50)
      nothing_left = :erpc.call(node, MuonTrap, :list, []) == []
      {sent, heard, gone, result.status, stopped.status, nothing_left, Task.await(reader), Process.info(self(), :messages)}
      """

      assert converse(calling, working, code) ==
               {:ok, [{:ok, "heard"}, :eof], {:error, :esrch}, {:exited, 7},
                {:signaled, :sigkill}, true, {:error, :closed}, {:messages, []}}
    end
  end

  test "waits for who reads, and is whole", context do
    for [calling, working] <- [nodes(context, [:calling, :working])] do
      code = ~S"""
      {:ok, flood} = MuonTrap.open("yes", [], node: node, stdio_window: 4_096)
      full? = Trees.eventually(fn -> command.().stdout_bytes == 4_096 end)
      {:ok, some} = read(flood, patience)
      more = for _ <- 1..100, uniq: true, do: command.().stdout_bytes <= 8_192
      {:ok, _result} = stop(flood)

      whole = fn whole, session, all ->
        case read(session, patience) do
          {:ok, bytes} -> whole.(whole, session, [all | bytes])
          :eof -> IO.iodata_to_binary(all)
        end
      end

      numbers = Enum.map_join(1..20_000, &"#{&1}\n")
      counted = for window <- [1_000, 10_240, 1_048_576] do
        {:ok, session} = MuonTrap.open("seq", ["20000"], node: node, stdio_window: window)
        whole.(whole, session, []) == numbers
      end

      {:ok, lines} = MuonTrap.open("seq", ["3"], node: node, lines: 1)
      {full?, byte_size(some) in 1..4_096, more, counted, for(_ <- 1..4, do: read(lines, patience))}
      """

      assert converse(calling, working, code) ==
               {true, true, [true], [true, true, true],
                [{:ok, "1"}, {:ok, "2"}, {:ok, "3"}, :eof]}
    end
  end

  test "makes who writes wait, and loses nothing", context do
    for [calling, working] <- [nodes(context, [:calling, :working])] do
      code = ~S"""
      bytes = :binary.copy("0123456789", 500_000)
      {:ok, session} = MuonTrap.open("sh", ["-c", "kill -STOP $$; exec cat"], node: node)
      {:error, {:timeout, written}} = write(session, bytes, 1_000)
      [{:memory, here}, {:message_queue_len, waiting}] = Process.info(session.pid, [:memory, :message_queue_len])
      owner = command.().owner
      {:message_queue_len, there} = :erpc.call(node, Process, :info, [owner, :message_queue_len])

      # What was begun is there, and no more; the rest goes on behind it.
      writer = Task.async(fn -> write(session, binary_part(bytes, written, byte_size(bytes) - written)) end)
      :ok = signal(session, :sigcont)
      {:ok, echo} = read_bytes(session, byte_size(bytes), patience)
      :ok = Task.await(writer, patience)
      :ok = close_stdin(session)
      {:ok, result} = await(session, patience)

      {:ok, deaf} = MuonTrap.open("sh", ["-c", "exec <&-; echo deaf; exec sleep 1000"], node: node)
      {:ok, "deaf"} = read_line(deaf, patience)
      refused = write(deaf, bytes)
      {:ok, _result} = stop(deaf)
      {written, here < 1_000_000, waiting, there, echo == bytes, result.status, refused}
      """

      assert {written, true, 0, 0, true, {:exited, 0}, {:error, :closed}} =
               converse(calling, working, code)

      # What is on its way, and a pipe.
      assert written >= 131_072 and written <= 131_072 + 65_536
    end
  end

  test "sends events to its owner, whoever that is", context do
    for [calling, working] <- [nodes(context, [:calling, :working])] do
      code = ~S"""
      next = fn session -> receive do {:muontrap, ^session, event} -> event after patience -> :nothing end end
      flush = fn flush, session, events ->
        receive do
          {:muontrap, ^session, {:stdout, bytes}} -> flush.(flush, session, [bytes | events])
        after 0 -> events |> Enum.map(&byte_size/1) |> Enum.sum()
        end
      end

      {:ok, flood} = MuonTrap.open("yes", [], node: node, active: true, stdio_window: 4_096)
      full? = Trees.eventually(fn -> command.().stdout_bytes >= 4_096 end)
      {:message_queue_len, length} = Process.info(self(), :message_queue_len)
      in_mailbox = flush.(flush, flood, [])
      ack(flood, length)
      {:stdout, _more} = next.(flood)
      {:ok, _result} = stop(flood)

      {:ok, one} = MuonTrap.open("sh", ["-c", "echo 1; echo 2; echo 3; echo 4; exit 5"], node: node, lines: 1, active: :once)
      first = next.(one)
      false = match?({:messages, [_ | _]}, Process.info(self(), :messages))
      :ok = set_active(one, 2)
      two = for _ <- 1..3, do: next.(one)

      test = self()
      other = spawn_link(fn ->
        receive do :yours -> :ok end
        rest = for _ <- 1..2, do: next.(one)
        send(test, {:rest, rest})
      end)
      :ok = controlling_process(one, other)
      not_mine = controlling_process(one, self())
      send(other, :yours)
      :ok = set_active(one, true)
      rest = receive do {:rest, rest} -> rest end
      {full?, in_mailbox <= 4_096, first, two, not_mine, hd(rest), rest |> tl() |> hd() |> elem(1) |> Map.fetch!(:status)}
      """

      assert converse(calling, working, code) ==
               {true, true, {:stdout, "1"}, [{:stdout, "2"}, {:stdout, "3"}, :passive],
                {:error, :not_owner}, {:stdout, "4"}, {:exited, 5}}
    end
  end

  test "has its bounds", context do
    for [calling, working] <- [nodes(context, [:calling, :working])] do
      code = ~S"""
      run = fn script, opts ->
        {:ok, session} = MuonTrap.open("sh", ["-c", script], [node: node, delay_to_sigkill: 50] ++ opts)
        {:ok, result} = await(session, patience)
        {result.status, result.truncated}
      end

      {run.("exec sleep 1000", timeout: 50), run.("exec sleep 1000", idle_timeout: 50),
       run.("exec yes", max_output: {1_000, :stop}), over?.(), Process.info(self(), :messages)}
      """

      assert converse(calling, working, code) ==
               {{:timeout, false}, {:idle_timeout, false}, {:max_output, true}, true,
                {:messages, []}}
    end
  end

  test "says why it cannot begin, and leaves no process", context do
    for [calling, working] <- [nodes(context, [:calling, :working])] do
      code = ~S"""
      open = fn program, opts -> MuonTrap.open(program, [], opts) |> elem(1) end
      start = fn -> {open.("true", node: :"nobody@127.0.0.1"), open.("no_such_program", node: node), open.("cat", node: node, cd: "/nowhere")} end
      start.()
      before = length(Process.list())
      errors = start.()
      {errors, Trees.eventually(fn -> length(Process.list()) <= before end), Process.info(self(), :messages)}
      """

      assert {{nobody, program, directory}, true, {:messages, []}} =
               converse(calling, working, code)

      assert %Error{step: :node, reason: :noconnection, subject: "nobody@127.0.0.1"} = nobody
      assert %Error{step: :lookup, subject: "no_such_program", reason: :enoent} = program
      assert %Error{step: :chdir, reason: :enoent} = directory
      assert idle?(working)
    end
  end
end
