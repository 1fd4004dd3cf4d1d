// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What a shim serves right now, on a slip of memory that it shares with the spawner.
//!
//! Commands go straight from the VM to a shim. When a shim is killed the spawner has to know all the same which
//! command that leaves alone, and which cgroups; and when the VM is gone, how long a shim may take. The shim
//! writes it down before it starts a program, and takes it back when nothing of that is left.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};

use crate::protocol::CommandId;
use crate::spec::Cgroup;

const SLIP_BYTES: usize = 1024;
const CGROUP_MAX_BYTES: usize = SLIP_BYTES - size_of::<Header>();
/// How many are made at once: each mapping that there is takes time at each fork, and memory only where it is used.
const SHEET: usize = 1024;

/// Who may do what with a shim next: it reads a command only if it is not evicted, and it is evicted only if it has
/// not come to read one.
#[repr(u64)]
enum Claim {
    AtWork,
    Idle,
    Evicted,
}

#[repr(C)]
struct Header {
    /// A [`Claim`].
    claim: AtomicU64,
    /// 0 while nothing is served.
    id: AtomicU64,
    grace_ms: AtomicU64,
    cgroup_bytes: AtomicU64,
}

/// The slip of one shim. Taken by the spawner before the fork.
#[derive(Debug)]
pub struct Slip {
    memory: NonNull<u8>,
}

/// Those that no shim has. Their memory is used again, and never given back.
#[derive(Debug, Default)]
pub struct Slips(Vec<Slip>);

impl Slips {
    /// One on which nothing is served. It stays shared over a fork.
    pub fn take(&mut self) -> nix::Result<Slip> {
        if self.0.is_empty() {
            let length = const { std::num::NonZeroUsize::new(SHEET * SLIP_BYTES).unwrap() };
            let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
            // SAFETY: a new mapping, at an address that the kernel chooses.
            let sheet = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_SHARED) }?;
            for at in 0..SHEET {
                // SAFETY: within the mapping, which is never unmapped.
                let memory = unsafe { sheet.cast::<u8>().add(at * SLIP_BYTES) };
                self.0.push(Slip { memory });
            }
        }
        self.0.pop().ok_or(nix::errno::Errno::ENOMEM)
    }

    /// Takes back the slip of a shim that is dead.
    pub fn put(&mut self, slip: Slip) {
        slip.end();
        slip.header().claim.store(Claim::AtWork as u64, Ordering::Release);
        self.0.push(slip);
    }
}

/// A command that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its number.
    pub id: CommandId,
    /// Its cgroups.
    pub cgroup: Cgroup,
}

/// Whether a slip has room for these cgroups. For those that need more the spawner has to be asked.
pub fn fits(cgroup: &Cgroup) -> bool {
    cgroup.groups.is_empty() || encode(cgroup).is_some()
}

fn encode(cgroup: &Cgroup) -> Option<Vec<u8>> {
    if cgroup.groups.is_empty() {
        return Some(Vec::new());
    }
    // The settings are of no use to whoever removes the groups.
    let groups = Cgroup { groups: cgroup.groups.clone(), settings: Vec::new() };
    postcard::to_allocvec(&groups).ok().filter(|bytes| bytes.len() <= CGROUP_MAX_BYTES)
}

impl Slip {
    /// By the shim, once the last word of a command is said: it waits for the next. False if it is evicted.
    pub fn wait(&self) -> bool {
        self.claim(Claim::AtWork, Claim::Idle)
    }

    /// By the shim, before it reads a command. False if it is evicted: another shim is to have that.
    pub fn work(&self) -> bool {
        self.claim(Claim::Idle, Claim::AtWork)
    }

    /// By the spawner. False if the shim has a command to read or to serve: then it must not be killed.
    pub fn evict_idle(&self) -> bool {
        self.claim(Claim::Idle, Claim::Evicted)
    }

    /// By the spawner, of a shim that is late with a command. False if it has come to the end of that: then it must not
    /// be killed for it.
    pub fn evict_from(&self, id: CommandId) -> bool {
        let at_it = || self.header().id.load(Ordering::Acquire) == id;
        if !at_it() || !self.claim(Claim::AtWork, Claim::Evicted) {
            return false;
        }
        // It may have come to another one in between. Or to none: then it finds itself evicted, and leaves.
        at_it() || {
            self.claim(Claim::Evicted, Claim::AtWork);
            false
        }
    }

    fn claim(&self, from: Claim, to: Claim) -> bool {
        let (ok, not) = (Ordering::AcqRel, Ordering::Acquire);
        self.header().claim.compare_exchange(from as u64, to as u64, ok, not).is_ok()
    }

