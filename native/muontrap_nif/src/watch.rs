// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What the reactor waits for: descriptors that become ready, see epoll(7), and what other threads hand over.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use muontrap_core::machine::{Effect, Source};
use muontrap_core::protocol::{CommandId, ShimId};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use crate::sync::lock;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Command(CommandId, Source),
    /// With its generation.
    Spawner(u64),
    /// A shim that is ready for a command.
    Idle(ShimId),
    /// Something was handed over.
    Tasks,
    /// Something was handed over that has time.
    Later,
}

/// What other threads hand over, so that they need not wait.
#[derive(Debug)]
pub(crate) enum Task {
    /// The owner ended, or dropped its handle.
    OwnerGone(CommandId),
    /// What a command wants done and only the reactor can do.
    Effect(CommandId, Effect),
    /// The spawner of this generation is dead.
    SpawnerDied(u64),
}

/// An event's number is that of its command or spawner, and these bits for what of it.
const SUBJECT_BITS: u32 = 3;
const SPAWNER: u64 = 4;
const TASKS: u64 = 5;
const IDLE: u64 = 6;
const LATER: u64 = 7;

/// How long what has time is left alone.
const LATER_PAUSE: Duration = Duration::from_millis(100);

impl Subject {
    fn data(self) -> u64 {
        match self {
            Subject::Command(id, source) => id << SUBJECT_BITS | source as u64,
            Subject::Spawner(generation) => generation << SUBJECT_BITS | SPAWNER,
            Subject::Idle(shim) => shim << SUBJECT_BITS | IDLE,
            Subject::Tasks => TASKS,
            Subject::Later => LATER,
        }
    }

    pub(crate) fn of(event: &EpollEvent) -> Self {
        let number = event.data() >> SUBJECT_BITS;
        match event.data() & ((1 << SUBJECT_BITS) - 1) {
            0 => Subject::Command(number, Source::Control),
            1 => Subject::Command(number, Source::Stdout),
            2 => Subject::Command(number, Source::Stderr),
            3 => Subject::Command(number, Source::Stdin),
            SPAWNER => Subject::Spawner(number),
            IDLE => Subject::Idle(number),
            LATER => Subject::Later,
            _ => Subject::Tasks,
        }
    }

    /// The event that is asked for with it: of pipes one, and another when that was handled.
    fn event(self) -> EpollEvent {
        let flags = match self {
            Subject::Command(_, Source::Stdout | Source::Stderr) => {
                EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT
            }
            Subject::Command(_, Source::Stdin) => EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT,
            Subject::Command(_, Source::Control)
            | Subject::Spawner(_)
            | Subject::Idle(_)
            | Subject::Tasks
            | Subject::Later => EpollFlags::EPOLLIN,
        };
        EpollEvent::new(flags, self.data())
    }
}

struct Watch {
    epoll: Epoll,
    wake: EventFd,
    /// Wakes the thread in a while, if it is set.
    timer: TimerFd,
    timer_set: AtomicBool,
    tasks: Sender<Task>,
}

static WATCH: OnceLock<Watch> = OnceLock::new();

/// Makes it unless it is there, and has whoever waits for it started. Anything that fails can be tried again.
pub(crate) fn open(start: impl FnOnce(Receiver<Task>) -> io::Result<()>) -> nix::Result<()> {
    static OPENING: Mutex<()> = Mutex::new(());
    if WATCH.get().is_some() {
        return Ok(());
    }
    let _only_one = lock(&OPENING);
    if WATCH.get().is_some() {
        return Ok(());
    }
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let wake = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
    epoll.add(&wake, Subject::Tasks.event())?;
    let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
    epoll.add(&timer, Subject::Later.event())?;
    let (tasks, received) = unbounded();
    start(received).map_err(|error| error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw))?;
    // Nobody else sets it: the lock is held.
    let _ = WATCH.set(Watch { epoll, wake, timer, timer_set: AtomicBool::new(false), tasks });
    Ok(())
}

/// Watches a descriptor, which leaves by being closed. All memory that the kernel needs for it is taken here,
/// where a lack of it is an error of the start.
pub(crate) fn add(descriptor: BorrowedFd<'_>, subject: Subject) -> nix::Result<()> {
    let event = match subject {
        // Nothing is asked for until somebody waits for room.
        Subject::Command(_, Source::Stdin) => {
            EpollEvent::new(EpollFlags::EPOLLONESHOT, subject.data())
        }
        _ => subject.event(),
    };
    WATCH.get().ok_or(Errno::EBADF)?.epoll.add(descriptor, event)
}

/// Asks for another event of a descriptor that was added.
pub(crate) fn again(descriptor: BorrowedFd<'_>, subject: Subject) -> nix::Result<()> {
    WATCH.get().ok_or(Errno::EBADF)?.epoll.modify(descriptor, &mut subject.event())
}

/// Asks for an event each time that something happens to a descriptor that was added, and one now if it is ready.
pub(crate) fn every(descriptor: BorrowedFd<'_>, subject: Subject) -> nix::Result<()> {
    let mut event = EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, subject.data());
    WATCH.get().ok_or(Errno::EBADF)?.epoll.modify(descriptor, &mut event)
}

/// Never waits.
pub(crate) fn hand_over(task: Task) {
    if let Some(watch) = WATCH.get() {
        // The receiver lives as long as the thread: for ever.
        let _ = watch.tasks.send(task);
        // It only fails when it is full, and then it wakes the thread anyhow.
        let _ = watch.wake.write(1);
    }
}

/// The same for what is to be done in a while: the thread does not have to wake up for each of them.
pub(crate) fn hand_over_later(task: Task) {
    let Some(watch) = WATCH.get() else { return };
    let _ = watch.tasks.send(task);
    if !watch.timer_set.swap(true, Ordering::AcqRel) {
        let once = Expiration::OneShot(TimeSpec::from(LATER_PAUSE));
        if watch.timer.set(once, TimerSetTimeFlags::empty()).is_err() {
            watch.timer_set.store(false, Ordering::Release);
            let _ = watch.wake.write(1);
        }
    }
}

/// Waits for events, by the thread that was started for that. Those beyond `events` come the next time.
pub(crate) fn wait(events: &mut [EpollEvent], timeout: EpollTimeout) -> nix::Result<usize> {
    WATCH.wait().epoll.wait(events, timeout)
}

/// The tasks are about to be taken: those that are handed over from here on make another event.
pub(crate) fn awake() {
    // It only fails if there was none.
    let _ = WATCH.wait().wake.read();
}

/// The same for those that had time.
pub(crate) fn awake_later() {
    let watch = WATCH.wait();
    watch.timer_set.store(false, Ordering::Release);
    // It only fails if it has not expired.
    let _ = watch.timer.wait();
}
