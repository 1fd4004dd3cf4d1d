# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

import Config

# What the application can be given, each with its default. It is read at run time whenever a
# command starts, so a project that depends on muontrap may set it in config/runtime.exs, too; this
# file does not reach such a project. MuonTrap.Defaults checks it.
config :muontrap,
  # Bytes of output that a command may be ahead of its owner; then it blocks in write.
  stdio_window: 10_240,
  # Milliseconds between the stop signal and SIGKILL.
  delay_to_sigkill: 500,
  # Absolute path of the folder with the native parts; nil is muontrap's priv folder.
  priv_dir: nil,
  # Absolute path of the spawner; nil is the one in that folder.
  spawner_path: nil,
  # Address of a folder with archives of native parts, read when muontrap is compiled; nil is the release's.
  precompiled_url: nil