    /// By the shim, before anything of the command is there. False, and nothing is served, if its cgroups do not
    /// fit.
    pub fn begin(&self, id: CommandId, grace: Duration, cgroup: &Cgroup) -> bool {
        let Some(bytes) = encode(cgroup) else { return false };
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        // SAFETY: as many bytes as there are at least behind the header. Nobody reads them while this process,
        // which alone writes to the slip, is alive.
        unsafe { self.cgroup().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        let header = self.header();
        header.cgroup_bytes.store(bytes.len() as u64, Ordering::Relaxed);
        header.grace_ms.store(grace_ms, Ordering::Relaxed);
        header.id.store(id, Ordering::Release);
        true
    }

    /// By the shim, once nothing of the command is left.
    pub fn end(&self) {
        self.header().id.store(0, Ordering::Release);
    }

    /// How long the program that is served now has from the stop signal to `SIGKILL`.
    pub fn grace(&self) -> Duration {
        let header = self.header();
        match header.id.load(Ordering::Acquire) {
            0 => Duration::ZERO,
            _ => Duration::from_millis(header.grace_ms.load(Ordering::Relaxed)),
        }
    }

    /// By the spawner, of a shim that is dead.
    pub fn left(&self) -> Option<Served> {
        let header = self.header();
        let id = header.id.load(Ordering::Acquire);
        if id == 0 {
            return None;
        }
        let length = usize::try_from(header.cgroup_bytes.load(Ordering::Relaxed)).unwrap_or(0);
        let length = length.min(CGROUP_MAX_BYTES);
        let start = self.cgroup().cast_const();
        // SAFETY: within the slip, and initialized: a new one is all zeros. Whoever wrote to it is dead.
        let bytes = unsafe { std::slice::from_raw_parts(start, length) };
        let cgroup = postcard::from_bytes(bytes).unwrap_or_default();
        Some(Served { id, cgroup })
    }

    fn header(&self) -> &Header {
        // SAFETY: a multiple of a slip's size from the start of a page, so aligned; never unmapped; and all zeros
        // are a header. It is changed by atomics alone.
        unsafe { self.memory.cast::<Header>().as_ref() }
    }

    fn cgroup(&self) -> *mut u8 {
        // SAFETY: the header is smaller than the slip.
        unsafe { self.memory.add(size_of::<Header>()) }.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Group, Version};

    fn cgroup(path: &str) -> Cgroup {
        let group = Group { path: path.into(), mount: "/sys".into(), version: Version::V1 };
        Cgroup { groups: vec![group], settings: Vec::new() }
    }

    #[test]
    fn says_what_is_served_as_long_as_it_is() {
        let slip = Slips::default().take().expect("a slip");
        assert_eq!(slip.left(), None);
        assert!(slip.begin(7, Duration::from_secs(60), &cgroup("/sys/a")));
        assert_eq!(slip.grace(), Duration::from_secs(60));
        assert_eq!(slip.left(), Some(Served { id: 7, cgroup: cgroup("/sys/a") }));
        slip.end();
        assert_eq!((slip.left(), slip.grace()), (None, Duration::ZERO));
        assert!(slip.begin(8, Duration::ZERO, &Cgroup::default()));
        assert_eq!(slip.left(), Some(Served { id: 8, cgroup: Cgroup::default() }));
    }

    #[test]
    fn gives_each_its_own_and_takes_them_back_empty() {
        let mut slips = Slips::default();
        let mut taken: Vec<Slip> = (0..2 * SHEET).map(|_| slips.take().expect("a slip")).collect();
        for (slip, id) in taken.iter().zip(1..) {
            assert!(slip.begin(id, Duration::ZERO, &cgroup("/sys/a")));
        }
        for (slip, id) in taken.iter().zip(1..) {
            assert_eq!(slip.left(), Some(Served { id, cgroup: cgroup("/sys/a") }));
        }
        let free = slips.0.len();
        slips.put(taken.remove(0));
        assert_eq!((slips.0.len(), slips.take().expect("a slip").left()), (free + 1, None));
    }

    #[test]
    fn a_shim_reads_a_command_or_is_evicted_but_not_both() {
        let mut slips = Slips::default();
        let slip = slips.take().expect("a slip");
        assert!(!slip.evict_idle(), "it comes with a command");
        assert!(slip.wait() && slip.work() && !slip.evict_idle());
        assert!(slip.wait() && slip.evict_idle() && !slip.work() && !slip.evict_idle());
        slips.put(slip);
        assert!(!slips.take().expect("a slip").evict_idle());
    }

    #[test]
    fn a_shim_is_evicted_from_the_command_it_is_at_and_comes_to_no_other() {
        let slip = Slips::default().take().expect("a slip");
        assert!(slip.begin(7, Duration::ZERO, &Cgroup::default()));
        assert!(!slip.evict_from(6) && slip.evict_from(7) && !slip.wait());

        let slip = Slips::default().take().expect("a slip");
        assert!(slip.begin(7, Duration::ZERO, &Cgroup::default()));
        slip.end();
        assert!(!slip.evict_from(7) && slip.wait() && !slip.evict_from(7) && slip.work());
    }

    #[test]
    fn refuses_what_it_has_no_room_for() {
        let slip = Slips::default().take().expect("a slip");
        let large = cgroup(&"/a".repeat(SLIP_BYTES / 2));
        assert!(!fits(&large) && !slip.begin(7, Duration::ZERO, &large));
        assert_eq!(slip.left(), None);
        assert!(fits(&cgroup("/sys/a")) && fits(&Cgroup::default()));
    }

    #[test]
    fn is_read_by_who_made_it_when_the_writer_is_dead() {
        let slip = Slips::default().take().expect("a slip");
        // SAFETY: the child writes to the slip and ends: nothing in it needs another thread.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let header = slip.header();
            header.grace_ms.store(5, Ordering::Relaxed);
            header.id.store(9, Ordering::Release);
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(0) };
        }
        let mut status = 0;
        // SAFETY: writes to `status`, which outlives the call.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert_eq!(slip.left().map(|served| served.id), Some(9));
    }
}
