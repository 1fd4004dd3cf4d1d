// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What a start needs where clone(2) is nothing but fork(2).
//!
//! An emulator of user programs, as qemu-user is in builds of containers for another machine, takes `CLONE_VM` and
//! `CLONE_VFORK` away: the child has a copy of the memory, and the parent goes on at once. What the child says of a
//! failure then has to stand in a shared page, and that it runs the program is told by a pipe which `execve` closes.

use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;

/// Whether a child by `CLONE_VM` and `CLONE_VFORK` has the memory of its parent.
///
/// Found out by a child that writes to it, once: the spawner asks before it forks its shims. As for
/// [`crate::spawn::Program::start`], there is one thread, with no handler installed.
pub fn shares_memory() -> bool {
    static SHARED: OnceLock<bool> = OnceLock::new();
    *SHARED.get_or_init(|| written_by_child() != Some(false))
}

/// None if there could be no child.
fn written_by_child() -> Option<bool> {
    const STACK_BYTES: usize = 4 * 1024;
    let mut stack: Vec<MaybeUninit<u8>> = Vec::with_capacity(STACK_BYTES);
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end.map_addr(|address| address & !0xf);
    let mut written = false;
    let argument = &raw mut written;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: either the child has this memory, and then this thread is suspended until the child has exited, so that
    // stack and `written` outlive its use of them; or it has a copy.
    let pid = unsafe { libc::clone(write, top.cast(), flags, argument.cast()) };
    if pid == -1 {
        return None;
    }
    // SAFETY: waitpid(2) reaps the child made above, and writes nothing through null.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    // SAFETY: `argument` is valid; volatile because the child, not this code, has written it.
    Some(unsafe { std::ptr::read_volatile(argument) })
}

extern "C" fn write(written: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the parent passes a pointer to its `bool`, or the child's copy of it.
    unsafe { std::ptr::write_volatile(written.cast::<bool>(), true) };
    // SAFETY: _exit(2) ends this process without running anything of the parent's.
    unsafe { libc::_exit(0) }
}

/// Tells the parent when the child has executed its program, or has exited.
pub(crate) struct Executed {
    parent: std::fs::File,
    child: OwnedFd,
}

impl Executed {
    /// To be made before the fork. Both ends are closed by `execve`.
    pub(crate) fn new() -> nix::Result<Self> {
        let (parent, child) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Self { parent: parent.into(), child })
    }

    /// Waits for it, in the parent, after the fork.
    pub(crate) fn wait(self) {
        let Self { mut parent, child } = self;
        drop(child);
        // Nothing is ever written, so this is the end or an error, which there is none for a pipe.
        let _ = parent.read(&mut [0]);
    }
}
