// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! From a request to a command that is under way: its pipes, its sockets, its place in the reactor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use muontrap_core::channel;
use muontrap_core::failure::{Failure, Step};
use muontrap_core::protocol::Request;
use muontrap_core::spec::Stream;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::Mode;
use nix::unistd::pipe2;
use rustler::{Env, ResourceArc, Term};

use crate::command::{Channel, Command, Description, Ends};
use crate::convert::{Wanted, Wish};
use crate::handle::Handle;
use crate::helper::Patience;
use crate::reactor::{self, Source};
use crate::{helper, identity, registry};

/// A stream of the program: our end, and what goes to the spawner.
struct Ready {
    near: Option<OwnedFd>,
    far: Option<Far>,
}

enum Far {
    Owned(OwnedFd),
    OfVm(BorrowedFd<'static>),
}

impl AsFd for Far {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Far::Owned(descriptor) => descriptor.as_fd(),
            Far::OfVm(descriptor) => descriptor.as_fd(),
        }
    }
}

/// Starts a command for the calling process. None, and nothing is under way, if that needs a patience that
/// the caller has not.
///
/// The outcome of the start itself comes as an event. An error here means that nothing is under way.
pub(crate) fn start(
    env: Env<'_>,
    reference: Term<'_>,
    mut wanted: Wanted,
    patience: Patience,
) -> Result<Option<ResourceArc<Handle>>, Failure> {
    reactor::ensure()?;
    if !wanted.asked.is_nothing() {
        if patience == Patience::None {
            return Ok(None);
        }
        wanted.spec.identity = identity::identify(&wanted.asked)?;
    }
    let fail = |errno| Failure::new(Step::Pipe, "", errno);
    let window_bytes = wanted.window_bytes;
    let mut streams = Vec::with_capacity(3);
    for (at, wish) in wanted.stdio.into_iter().enumerate() {
        let ready = match (wish, at) {
            (Wish::Pipe, 0) => input().map_err(fail)?,
            (Wish::Pipe, _) => output().map_err(fail)?,
            (Wish::Inherit, _) => of_vm(at),
            (Wish::Null | Wish::Stdout, _) => Ready { near: None, far: None },
        };
        if wish == Wish::Inherit && ready.far.is_none() {
            wanted.spec.stdio[at] = Stream::Null;
        }
        streams.push(ready);
    }
    let (control, far_control) = channel::pair().map_err(fail)?;
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory =
        open(".", flags, Mode::empty()).map_err(|errno| Failure::new(Step::Chdir, ".", errno))?;

    let mut near = streams.iter_mut().map(|stream| stream.near.take());
    let [input, stdout, stderr] = std::array::from_fn(|_| near.next().flatten());
    drop(near);
    let description = Description {
        id: registry::next_id(),
        owner: env.pid(),
        words: std::iter::once(&wanted.spec.program[..])
            .chain(wanted.spec.args.iter())
            .map(<[u8]>::to_vec)
            .collect(),
        cgroup: wanted.cgroup.clone(),
        grace: wanted.grace,
        window_bytes,
        announce: wanted.announce,
    };
    let ends = Ends { control, outputs: [stdout, stderr], input };
    let command = Arc::new(Command::new(description, reference, ends));
    watch(&command).map_err(fail)?;
    registry::insert(&command);

    let request = Request::Start {
        id: command.id,
        grace_ms: u64::try_from(wanted.grace.as_millis()).unwrap_or(u64::MAX),
        announce: wanted.announce,
        cgroup: wanted.cgroup,
        spec: Box::new(wanted.spec),
    };
    let mut descriptors = vec![far_control.as_fd(), directory.as_fd()];
    descriptors.extend(streams.iter().filter_map(|stream| stream.far.as_ref()).map(AsFd::as_fd));
    let sent = helper::start(&request, &descriptors, patience, |spawner| command.claim(spawner));
    if !matches!(sent, Ok(true)) {
        registry::remove(command.id);
        return sent.map(|_| None);
    }
    reactor::watch_start(command.id);
    let id = command.id;
    let handle = ResourceArc::new(Handle(command));
    let owner = env.pid();
    if handle.monitor(Some(env), &owner).is_none() {
        // Killed meanwhile; a NIF runs on to its end.
        reactor::owner_gone(id);
    }
    Ok(Some(handle))
}

/// The reactor's events name the command by its id, and are dropped until it is registered: so this
/// comes first only for those of sockets and pipes whose far ends nobody has yet.
fn watch(command: &Command) -> nix::Result<()> {
    let mut state = command.lock();
    if let Some(control) = &state.control {
        reactor::watch(control.as_fd(), command.id, Source::Control)?;
    }
    for channel in Channel::BOTH {
        let output = &mut state.outputs[channel as usize];
        if let Some(pipe) = &output.pipe {
            reactor::watch(pipe.as_fd(), command.id, channel.source())?;
            output.armed = true;
        }
    }
    Ok(())
}

fn input() -> nix::Result<Ready> {
    let (far, near) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&near, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(Ready { near: Some(near), far: Some(Far::Owned(far)) })
}

fn output() -> nix::Result<Ready> {
    let (near, far) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&near, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(Ready { near: Some(near), far: Some(Far::Owned(far)) })
}

/// The VM's own stream, if it has one.
fn of_vm(at: usize) -> Ready {
    let raw = i32::try_from(at).unwrap_or(2);
    // SAFETY: descriptors 0 to 2 belong to the VM as a whole, which never closes them; should one be
    // closed all the same, the calls below say EBADF.
    let stream = unsafe { BorrowedFd::borrow_raw(raw) };
    let open = fcntl(stream, FcntlArg::F_GETFD).is_ok();
    Ready { near: None, far: open.then_some(Far::OfVm(stream)) }
}
