// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The one thread that waits for all commands: turns what is ready or due into events of their machines, and
//! does what those want done.

mod hear;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Receiver;
use muontrap_core::clock::{Clock, Moment};
use muontrap_core::failure::{Failure, Step};
use muontrap_core::machine::{Ask, Channel, Deadline, Effect, Event, Retry, Source, StartStep};
use muontrap_core::protocol::{CommandId, Request};
use muontrap_core::timers::Timers;
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollTimeout};

use crate::command::{Command, Message};
use crate::delivery::Courier;
use crate::state::{State, is_passing};
use crate::watch::{self, Subject, Task};
use crate::{complaint, dispatch, helper, pool, registry};

/// How many events are taken at once.
const EVENTS: usize = 64;
/// How long a wait that fails is not tried again.
const WAIT_PAUSE: Duration = Duration::from_millis(5);

/// Starts the thread unless it runs. Anything that fails can be tried again.
pub(crate) fn ensure() -> Result<(), Failure> {
    watch::open(start).map_err(|errno| Failure::new(Step::Pipe, "reactor", errno))
}

fn start(tasks: Receiver<Task>) -> io::Result<()> {
    let run = move || {
        let mut reactor = Reactor {
            tasks,
            clock: Clock::default(),
            timers: Timers::default(),
            courier: Courier::new(),
            drop_spare_at: None,
        };
        loop {
            reactor.turn();
        }
    };
    thread::Builder::new().name("muontrap".into()).spawn(run).map(drop)
}

struct Reactor {
    tasks: Receiver<Task>,
    clock: Clock,
    timers: Timers<(CommandId, Deadline)>,
    courier: Courier,
    /// When shims are let go that nobody needs, if there may be such.
    drop_spare_at: Option<Moment>,
}

impl Reactor {
    /// Waits for something and does all that is to do then.
    fn turn(&mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        let ready = self.wait(&mut events);
        for event in &events[..ready] {
            match Subject::of(event) {
                Subject::Tasks => watch::awake(),
                Subject::Later => watch::awake_later(),
                Subject::Idle(shim) => pool::drop_dead(shim),
                Subject::Spawner(generation) => self.guard(0, |it| it.hear_spawner(generation)),
                Subject::Command(id, source) => self.guard(id, |it| {
                    it.with(id, |it, command, state| it.ready(command, state, source));
                }),
            }
        }
        // Not what is handed over meanwhile: whoever refills this queue waits until others had their turn.
        for _ in 0..self.tasks.len() {
            if let Ok(task) = self.tasks.try_recv() {
                self.perform(task);
            }
        }
        while let Some((id, deadline)) = self.timers.take_due(self.clock.now()) {
            self.guard(id, |it| it.due(id, deadline));
        }
        self.look_after_pool();
    }

    /// Wakes up for it only as long as more than one shim is ready.
    fn look_after_pool(&mut self) {
        let now = self.clock.now();
        if self.drop_spare_at.is_some_and(|at| at <= now) {
            self.drop_spare_at = None;
            pool::drop_spare();
        }
        if self.drop_spare_at.is_none() && pool::count() > 1 {
            self.drop_spare_at = Some(now.after(pool::SPARE_AGE));
        }
    }

    /// How many of the events have come.
    fn wait(&mut self, events: &mut [EpollEvent]) -> usize {
        self.timers.forget(|(id, deadline)| is_moot(*id, deadline));
        let next = self.timers.next().into_iter().chain(self.drop_spare_at).min();
        let longest = self.clock.wait_until(next);
        let timeout = longest.map_or(EpollTimeout::NONE, |time| {
            // Rounded up, or the last millisecond would be spent spinning.
            EpollTimeout::try_from(time.as_millis() + 1).unwrap_or(EpollTimeout::MAX)
        });
        let ready = watch::wait(events, timeout);
        self.clock.waited(longest);
        match ready {
            Ok(ready) => ready,
            // A process that was stopped is told so by this when it goes on, see signal(7).
            Err(Errno::EINTR) => 0,
            Err(_) => {
                // There is still what is due and what was handed over.
                thread::sleep(WAIT_PAUSE);
                0
            }
        }
    }

