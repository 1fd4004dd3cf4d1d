# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.LiveDashboardTest do
  @moduledoc "The page of LiveDashboard, compiled with what stands in for LiveDashboard."

  use MuonTrap.Case

  alias MuonTrap.Cgroups
  alias Phoenix.LiveDashboard.PageBuilder

  @page "defmodule MuonTrap.TestPage do use MuonTrap.LiveDashboard end"

  setup do
    on_exit(fn ->
      for module <- [MuonTrap.TestPage, PageBuilder] do
        :code.purge(module)
        :code.delete(module)
      end
    end)
  end

  defp page do
    Code.compile_file("test/support/page_builder.exs")
    [{page, _binary}] = Code.compile_string(@page)
    page
  end

  defp command(script) do
    task = Task.async(fn -> MuonTrap.run("sh", ["-c", script]) end)

    entry =
      Cgroups.eventually(fn ->
        Enum.find(MuonTrap.list(), &(&1.owner == task.pid && &1.os_pid))
      end)

    {task, entry}
  end

  defp socket(page, destructive? \\ true) do
    {:ok, session, requirements} = page.init([])
    assert requirements == [application: :muontrap]
    view = %{node: node(), allow_destructive_actions: destructive?}
    {:ok, socket} = page.mount(%{}, session, %{assigns: %{page: view}})
    socket
  end

  defp fetch(page, socket, params) do
    {fetch, state} = page.render(socket.assigns).table.row_fetcher
    params = Map.merge(%{search: nil, sort_by: :id, sort_dir: :asc, limit: 50}, Map.new(params))
    fetch.(params, node(), state)
  end

  defp rows(page, socket, params \\ []), do: page |> fetch(socket, params) |> elem(0)

  defp event(page, socket, name, params) do
    {:noreply, socket} = page.handle_event(name, params, socket)
    socket
  end

  defp cells(page, socket, row) do
    for column <- page.render(socket.assigns).columns,
        into: %{},
        do: {column.field, column.cell.(row)}
  end

  test "without LiveDashboard it says what to add" do
    assert_raise ArgumentError, ~r/add {:phoenix_live_dashboard, /, fn ->
      Code.compile_string(@page)
    end
  end

  test "it shows, sorts and finds what runs" do
    {first, %{id: first_id, os_pid: pid}} = command("sleep 1000; true first")
    {second, %{id: second_id}} = command("echo output; sleep 1000; true second")
    page = page()
    socket = socket(page)
    ids = ["#{first_id}", "#{second_id}"]

    assert for(row <- rows(page, socket), do: row.id) == ids
    assert for(row <- rows(page, socket, sort_dir: :desc), do: row.id) == Enum.reverse(ids)

    assert [%{id: ^first_id}] =
             Enum.map(rows(page, socket, search: "FIRST"), &%{id: String.to_integer(&1.id)})

    assert [%{pid: found}] = rows(page, socket, search: "#{pid}")
    assert found == "#{pid}"
    assert {[_one], 2, _state} = fetch(page, socket, limit: 1)
    assert {[_one, _two], 2, _state} = fetch(page, socket, limit: nil)

    for column <- page.render(socket.assigns).columns, column[:sortable] do
      assert [_one, _two] = rows(page, socket, sort_by: column.field)
    end

    [row | _] = rows(page, socket)
    assert %{command: command, contained: "tree", owner: owner} = cells(page, socket, row)
    assert command =~ "sh -c sleep 1000; true first"
    assert owner == inspect(first.pid)

    with_tree = event(page, socket, "view", %{"tree" => "true"})

    Cgroups.eventually(fn ->
      cells(page, with_tree, hd(rows(page, socket))).command =~ ~r/└ \d+ sleep/
    end)

    for id <- [first_id, second_id], do: MuonTrap.stop(id)
    Task.await_many([first, second])
  end

  test "CPU and output are those since the last refresh, and two at once are one" do
    {task, %{id: id}} = command("while :; do echo output; done")
    page = page()
    socket = socket(page)
    {fetch, nil} = page.render(socket.assigns).table.row_fetcher
    params = %{search: nil, sort_by: :cpu, sort_dir: :desc, limit: 50}
    {[%{output: "0"}], 1, state} = fetch.(params, node(), nil)
    {_rows, 1, {now, _before, taken_us}} = fetch.(params, node(), state)
    # A machine that takes longer for that than two clicks are apart has taken another sample.
    assert now == elem(state, 0) or taken_us > elem(state, 2) + 200_000

    Cgroups.eventually(fn ->
      {[%{output: output, cpu: cpu}], 1, _state} =
        fetch.(params, node(), put_elem(state, 2, taken_us - 200_000))

      output != "0" and String.to_float(cpu) > 0
    end)

    MuonTrap.stop(id)
    Task.await(task)
  end

  test "it stops and signals" do
    {stopped, %{id: stopped_id}} = command("exec sleep 1000")

    {signalled, %{id: signalled_id}} =
      command("trap 'exit 5' USR1; echo; while :; do sleep 0.01; done")

    Cgroups.eventually(fn ->
      Enum.any?(MuonTrap.list(), &(&1.id == signalled_id and &1.stdout_bytes == 1))
    end)

    page = page()
    socket = event(page, socket(page), "view", %{"signal" => "sigusr1"})
    assert socket.assigns.signal == "sigusr1"
    assert event(page, socket, "view", %{"signal" => "sigsegfault"}).assigns.signal == "sigusr1"

    [row] = rows(page, socket, search: "usr1")

    assert cells(page, socket, row).act =~
             ~r/phx-value-id=#{signalled_id}\s+phx-value-signal=sigusr1/

    socket = event(page, socket, "signal", %{"id" => row.id, "signal" => "sigusr1"})
    assert socket.assigns.said == "sent sigusr1 to #{signalled_id}"
    assert %{status: {:exited, 5}} = Task.await(signalled, 60_000)
    socket = event(page, socket, "stop", %{"id" => "#{stopped_id}"})
    assert socket.assigns.said == "stopping #{stopped_id}"
    assert %{status: {:signaled, :sigterm}} = Task.await(stopped, 60_000)
    {:noreply, socket} = page.handle_refresh(socket)
    assert socket.assigns.said == nil

    for id <- ["-", "", "1; q", "x"] do
      assert event(page, socket, "stop", %{"id" => id}).assigns.said == "no such command"
    end
  end

  test "without destructive actions there are no buttons, and a forged click does nothing" do
    {task, %{id: id}} = command("exec sleep 1000")
    page = page()
    socket = socket(page, false)
    refute Map.has_key?(cells(page, socket, hd(rows(page, socket))), :act)

    for {event, more} <- [{"stop", %{}}, {"signal", %{"signal" => "sigkill"}}] do
      socket = event(page, socket, event, Map.put(more, "id", "#{id}"))
      assert socket.assigns.said =~ "allow_destructive_actions"
    end

    MuonTrap.signal(id, :sighup)
    assert %{status: {:signaled, :sighup}} = Task.await(task, 60_000)
  end

  test "the menu has it where muontrap runs" do
    page = page()
    assert page.menu_link([], %{applications: [:muontrap]}) == {:ok, "Commands"}
    assert page.menu_link([], %{applications: []}) == {:disabled, "Commands"}
  end
end
