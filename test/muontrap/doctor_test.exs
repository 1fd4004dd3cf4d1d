# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.DoctorTest do
  @moduledoc "What the doctor says of a machine is what that machine does."

  use MuonTrap.Case

  import ExUnit.CaptureIO

  alias MuonTrap.{Cgroups, Doctor, OtherVM}
  alias MuonTrap.Doctor.{Checks, Delegation}

  defp found(findings, check), do: Enum.find(findings, &(&1.check == check))

  # What a VM elsewhere has found, by the name of the check.
  defp examined(output) do
    for line <- String.split(output, "\n"),
        ["=" <> check, status, text] <- [String.split(line, "\t")],
        into: %{},
        do: {check, {status, text}}
  end

  @say """
  for one <- MuonTrap.Doctor.examine() do
    IO.puts("=\#{one.check}\\t\#{one.status}\\t\#{one.found} | \#{one.consequence} | \#{one.mend}")
  end
  """

  describe "here" do
    @tag :cgroup
    test "nothing is missing where the other tests pass, and each finding is whole" do
      findings = Doctor.examine()
      assert Enum.map(findings, & &1.check) == Checks.names()
      assert Doctor.overall(findings) in [:ok, :degraded]

      for %{status: status} = finding <- findings do
        assert is_binary(finding.found) and finding.found != ""
        refute finding.found =~ "the check failed"
        if status == :ok, do: assert({finding.consequence, finding.mend} == {nil, nil})
        if status != :ok, do: assert(finding.consequence != "" and finding.mend != "")
      end

      for check <- [:library, :spawner, :program, :trial, :subreaper, :proc],
          do: assert(found(findings, check).status == :ok)

      # A VM of a kernel that has none says so.
      assert found(findings, :pidfd).status == :ok == (MuonTrap.Nif.probe().pidfd == :ok)
      refute_received _message
    end

    @tag :cgroup
    test "a cgroup_base that it names works, and where it names none, that is refused" do
      for {controller, result} <- Delegation.bases(Cgroups.layout()) do
        case result do
          {:ok, base} ->
            # Another name than the one that somebody may have taken.
            base = if base == "muontrap", do: Cgroups.base(), else: base
            assert {"", 0} = limited(base, controller)

          {:error, error} ->
            IO.puts(:stderr, "\nrefused here: #{Exception.message(error)}")
            assert error.hint
            assert_raise MuonTrap.Error, fn -> limited(:self, controller) end
        end
      end
    end

    defp limited(base, nil), do: MuonTrap.cmd("true", [], cgroup_base: base)

    defp limited(base, controller),
      do: MuonTrap.cmd("true", [], cgroup_base: base, cgroup_controllers: [controller])

    test "it changes no cgroup" do
      before = Cgroups.groups()
      Doctor.examine()
      assert Cgroups.groups() == before
    end
  end

  describe "elsewhere" do
    test "an unprivileged user lacks capabilities, and everything else runs" do
      if OtherVM.possible?(OtherVM.as_user()) do
        directory = OtherVM.directory()
        {output, 0} = OtherVM.run(directory, OtherVM.as_user(), @say)
        found = examined(output)
        assert {"degraded", text} = found["capabilities"]
        assert text =~ "CAP_SETUID" and text =~ "uid:"
        assert {"ok", "uid #{OtherVM.uid()}, gid #{OtherVM.uid()} |  | "} == found["user"]
        for check <- ["library", "spawner", "trial", "proc"], do: assert({"ok", _} = found[check])
      end
    end

    test "a user who may open few files is told how many commands have room" do
      directory = OtherVM.directory()
      {output, 0} = OtherVM.run(directory, ["prlimit", "--nofile=120"], @say)
      assert {"degraded", text} = examined(output)["open_files"]
      assert text =~ "of 120" and text =~ "ulimit -n"
    end

    test "a sandbox that has kept the /proc of its host is found out" do
      if MuonTrap.Trees.possible?(:pid_namespace) do
        directory = OtherVM.directory()
        {output, 0} = OtherVM.run(directory, ["unshare", "--pid", "--fork"], @say)
        found = examined(output)
        assert {"degraded", text} = found["proc"]
        assert text =~ "another PID namespace"
        assert {"ok", _text} = found["trial"]
      end
    end

    @tag :cgroup
    test "a container with read-only cgroups is told what Docker needs" do
      wrapper = ["unshare", "--mount", "--cgroup", "--pid", "--fork", "--mount-proc"]

      read_only =
        "for m in $(grep -o ' /sys/fs/cgroup[^ ]*' /proc/self/mountinfo | sort -u); do " <>
          "mount -o remount,bind,ro $m; done; exec \"$0\" \"$@\""

      if OtherVM.possible?(wrapper) do
        directory = OtherVM.directory()
        {output, 0} = OtherVM.run(directory, wrapper ++ ["sh", "-c", read_only], @say)
        found = examined(output)
        assert {"degraded", text} = found["delegation"]
        assert text =~ "read-only" and text =~ "Docker"
        assert {"ok", text} = found["container"]
        assert text =~ "process 1" or text =~ ~r/docker|none/
        for check <- ["proc", "trial"], do: assert({"ok", _} = found[check])
      end
    end

    test "a VM without the native library, whose application cannot start, says what mends it" do
      directory = OtherVM.directory()
      File.rm!(Path.join(directory, "muontrap/priv/muontrap_nif.so"))
      File.chmod!(Path.join(directory, "muontrap/priv/muontrap_spawner"), 0o644)

      code = """
      {:error, _reason} = Application.ensure_all_started(:muontrap)
      :missing = MuonTrap.doctor()
      #{@say}
      """

      {output, 0} = OtherVM.run(directory, [], code)
      assert output =~ "mix deps.compile muontrap --force"
      found = examined(output)
      for check <- ["library", "spawner", "trial"], do: assert({"missing", _} = found[check])
      assert {"missing", text} = found["spawner"]
      assert text =~ "permission denied" and text =~ "chmod +x"
      # The kernel is told of all the same.
      assert {"ok", _text} = found["kernel"]
      refute output =~ "the check failed"
    end
  end

  describe "the report" do
    test "is printed, and its worst status returned" do
      text = capture_io(fn -> assert MuonTrap.doctor() == Doctor.overall(Doctor.examine()) end)
      for check <- Checks.names(), do: assert(text =~ ~r/(ok|degraded|missing) +#{check} /)
    end

    test "fits into the columns, but for what is to be copied" do
      text = IO.iodata_to_binary(Doctor.text(Doctor.examine(), 70))

      for line <- String.split(text, "\n"),
          not (line =~ "=>"),
          line =~ " ",
          words = line |> String.slice(25..-1//1) |> String.split(),
          length(words) > 1,
          do: assert(String.length(line) <= 70, line)
    end

    test "is JSON whatever was found" do
      odd = "a \"quote\", a \\ and \n, \x01, é" <> <<0xFF>>

      findings = [
        %{check: :otp, status: :degraded, found: odd, consequence: nil, mend: "x"},
        %{check: :user, status: :ok, found: "", consequence: nil, mend: nil}
      ]

      json = IO.iodata_to_binary(Doctor.json(findings))
      read = "import json, sys; print(json.dumps(json.load(sys.stdin), sort_keys=True))"

      cond do
        # From OTP 27 on.
        Code.ensure_loaded?(:json) ->
          assert %{"status" => "degraded", "checks" => [first, second]} =
                   apply(:json, :decode, [json])

          assert first["found"] == String.replace_suffix(odd, <<0xFF>>, "\uFFFD")
          assert %{"check" => "otp", "consequence" => :null, "mend" => "x"} = first
          assert %{"check" => "user", "found" => ""} = second

        System.find_executable("python3") ->
          assert {text, 0} = MuonTrap.cmd("python3", ["-c", read], input: json)
          assert text =~ ~S("found": "a \"quote\", a \\ and \n, \u0001, \u00e9\ufffd")
          assert text =~ ~S("status": "degraded", "version": ")
          assert text =~ ~S("consequence": null)

        true ->
          Cgroups.announce("there is neither :json nor python3 to read JSON")
      end
    end
  end
end
