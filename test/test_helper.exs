# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# Bounds end what would hang. On a busy machine everything takes its time, and that is no failure. The programs of
# others take minutes and have to be installed: `mix test --only world test/world`.
ExUnit.start(
  capture_log: true,
  timeout: 600_000,
  assert_receive_timeout: 60_000,
  exclude: [:world]
)
