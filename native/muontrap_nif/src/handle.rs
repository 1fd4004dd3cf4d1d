// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The owner's end of a command: a resource of the VM, by whose monitor the reactor hears of the owner's end.
//!
//! Not one of rustler's, whose type is bound to one load of the module. An owner keeps its handle while the
//! module is loaded again, which takes the type over, and while it is purged and loaded, which makes another
//! type and leaves the handles theirs: so all types that there ever were are known here.

use std::ffi::{CString, c_void};
use std::mem::size_of;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};

use rustler::sys::{
    ErlNifEnv, ErlNifMonitor, ErlNifPid, ErlNifResourceDown, ErlNifResourceDtor,
    ErlNifResourceFlags, ErlNifResourceType, ErlNifResourceTypeInit, enif_alloc_resource,
    enif_get_resource, enif_make_resource, enif_monitor_process, enif_open_resource_type_x,
    enif_release_resource,
};
use rustler::{Decoder, Encoder, Env, Error, NifResult, Term};

use crate::command::Command;
use crate::sync::lock;
use crate::watch::{self, Task};

/// What the VM keeps: a pointer of `Arc::into_raw`, or null in the one resource that keeps a type alive.
#[repr(C)]
struct Held {
    command: *const Command,
}

/// The type of the module that is loaded: where a handle is looked for first, without a lock.
static CURRENT: AtomicPtr<ErlNifResourceType> = AtomicPtr::new(ptr::null_mut());

static TYPES: Mutex<Types> = Mutex::new(Types { anchored: false, purged: Vec::new() });

struct Types {
    /// The current type has a resource that is never released, so nothing else will ever have its address.
    anchored: bool,
    /// The addresses of the types of modules that were purged, all of them anchored.
    purged: Vec<usize>,
}

/// A handle as an argument.
pub(crate) struct Handle(pub(crate) Arc<Command>);

/// Makes the type, or takes it over from an earlier load of the same library, which its address tells. Only in the `load` and `upgrade`
/// callbacks, as their last step that can fail. False if the VM refuses.
pub(crate) fn register(env: *mut ErlNifEnv, library: *const c_void) -> bool {
    // The callbacks of another library's handles stay that library's.
    let Ok(name) = CString::new(format!("command of {library:p}")) else { return false };
    let init = ErlNifResourceTypeInit {
        dtor: dropped as *const ErlNifResourceDtor,
        stop: ptr::null(),
        down: owner_down as *const ErlNifResourceDown,
    };
    for flags in [ErlNifResourceFlags::ERL_NIF_RT_CREATE, ErlNifResourceFlags::ERL_NIF_RT_TAKEOVER]
    {
        let mut tried = flags;
        // SAFETY: erl_nif(3): called while the module is loaded; the name ends in NUL and is copied, so is
        // `init`, whose callbacks have the signatures of their places and are never unloaded.
        let made =
            unsafe { enif_open_resource_type_x(env, name.as_ptr(), &init, flags, &mut tried) };
        if !made.is_null() {
            adopt(made.cast_mut());
            return true;
        }
    }
    false
}

fn adopt(made: *mut ErlNifResourceType) {
    let mut types = lock(&TYPES);
    let before = CURRENT.swap(made, Ordering::AcqRel);
    // Without an anchor no handle of that type was ever made.
    if before != made && std::mem::take(&mut types.anchored) {
        types.purged.push(before.addr());
    }
}

/// The handle of a command for the calling process, which is monitored from here on.
pub(crate) fn give<'a>(env: Env<'a>, command: Arc<Command>) -> Term<'a> {
    let id = command.id;
    let resource = allocate(command);
    // SAFETY: a resource that is ours until it is released below.
    let term = unsafe { enif_make_resource(env.as_c_arg(), resource) };
    let owner = env.pid();
    let no_monitor = ptr::null_mut::<ErlNifMonitor>();
    // SAFETY: the resource has a `down` callback; erl_nif(3) allows null for the monitor.
    let monitored =
        unsafe { enif_monitor_process(env.as_c_arg(), resource, owner.as_c_arg(), no_monitor) };
    // SAFETY: of the reference from the allocation; the term has its own.
    unsafe { enif_release_resource(resource) };
    if monitored != 0 {
        // Killed meanwhile; a NIF runs on to its end.
        watch::hand_over(Task::OwnerGone(id));
    }
    // SAFETY: made for this environment above.
    unsafe { Term::new(env, term) }
}

