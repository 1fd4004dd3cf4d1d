# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

[
  inputs: [
    "{mix,.formatter}.exs",
    "{bench,config,lib,mix,test}/**/*.{ex,exs}"
  ]
]
