# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

defmodule MuonTrap.Application do
  @moduledoc false
  use Application

  @impl Application
  def start(_type, _args) do
    MuonTrap.Defaults.validate!()
    # Here, where there is somebody to read why it cannot be, and not with the first command.
    MuonTrap.Native.ensure_loaded!()
    Supervisor.start_link([], strategy: :one_for_one, name: MuonTrap.Supervisor)
  end
end
