// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The commands of this VM that are not over yet.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use muontrap_core::protocol::CommandId;

use crate::command::{Command, Words};
use crate::sync::lock;

#[derive(Default)]
struct Registry {
    commands: HashMap<CommandId, Entry>,
    /// Which commands have a program and arguments with this hash.
    by_words: HashMap<u64, Vec<CommandId>>,
    /// What the commands that were removed have written.
    past_bytes: u64,
    /// Another version of the library has taken over: no command is taken any more.
    retired: bool,
}

struct Entry {
    command: Arc<Command>,
    words_hash: u64,
}

static COMMANDS: LazyLock<Mutex<Registry>> = LazyLock::new(Mutex::default);
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
static LAST_ID: AtomicU64 = AtomicU64::new(0);

/// A number that no other command of this VM has. Never 0.
pub(crate) fn next_id() -> CommandId {
    LAST_ID.fetch_add(1, Ordering::Relaxed) + 1
}

/// False, and it is not in, if another version of the library has taken over.
pub(crate) fn insert(command: &Arc<Command>) -> bool {
    // May have megabytes: before the lock.
    let words_hash = HASHER.hash_one(&command.words);
    let mut registry = lock(&COMMANDS);
    if registry.retired {
        return false;
    }
    let command = Arc::clone(command);
    registry.by_words.entry(words_hash).or_default().push(command.id);
    registry.commands.insert(command.id, Entry { command, words_hash });
    true
}

/// A command is over, after this much output.
pub(crate) fn remove(id: CommandId, output_bytes: u64) {
    let mut registry = lock(&COMMANDS);
    let removed = registry.commands.remove(&id);
    if let Some(Entry { words_hash, .. }) = removed
        && let Some(ids) = registry.by_words.get_mut(&words_hash)
    {
        ids.retain(|&other| other != id);
        if ids.is_empty() {
            registry.by_words.remove(&words_hash);
        }
    }
    registry.past_bytes += output_bytes;
    drop(registry);
    // Dropped here, after the lock: dropping closes descriptors.
    drop(removed);
}

pub(crate) fn get(id: CommandId) -> Option<Arc<Command>> {
    lock(&COMMANDS).commands.get(&id).map(|entry| Arc::clone(&entry.command))
}

pub(crate) fn all() -> Vec<Arc<Command>> {
    lock(&COMMANDS).commands.values().map(|entry| Arc::clone(&entry.command)).collect()
}

/// How many bytes the commands that are over have written.
pub(crate) fn past_bytes() -> u64 {
    lock(&COMMANDS).past_bytes
}

/// The commands of this program with these arguments.
pub(crate) fn with_words(words: &Words) -> Vec<Arc<Command>> {
    let words_hash = HASHER.hash_one(words);
    let registry = lock(&COMMANDS);
    let ids = registry.by_words.get(&words_hash).map_or(&[][..], Vec::as_slice);
    ids.iter()
        .filter_map(|id| registry.commands.get(id))
        .filter(|entry| entry.command.words == *words)
        .map(|entry| Arc::clone(&entry.command))
        .collect()
}

/// From here on no command is taken, unless there is one: then nothing changes and the answer is false.
pub(crate) fn retire() -> bool {
    let mut registry = lock(&COMMANDS);
    registry.retired = registry.commands.is_empty();
    registry.retired
}
