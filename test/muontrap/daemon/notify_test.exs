# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Daemon.NotifyTest do
  @moduledoc "What programs tell of themselves over `NOTIFY_SOCKET`, from their start to their end."

  use ExUnit.Case

  alias MuonTrap.Daemon.Notify
  alias MuonTrap.{Cgroups, Daemon, Error, Trees}

  # Says what it is told to, a word at a time: as sd_notify(3) does, with a barrier where that is asked for.
  @program ~S"""
  import array, os, signal, socket, sys, time
  name = os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1)
  out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
  out.connect(name)

  def barrier():
      read, write = os.pipe()
      fds = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [write]))]
      out.sendmsg([b"BARRIER=1"], fds)
      os.close(write)
      os.read(read, 1)  # returns at the end of file: once the other end is closed by the reader

  def say(words):
      for word in words:
          if word == "barrier": barrier()
          elif word == "print": print("orderly", flush=True)
          elif word.startswith("sleep"): time.sleep(float(word[5:]))
          elif word == "end": os._exit(0)
          else: out.send(word.replace(",", "\n").encode())

  def stop(*_):
      say(sys.argv[2].split())
      os._exit(0)

  signal.signal(signal.SIGTERM, stop)
  say(sys.argv[1].split())
  # A signal that comes just before a sleep is handled after it.
  signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
  signal.sigwait([signal.SIGTERM])
  stop()
  """

  setup do
    Process.flag(:trap_exit, true)
    :ok
  end

  defp start(first, last, opts) do
    args = ["-c", @program, first, last]
    Daemon.start_link("python3", args, [ready: :notify, start_timeout: 60_000] ++ opts)
  end

  defp to(test), do: &send(test, {:line, &1})

  describe "a service in Python" do
    unless System.find_executable("python3") do
      Cgroups.announce("there is no python3 to say what services say")
      @describetag :skip
    end

    # Nobody read the socket while the program stopped, so it hung until its grace was over.
    test "a program that waits for its last words to be read ends by itself" do
      {:ok, daemon} =
        start("READY=1", "STOPPING=1 barrier STATUS=bye barrier", delay_to_sigkill: 60_000)

      us = elem(:timer.tc(fn -> GenServer.stop(daemon, :normal, 90_000) end), 0)
      assert us < 30_000_000
    end

    test "a program that never reads an answer has its socket emptied while it stops" do
      last = "STOPPING=1 " <> String.duplicate("STATUS=xxxxxxxx ", 2_000)
      {:ok, daemon} = start("READY=1", last, delay_to_sigkill: 60_000)
      us = elem(:timer.tc(fn -> GenServer.stop(daemon, :normal, 90_000) end), 0)
      assert us < 30_000_000
    end

    test "what it says is in the statistics" do
      {:ok, daemon} =
        start("STATUS=warming MAINPID=4711 READY=1 barrier STATUS=serving barrier", "", [])

      assert Trees.eventually(fn ->
               match?(%{status: "serving", main_pid: 4711}, Daemon.statistics(daemon).notify)
             end)

      GenServer.stop(daemon)
    end

    test "it may ask for more time to start" do
      assert {:ok, daemon} =
               start("EXTEND_TIMEOUT_USEC=60000000 barrier sleep2 READY=1", "",
                 start_timeout: 1_500
               )

      GenServer.stop(daemon)
      # And does not get it without asking.
      assert {:error, %Error{step: :start_timeout}} =
               start("sleep30 READY=1", "", start_timeout: 500)
    end

    # Its last line shows that it came to its end.
    test "it may ask for more time to stop" do
      test = self()
      opts = [delay_to_sigkill: 300, logger_fun: &send(test, {:line, &1})]
      last = "EXTEND_TIMEOUT_USEC=8000000 barrier sleep1 print"
      {:ok, daemon} = start("READY=1", last, opts)
      GenServer.stop(daemon, :normal, 60_000)
      assert_received {:line, "orderly"}

      {:ok, daemon} = start("READY=1", "sleep5 print", opts)
      GenServer.stop(daemon, :normal, 60_000)
      refute_received {:line, "orderly"}
    end

    test "and is killed when its grace is over if it does not" do
      {:ok, daemon} = start("READY=1", "sleep1000", delay_to_sigkill: 200)
      us = elem(:timer.tc(fn -> GenServer.stop(daemon, :normal, 90_000) end), 0)
      assert us < 30_000_000
    end

    test "a watchdog that is not fed stops the Daemon" do
      {:ok, daemon} = start("READY=1", "", watchdog: 500)
      assert_receive {:EXIT, ^daemon, %Error{step: :watchdog, reason: :timeout}}, 60_000
      {:ok, daemon} = start("READY=1 barrier WATCHDOG=trigger", "", watchdog: 60_000)
      assert_receive {:EXIT, ^daemon, %Error{step: :watchdog}}, 60_000
    end

    test "it may change the time of its watchdog, or have one" do
      first = "WATCHDOG_USEC=300000 READY=1"
      {:ok, daemon} = start(first, "", watchdog: 60_000)
      assert_receive {:EXIT, ^daemon, %Error{step: :watchdog}}, 60_000
      {:ok, daemon} = start("READY=1 barrier WATCHDOG_USEC=300000", "", [])
      assert_receive {:EXIT, ^daemon, %Error{step: :watchdog}}, 60_000
    end

    test "what says that it stops is not watched any more" do
      {:ok, daemon} = start("READY=1 STOPPING=1 sleep2 STATUS=bye sleep1000", "", watchdog: 500)
      assert Trees.eventually(fn -> Daemon.statistics(daemon).notify.status == "bye" end)
      GenServer.stop(daemon)
    end

    test "the VM's own watchdog is not taken for ours" do
      System.put_env("WATCHDOG_PID", System.pid())
      on_exit(fn -> System.delete_env("WATCHDOG_PID") end)
      test = self()
      script = ~S(echo "pid=$WATCHDOG_PID usec=$WATCHDOG_USEC"; exec "$0" 0)
      args = ["-c", script, Trees.program("notify_ready")]
      opts = [ready: :notify, watchdog: 60_000, logger_fun: &send(test, {:line, &1})]
      {:ok, daemon} = Daemon.start_link("sh", args, opts)
      assert_receive {:line, "pid= usec=60000000"}
      GenServer.stop(daemon)
    end

    # Its end was heard of before its last words were, in one start of five.
    test "what it has said before its end counts, however much that is" do
      for _round <- 1..20 do
        {:ok, daemon} = start(String.duplicate("STATUS=x ", 9) <> "READY=1 end", "", [])
        assert_receive {:EXIT, ^daemon, :normal}, 60_000
      end

      # The start was, and what it was started for is tried again.
      opts = [restart_backoff: [first: 60_000, on: :end]]
      {:ok, daemon} = start(String.duplicate("STATUS=x ", 9) <> "READY=1 end", "", opts)
      assert Trees.eventually(fn -> Daemon.statistics(daemon).next_start_ms != nil end)
      GenServer.stop(daemon)
      assert_receive {:EXIT, ^daemon, :normal}

      first = "READY=1 " <> String.duplicate("EXTEND_TIMEOUT_USEC=1000 ", 9) <> "end"
      for _round <- 1..5, do: assert({:ok, _daemon} = start(first, "", watchdog: 60_000))
      for _round <- 1..5, do: assert_receive({:EXIT, _daemon, :normal}, 60_000)
    end

    test "what it has said before its end counts when it was stopped, too" do
      last = String.duplicate("STATUS=x ", 9) <> "RELOADING=1 READY=1 end"

      for _round <- 1..10 do
        {:ok, daemon} = start("READY=1", last, reload: :sigwinch, delay_to_sigkill: 60_000)
        reload = Task.async(fn -> Daemon.reload(daemon, 60_000) end)
        assert Trees.eventually(fn -> :sys.get_state(daemon).reloads != [] end)
        GenServer.stop(daemon)
        assert Task.await(reload) == :ok
      end
    end

    # What came after 1,460 bytes was lost.
    test "a datagram may be as long as systemd takes it, and longer" do
      for bytes <- [1_500, 4_088, 60_000] do
        {:ok, daemon} = start("STATUS=#{String.duplicate("x", bytes)},READY=1", "", [])
        assert byte_size(Daemon.statistics(daemon).notify.status) == bytes
        GenServer.stop(daemon)
      end
    end

    # The time of a timer that is too long for the VM ended the Daemon.
    test "it may ask for endless time, and for no watchdog" do
      endless = "18446744073709551615"
      almost = "18446744073709551614"
      first = "EXTEND_TIMEOUT_USEC=#{endless} EXTEND_TIMEOUT_USEC=#{almost} READY=1"
      off = "WATCHDOG_USEC=#{almost} barrier WATCHDOG_USEC=100000 WATCHDOG_USEC="

      for word <- ["0", endless] do
        last = "EXTEND_TIMEOUT_USEC=#{almost} print"
        opts = [logger_fun: to(self()), watchdog: 60_000]

        {:ok, daemon} =
          start("#{first} #{off}#{word} barrier sleep1 STATUS=here barrier", last, opts)

        assert Trees.eventually(fn -> Daemon.statistics(daemon).notify.status == "here" end)
        GenServer.stop(daemon)
        assert_received {:line, "orderly"}
      end
    end

    test "a watchdog that is fed does not" do
      fed = "READY=1 " <> String.duplicate("sleep0.1 WATCHDOG=1 ", 50)
      {:ok, daemon} = start(fed <> "STATUS=fed sleep1000", "", watchdog: 3_000)
      assert Trees.eventually(fn -> Daemon.statistics(daemon).notify.status == "fed" end)
      GenServer.stop(daemon)
    end
  end

  test "nonsense is passed over" do
    datagrams = [
      "",
      "\n\n",
      "MAINPID=x",
      "MAINPID=-1",
      "MAINPID=99999999999999999999",
      "EXTEND_TIMEOUT_USEC=",
      "EXTEND_TIMEOUT_USEC=0",
      "EXTEND_TIMEOUT_USEC=18446744073709551616",
      "WATCHDOG_USEC=-1",
      "WATCHDOG_USEC=18446744073709551616",
      "READY=2",
      <<0, 255>>
    ]

    for datagram <- datagrams, do: assert({%Notify{}, []} = Notify.take(%Notify{}, datagram))
    assert {%Notify{status: "a\uFFFD"}, []} = Notify.take(%Notify{}, <<"STATUS=a", 255>>)
    assert {%Notify{status: "a=b"}, [:ready]} = Notify.take(%Notify{}, "STATUS=a=b\nREADY=1")
  end
end
