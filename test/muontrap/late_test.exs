# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.LateTest do
  @moduledoc "How long a wait goes on that has ended late."

  use ExUnit.Case, async: true

  alias MuonTrap.Late

  defp now_ms, do: System.monotonic_time(:millisecond)

  test "what is in time does not go on, and what is late goes on for the time that was lost, twice as long at most" do
    assert Late.more_ms(now_ms() + 10_000, 5_000) == 0
    assert Late.more_ms(now_ms() - 1_000, 60_000) in 1_000..59_999
    assert Late.more_ms(now_ms() - 60_000, 5_000) == 5_000
  end

  test "a timer that came late goes on once, however late the next one is" do
    assert Late.start(nil, :about) == nil
    assert Late.start(:infinity, :about) == nil

    timer = Late.again({:about, now_ms() - 60_000, 20})
    assert_receive {:timeout, ^timer, {:about, due_ms, most_ms}}
    assert Late.again({:about, due_ms - 60_000, most_ms}) == nil
  end

  test "a timer that is in time does not go on" do
    timer = Late.start(20, :about)
    assert_receive {:timeout, ^timer, {:about, due_ms, 20}}
    assert Late.again({:about, due_ms + 60_000, 20}) == nil
  end
end