    /// One command's fault must not be the end of all the others, and its owner must not wait for ever.
    fn guard(&mut self, id: CommandId, act: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| act(self))).is_err() {
            let fault = || {
                let text = "the reactor has panicked";
                complaint::log(&mut self.courier.env, registry::get(id).as_deref(), text);
                self.with(id, |it, command, state| it.hear(command, state, Event::Fault));
            };
            // What fails again is left alone.
            let _ = catch_unwind(AssertUnwindSafe(fault));
        }
    }

    fn with(&mut self, id: CommandId, act: impl FnOnce(&mut Self, &Arc<Command>, &mut State)) {
        if let Some(command) = registry::get(id) {
            let mut state = command.lock();
            act(self, &command, &mut state);
        }
    }

    fn perform(&mut self, task: Task) {
        match task {
            Task::OwnerGone(id) => self.guard(id, |it| {
                it.with(id, |it, command, state| {
                    (state.joint, state.hold) = (None, None);
                    it.hear(command, state, Event::OwnerGone);
                });
            }),
            Task::Effect(id, effect) => self.guard(id, |it| {
                it.with(id, |it, command, state| it.carry_out(command, state, [effect]));
            }),
            Task::SpawnerDied(generation) => self.guard(0, |it| it.bury_spawner(generation)),
        }
    }

    /// A descriptor of a command is ready, as far as anybody knows.
    fn ready(&mut self, command: &Arc<Command>, state: &mut State, source: Source) {
        match source {
            Source::Control => self.hear_shim(command, state),
            Source::Stdout => self.hear(command, state, Event::Readable(Channel::Stdout)),
            Source::Stderr => self.hear(command, state, Event::Readable(Channel::Stderr)),
            Source::Stdin => self.hear(command, state, Event::Writable),
        }
    }

    /// The time of a deadline is over.
    fn due(&mut self, id: CommandId, deadline: Deadline) {
        let Some(command) = registry::get(id) else { return };
        if command.lock().machine.is_moot(&deadline) {
            return;
        }
        // What helpers have said already is no silence, however much else is to be read first.
        if deadline.is_patience() {
            self.hear_spawner(command.spawner());
        }
        let mut state = command.lock();
        if deadline.is_patience() {
            self.hear_shim(&command, &mut state);
        }
        match deadline {
            Deadline::Retry(Retry::Look(source)) => self.ready(&command, &mut state, source),
            // It is at work, and has as much time as any.
            Deadline::Start(StartStep::Nudge | StartStep::Evict) if !state.is_unread() => {
                self.set(id, Deadline::Start(StartStep::Wake));
            }
            deadline => self.hear(&command, &mut state, Event::Due(deadline)),
        }
    }

    fn hear(&mut self, command: &Arc<Command>, state: &mut State, event: Event) {
        let effects = state.machine.hear(event);
        self.carry_out(command, state, effects);
    }

    fn carry_out(
        &mut self,
        command: &Arc<Command>,
        state: &mut State,
        effects: impl IntoIterator<Item = Effect>,
    ) {
        for effect in effects {
            if let Some(rest) = command.carry_out(state, effect) {
                self.carry_out_here(command, state, rest);
            }
        }
    }

    /// What only this thread can do.
    fn carry_out_here(&mut self, command: &Arc<Command>, state: &mut State, effect: Effect) {
        let id = command.id;
        match effect {
            Effect::TellStarted(pid) => self.courier.tell(command, state, Message::Started(pid)),
            Effect::TellRoom => self.courier.tell(command, state, Message::Writable),
            Effect::Deliver => {
                if !self.courier.deliver(command, state) {
                    match state.machine.deliver_later() {
                        Some(Effect::Set(deadline)) => self.set(id, deadline),
                        // Handed over, so that the others have their turn before.
                        later => command.act(state, later),
                    }
                }
            }
            Effect::TellGone => {
                for pid in std::mem::take(&mut state.waiting) {
                    self.courier.tell_gone(&pid, id);
                }
            }
            Effect::Ask(ask) => {
                if is_passing(send_request(command, ask)) {
                    self.set(id, Deadline::Retry(Retry::Ask(ask)));
                }
            }
            Effect::StartAgain => {
                if let Err(failure) = dispatch::again(command, state) {
                    self.hear(command, state, Event::Refused(failure));
                }
            }
            Effect::Settle => self.settle(command, state),
            Effect::Set(deadline) => self.set(id, deadline),
            // The command itself has done it.
            Effect::Order(_)
            | Effect::AnswerLingering
            | Effect::KillProgram
            | Effect::Watch(_)
            | Effect::WatchReturn(_)
            | Effect::TypeEnd
            | Effect::CloseOutput(_)
            | Effect::CloseInput
            | Effect::CloseControl => {}
        }
    }

    fn set(&mut self, id: CommandId, deadline: Deadline) {
        self.timers.set(self.clock.now().after(deadline.after()), (id, deadline));
    }

    /// Has a spawner look after what a shim left: its own, or if that is dead too another one, which knows
    /// of it only what is in its cgroups.
    fn settle(&mut self, command: &Arc<Command>, state: &mut State) {
        let id = command.id;
        let (program, cgroup) = (state.machine.session(), command.cgroup.clone());
        let request = Request::Settle { shim: command.shim(), id, program, cgroup };
        let mut asked = helper::ask(command.spawner(), &request);
        if matches!(asked, Err(Errno::EPIPE | Errno::ECONNRESET)) {
            helper::report_death(command.spawner());
            if !command.cgroup.groups.is_empty()
                && let Ok(spawner) = helper::ensure()
            {
                command.claim(spawner, command.shim());
                asked = helper::ask(spawner, &request);
            }
        }
        if is_passing(asked) {
            self.set(id, Deadline::Retry(Retry::Settle));
        } else if asked.is_err() {
            // Nobody knows of anything.
            self.hear(command, state, Event::Settled(Vec::new()));
        }
    }
}

/// Whether a command is over, or past what this deadline is for. Not if its owner is at it in this moment.
fn is_moot(id: CommandId, deadline: &Deadline) -> bool {
    match registry::get(id) {
        Some(command) => command.try_lock().is_some_and(|state| state.machine.is_moot(deadline)),
        None => true,
    }
}

fn send_request(command: &Command, ask: Ask) -> nix::Result<()> {
    let (spawner, shim) = (command.spawner(), command.shim());
    match ask {
        Ask::Sign => helper::ask_sign(spawner),
        Ask::Wake => helper::ask(spawner, &Request::Wake { shim }),
        Ask::Kill => helper::ask(spawner, &Request::Kill { shim, id: command.id }),
        Ask::Evict => helper::ask(spawner, &Request::Evict { shim }),
        Ask::Replace => {
            helper::kill_if_silent(spawner);
            Ok(())
        }
    }
}
