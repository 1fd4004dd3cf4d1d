# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Forms do
  @moduledoc """
  The forms in which programs run besides as single commands: streams and pipelines. In each the first and the last program
  is a tree of one of the shapes of `MuonTrap.Trees`.
  """

  alias MuonTrap.Trees
  alias MuonTrapTest.Sink

  @forms [:stream, :joined_streams, :streams_through_the_vm, :pipeline]

  # Waits until the tree before it stands.
  @then ["-c", "read ready; exec \"$0\" \"$@\""]

  @doc "The forms."
  @spec forms() :: [atom()]
  def forms, do: @forms

  @doc """
  Runs a form in the calling process, with a token in the environment of each program. Once all of it stands `fun` is
  called there, which may end it. Otherwise it goes on for ever.
  """
  @spec run(atom(), atom(), String.t(), keyword(), (() -> term())) :: term()
  def run(form, shape, token, opts, fun) do
    opts = Keyword.merge([delay_to_sigkill: 50, env: [{"MUONTRAP_TOKEN", token}]], opts)
    {command, args} = Trees.command(shape)
    heard = fn bytes -> if bytes =~ "ready", do: fun.() end
    start(form, {command, args}, {"sh", @then ++ [command | args]}, opts, heard)
  end

  defp start(:stream, {command, args}, _last, opts, heard),
    do: command |> MuonTrap.stream!(args, opts) |> Enum.each(heard)

  defp start(:joined_streams, first, last, opts, heard),
    do: streams(first, last, opts, opts, heard)

  # What has a time of its own is not joined.
  defp start(:streams_through_the_vm, first, last, opts, heard),
    do: streams(first, last, [timeout: 3_600_000] ++ opts, opts, heard)

  defp start(:pipeline, first, last, opts, heard) do
    into = %Sink{
      fun: fn
        _acc, {:cont, bytes} -> heard.(bytes)
        acc, _end -> acc
      end
    }

    MuonTrap.pipeline([first, {"cat", []}, last], [into: into] ++ opts)
  end

  defp streams({command, args}, {last, last_args}, first_opts, opts, heard) do
    MuonTrap.stream!(command, args, first_opts)
    |> MuonTrap.pipe!("cat", [], first_opts)
    |> MuonTrap.pipe!(last, last_args, opts)
    |> Enum.each(heard)
  end
end
