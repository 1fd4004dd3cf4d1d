# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Port do
  @moduledoc """
  For old code that opens ports on the program `muontrap` itself, see `MuonTrap.muontrap_path/0`.

  Nothing in this library uses it. `MuonTrap.cmd/3`, `MuonTrap.run/3` and `MuonTrap.Daemon` need no port and no
  acknowledgements, and confirm the end of a program.
  """

  # What `port_options/2` makes of an option, in this order.
  @flags [
    arg0: "--arg0",
    cgroup_path: "--group",
    delay_to_sigkill: "--delay-to-sigkill",
    uid: "--uid",
    gid: "--gid",
    stdio_window: "--stdio-window"
  ]
  @for_the_port [:env, :cd, :arg0, :parallelism]

  @doc "The same as `MuonTrap.muontrap_path/0`."
  @spec muontrap_path() :: Path.t()
  defdelegate muontrap_path, to: MuonTrap

  @doc """
  The options for `Port.open/2` that run a command under the program `muontrap`.

  `options` is a map or keyword list with the command as `:cmd`, its arguments as `:args`, and options of
  `MuonTrap.cmd/3`: `:arg0`, `:cgroup_controllers`, `:cgroup_path`, `:cgroup_sets`, `:delay_to_sigkill`, `:uid`, `:gid`,
  `:groups`, `:stdio_window`, `:stderr_to_stdout`, `:capture_stderr_only`, `:env`, `:cd` and `:parallelism`;
  `:log_output` and `:logger_fun` of a Daemon ask for its output. What else there is is left out. `args` come before
  those that the options make. Nothing is checked: the program says what it does not understand.

  ## Examples

      iex> MuonTrap.Port.port_options(%{cmd: "echo", args: ["hello"], uid: "nobody"})
      [:use_stdio, :exit_status, :binary, :hide, args: ["--uid", "nobody", "--", "echo", "hello"]]
  """
  @spec port_options(map() | keyword(), [String.t()]) :: list()
  def port_options(options, args \\ []) do
    options = Map.new(options)
    arguments = args ++ arguments(options) ++ ["--", options.cmd | options.args]

    for_the_port =
      for key <- @for_the_port, {:ok, value} <- [given(options, key)], do: {key, value}

    [:use_stdio, :exit_status, :binary, :hide, {:args, arguments} | for_the_port]
  end

  defp arguments(options) do
    List.flatten([
      for(
        {key, flag} <- @flags,
        {:ok, value} <- [given(options, key)],
        do: [flag, to_string(value)]
      ),
      for({:ok, groups} <- [given(options, :groups)], do: ["--groups", Enum.join(groups, ",")]),
      for(name <- options[:cgroup_controllers] || [], do: ["--controller", name]),
      for {controller, file, value} <- options[:cgroup_sets] || [] do
        ["--controller", controller, "--set", "#{file}=#{value}"]
      end,
      if(options[:log_output] || options[:logger_fun], do: "--capture-output", else: []),
      if(options[:stderr_to_stdout], do: "--capture-stderr", else: []),
      if(options[:capture_stderr_only], do: "--capture-stderr-only", else: [])
    ])
  end

  # `nil` is what a checked call has for what was not given.
  defp given(options, key) do
    with {:ok, nil} <- Map.fetch(options, key), do: :error
  end

  @doc """
  Tells the program of a port that `count` bytes of its output were handled, so that it passes on as many again.

  Returns `:ok`, also when the port is closed by now: then there is nobody left to tell. Blocks the caller only while
  the port is busy.
  """
  @spec report_bytes_handled(port(), pos_integer()) :: :ok
  def report_bytes_handled(port, count) when is_port(port) and is_integer(count) do
    Port.command(port, encode_acks(count))
    :ok
  rescue
    ArgumentError -> :ok
  end

  @doc """
  The acknowledgement of `count` bytes: each byte of value n is one of n + 1 bytes.

      iex> IO.iodata_to_binary(MuonTrap.Port.encode_acks(257))
      <<255, 0>>
  """
  @spec encode_acks(pos_integer()) :: iodata()
  def encode_acks(count) when count > 0 do
    last = for rest when rest > 0 <- [rem(count, 256)], do: rest - 1
    [:binary.copy(<<255>>, div(count, 256)) | last]
  end
end
