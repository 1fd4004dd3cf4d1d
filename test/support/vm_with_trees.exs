# SPDX-FileCopyrightText: 2026 The muontrap authors
# SPDX-License-Identifier: Apache-2.0

# The VM that MuonTrap.VMDeath ends: starts a tree of each shape, says so, and obeys.
#
# Arguments: "ready" if the shims have served other commands before, the token, the base of the cgroups or "none",
# their controllers with commas in between, then the shapes. A form of `MuonTrap.Forms` may stand for one.

[shims, token, base, controllers | shapes] = System.argv()
controllers = String.split(controllers, ",", trim: true)
opts = if base == "none", do: [], else: [cgroup_base: base, cgroup_controllers: controllers]
main = self()

if shims == "ready", do: MuonTrap.Trees.make_ready(length(shapes))

start = fn shape, token ->
  case MuonTrap.VMDeath.of_sessions()[shape] do
    nil -> MuonTrap.Trees.start(shape, token, opts)
    shape -> MuonTrap.Trees.open(shape, token, opts)
  end
end

owners =
  for shape <- shapes do
    spawn(fn ->
      token = MuonTrap.VMDeath.shape_token(token, shape)
      shape = String.to_existing_atom(shape)

      if shape in MuonTrap.Forms.forms() do
        MuonTrap.Forms.run(shape, :new_session, token, opts, fn ->
          send(main, {:stands, self()})
          receive(do: (:never -> :ok))
        end)
      else
        running = start.(shape, token)
        send(main, {:stands, self()})
        receive(do: (:never -> running))
      end
    end)
  end

for _shape <- shapes, do: receive(do: ({:stands, _owner} -> :ok))
shims = Enum.map(MuonTrap.Trees.programs(), &MuonTrap.Trees.parent/1)
IO.puts(Enum.join(["stands", System.pid(), MuonTrap.Nif.spawner_pid() | shims], " "))

purge = fn ->
  true = :code.delete(MuonTrap.Nif)
  false = :code.purge(MuonTrap.Nif)
end

case IO.gets("") do
  "halt\n" ->
    System.halt(0)

  "stop\n" ->
    :init.stop()

  "abort\n" ->
    :erlang.halt(:abort)

  "purge and halt\n" ->
    purge.()
    System.halt(0)

  "purge and kill\n" ->
    purge.()
    Enum.each(owners, &Process.exit(&1, :kill))
    # While the VM lives: its end would be another proof.
    true = MuonTrap.Trees.eventually(fn -> MuonTrap.Trees.carrying(token) == [] end)
    System.halt(0)

  _other ->
    :ok
end

receive(do: (:never -> :ok))
