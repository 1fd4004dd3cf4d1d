# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

import Config

# The application's environment, read at run time whenever a command starts. A project that depends
# on muontrap sets these in its own config/config.exs or config/runtime.exs; what it leaves out has
# the value shown here, which comes from mix.exs. An option given to a function goes before them.
#
#   config :muontrap,
#     # Bytes of output that a command may be ahead of its owner; then it blocks in write.
#     stdio_window: 10_240,
#     # Milliseconds between SIGTERM and SIGKILL.
#     delay_to_sigkill: 500,
#     # The spawner's file; nil is the one in muontrap's priv folder.
#     spawner_path: nil

# Tests kill commands often.
if config_env() == :test, do: config(:logger, level: :warning)
