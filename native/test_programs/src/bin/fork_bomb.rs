// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Forks as fast as it can, in all of its processes, but never has more than N of them alive.
//!
//! Usage: `fork_bomb N`. Says `ready` when there are N, the first one included. For each one that
//! is killed and reaped another comes.

use std::process;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use muontrap_test_programs::{LIFE, must, number, ready, set, start};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use nix::sys::signal::{SigHandler, Signal, kill};
use nix::unistd::{Pid, getpid};

const FREE: i32 = 0;
const FORKING: i32 = -1;

fn main() {
    let count: usize = number(1, None);
    let bomb = Bomb { alive: shared(count.max(1)), end: Instant::now() + LIFE };
    // The kernel reaps the children, so that a pid in the table is a running process.
    set(Signal::SIGCHLD, SigHandler::SigIgn);
    bomb.alive[0].store(getpid().as_raw(), SeqCst);
    while !bomb.is_full() {
        bomb.step();
    }
    ready();
    bomb.burn()
}

struct Bomb {
    /// The pid of each process; all of them share it.
    alive: &'static [AtomicI32],
    end: Instant,
}

impl Bomb {
    fn is_full(&self) -> bool {
        self.alive.iter().all(|slot| slot.load(SeqCst) > FREE)
    }

    fn burn(&self) -> ! {
        while Instant::now() < self.end {
            self.step();
        }
        process::exit(0)
    }

    fn step(&self) {
        let mut forked = false;
        for slot in self.alive {
            let pid = slot.load(SeqCst);
            if pid > FREE && kill(Pid::from_raw(pid), None).is_err() {
                let _ = slot.compare_exchange(pid, FREE, SeqCst, SeqCst);
            }
            if slot.compare_exchange(FREE, FORKING, SeqCst, SeqCst).is_ok() {
                forked = true;
                let child = start(|| {
                    slot.store(getpid().as_raw(), SeqCst);
                    self.burn()
                });
                let _ = slot.compare_exchange(FORKING, child.as_raw(), SeqCst, SeqCst);
            }
        }
        if !forked {
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn shared(count: usize) -> &'static [AtomicI32] {
    let bytes = must("size", (count * size_of::<AtomicI32>()).try_into());
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the kernel chooses the place, so nothing that exists is mapped over.
    let memory = must("mmap", unsafe { mmap_anonymous(None, bytes, access, MapFlags::MAP_SHARED) });
    // SAFETY: the mapping is page aligned, as long as the slice, zeroed, and never unmapped.
    unsafe { std::slice::from_raw_parts(memory.cast().as_ptr(), count) }
}
