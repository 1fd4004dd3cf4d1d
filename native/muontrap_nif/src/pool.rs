// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Shims whose commands are over, and that are ready for another.
//!
//! As many as were busy at once of late: a shim comes back when its command is over, and goes when nobody has
//! needed it for some seconds. One stays. A shim goes by having its socket closed.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use muontrap_core::protocol::ShimId;

use crate::sync::lock;
use crate::watch::{self, Subject};

/// More than this are not kept.
const MOST: usize = 64;
/// How long one is kept that nobody needs, if it is not the last.
pub(crate) const SPARE_AGE: Duration = Duration::from_secs(5);

/// A shim that is ready.
#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) shim: ShimId,
    /// Its control socket, which is watched.
    pub(crate) socket: OwnedFd,
    since: Instant,
}

struct Pool {
    /// The spawner whose shims these are. What a shim leaves that outlives its spawner nobody would look after.
    spawner: u64,
    /// The last that came is the first to go to work again.
    idle: Vec<Idle>,
}

/// A leaf: nobody takes another lock under it.
static POOL: Mutex<Pool> = Mutex::new(Pool { spawner: 0, idle: Vec::new() });

/// From now on the shims of this spawner are kept, and no others.
pub(crate) fn open(spawner: u64) {
    let before = {
        let mut pool = lock(&POOL);
        pool.spawner = spawner;
        std::mem::take(&mut pool.idle)
    };
    drop(before);
}

/// That spawner is gone.
pub(crate) fn close(spawner: u64) {
    if lock(&POOL).spawner == spawner {
        open(0);
    }
}

/// One that is ready, if this spawner has one.
pub(crate) fn take(spawner: u64) -> Option<Idle> {
    let mut pool = lock(&POOL);
    if pool.spawner == spawner { pool.idle.pop() } else { None }
}

/// A shim of this spawner is ready. It is let go if nobody can make use of it.
pub(crate) fn put(spawner: u64, shim: ShimId, socket: OwnedFd) {
    if watch::again(socket.as_fd(), Subject::Idle(shim)).is_err() {
        return;
    }
    let mut pool = lock(&POOL);
    if pool.spawner == spawner && pool.idle.len() < MOST {
        pool.idle.push(Idle { shim, socket, since: Instant::now() });
    }
}

/// A shim that is ready has nothing to say: it is dead.
pub(crate) fn drop_dead(shim: ShimId) {
    let dead: Vec<Idle> = lock(&POOL).idle.extract_if(.., |idle| idle.shim == shim).collect();
    drop(dead);
}

/// Lets those go that nobody has needed for long, but for the last.
pub(crate) fn drop_spare() {
    let spare: Vec<Idle> = {
        let mut pool = lock(&POOL);
        let kept = pool.idle.len().saturating_sub(1);
        pool.idle.extract_if(..kept, |idle| idle.since.elapsed() >= SPARE_AGE).collect()
    };
    drop(spare);
}

/// How many are ready.
pub(crate) fn count() -> usize {
    lock(&POOL).idle.len()
}