fn allocate(command: Arc<Command>) -> *mut c_void {
    let mut types = lock(&TYPES);
    let current = CURRENT.load(Ordering::Acquire);
    if !types.anchored {
        allocate_of(current, ptr::null());
        types.anchored = true;
    }
    allocate_of(current, Arc::into_raw(command))
}

fn allocate_of(made: *mut ErlNifResourceType, command: *const Command) -> *mut c_void {
    // SAFETY: a type that was registered, of a module that is loaded: a NIF of it is running.
    let resource = unsafe { enif_alloc_resource(made, size_of::<Held>()) };
    // SAFETY: as large as asked for, aligned for any pointer, and nobody else knows it.
    unsafe { resource.cast::<Held>().write(Held { command }) };
    resource
}

impl<'a> Decoder<'a> for Handle {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        of_type(term, CURRENT.load(Ordering::Acquire).addr())
            .or_else(|| lock(&TYPES).purged.iter().find_map(|&address| of_type(term, address)))
            .ok_or_else(|| Error::RaiseTerm(Box::new(Stranger)))
    }
}

fn of_type(term: Term<'_>, address: usize) -> Option<Handle> {
    let made = ptr::without_provenance(address);
    let mut resource = ptr::null();
    // SAFETY: compares the type's address with that of the term's resource, and writes a pointer.
    let is = unsafe {
        enif_get_resource(term.get_env().as_c_arg(), term.as_c_arg(), made, &mut resource)
    };
    if is == 0 {
        return None;
    }
    // SAFETY: a resource of a type of this library; the term, an argument of this call, keeps it.
    let command = unsafe { (*resource.cast::<Held>()).command };
    if command.is_null() {
        return None;
    }
    // SAFETY: from `Arc::into_raw`; the resource has one count of it, and lives.
    unsafe { Arc::increment_strong_count(command) };
    // SAFETY: takes the count of the line before.
    Some(Handle(unsafe { Arc::from_raw(command) }))
}

/// What is raised for a handle that another build of this library made, or for anything else.
struct Stranger;

impl Encoder for Stranger {
    fn encode<'a>(&self, env: Env<'a>) -> Term<'a> {
        "this is no command of the version of muontrap that is loaded: start it again".encode(env)
    }
}

/// Runs on the scheduler of the dying owner: only hands over.
unsafe extern "C" fn owner_down(
    _env: *mut ErlNifEnv,
    resource: *mut c_void,
    _owner: *const ErlNifPid,
    _monitor: *const ErlNifMonitor,
) {
    // SAFETY: the VM calls it with a resource of this type, which it keeps meanwhile.
    let command = unsafe { (*resource.cast::<Held>()).command };
    // SAFETY: null or a pointer of which the resource has a count.
    if let Some(command) = unsafe { command.as_ref() } {
        let _ = catch_unwind(AssertUnwindSafe(|| watch::hand_over(Task::OwnerGone(command.id))));
    }
}

/// Runs wherever the last reference was collected: only hands over. After the monitor, or after the end of
/// the command, there is nothing left to do.
unsafe extern "C" fn dropped(_env: *mut ErlNifEnv, resource: *mut c_void) {
    // SAFETY: the VM calls it once, with a resource of this type, as the last one that uses it.
    let command = unsafe { (*resource.cast::<Held>()).command };
    if !command.is_null() {
        // SAFETY: takes the count of `Arc::into_raw`.
        let command = unsafe { Arc::from_raw(command) };
        let _ = catch_unwind(AssertUnwindSafe(|| {
            watch::hand_over(Task::OwnerGone(command.id));
            drop(command);
        }));
    }
}
