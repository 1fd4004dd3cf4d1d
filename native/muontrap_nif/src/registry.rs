// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The commands of this VM that are not over yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use muontrap_core::protocol::CommandId;

use crate::command::Command;

static COMMANDS: LazyLock<Mutex<HashMap<CommandId, Arc<Command>>>> = LazyLock::new(Mutex::default);
static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// A number that no other command of this VM has. Never 0.
pub(crate) fn next_id() -> CommandId {
    LAST_ID.fetch_add(1, Ordering::Relaxed) + 1
}

pub(crate) fn insert(command: &Arc<Command>) {
    lock(&COMMANDS).insert(command.id, Arc::clone(command));
}

pub(crate) fn remove(id: CommandId) {
    let removed = lock(&COMMANDS).remove(&id);
    // Dropped here, after the lock: dropping closes descriptors.
    drop(removed);
}

pub(crate) fn get(id: CommandId) -> Option<Arc<Command>> {
    lock(&COMMANDS).get(&id).cloned()
}

pub(crate) fn all() -> Vec<Arc<Command>> {
    lock(&COMMANDS).values().cloned().collect()
}

/// A lock that a panic elsewhere does not take away: what it guards is consistent between any two
/// statements, and the show must go on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
