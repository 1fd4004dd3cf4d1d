// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! How the VM loads this library, once and again.
//!
//! What `rustler::init!` makes, with an `upgrade` in addition. The VM asks for it when the module is loaded
//! while an earlier one is, as a hot upgrade does. There are two cases:
//!
//! * The same file: the same statics, so reactor, registry and handles go on as they are.
//! * Another file, whose statics are others. It cannot take over commands that run. It is refused while there
//!   are such; when there are none the earlier library lets its spawner go and takes no command any more.

use std::ffi::{c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;

use rustler::codegen_runtime::{
    ErlNifEntry, ErlNifFunc, ErlNifTerm, internal_write_symbols, inventory,
};
use rustler::sys::ErlNifEnv;
use rustler::{Binary, Env, Nif, Term};

use crate::{complaint, environment, handle, helper, registry};

/// What an upgrade is refused with. `MuonTrap.Nif` has the words.
const COMMANDS_RUN: c_int = 2;
const UNKNOWN_LIBRARY: c_int = 3;
/// Anything else that failed.
const FAILED: c_int = 1;

/// What a later library can ask this one, whatever their versions: never changed, only followed by another
/// mark.
#[repr(C)]
struct Library {
    mark: u64,
    /// Takes no command from here on, and lets the spawner go. 0, and nothing has changed, if one runs.
    retire: extern "C" fn() -> c_int,
}

const MARK: u64 = u64::from_be_bytes(*b"muontrap");

static LIBRARY: Library = Library { mark: MARK, retire };

struct Entry(ErlNifEntry);

// SAFETY: it is only read, and its pointers are to what is never freed.
unsafe impl Sync for Entry {}
// SAFETY: the same.
unsafe impl Send for Entry {}

static ENTRY: OnceLock<Entry> = OnceLock::new();

/// What the VM looks for in the library. It calls no two at once, and makes a copy.
#[unsafe(no_mangle)]
extern "C" fn nif_init() -> *const ErlNifEntry {
    let entry = ENTRY.get_or_init(|| {
        // SAFETY: before any function of the VM is called, by the one thread that is here.
        unsafe { internal_write_symbols() };
        let functions: Vec<ErlNifFunc> = inventory::iter::<Nif>().map(Nif::get_def).collect();
        let mut entry = ErlNifEntry::new(c"Elixir.MuonTrap.Nif", functions.leak(), load);
        entry.upgrade = Some(upgrade);
        Entry(entry)
    });
    &raw const entry.0
}

unsafe extern "C" fn load(
    env: *mut ErlNifEnv,
    private: *mut *mut c_void,
    info: ErlNifTerm,
) -> c_int {
    // SAFETY: what the VM calls this with: its environment, a place to write to, a term of the environment.
    guarded(|| unsafe { begin(env, private, info) })
}

unsafe extern "C" fn upgrade(
    env: *mut ErlNifEnv,
    private: *mut *mut c_void,
    old_private: *mut *mut c_void,
    info: ErlNifTerm,
) -> c_int {
    guarded(|| {
        // SAFETY: what the VM calls this with: a place where the earlier library's data is.
        let old: *const c_void = unsafe { *old_private };
        if !ptr::eq(old.cast(), &raw const LIBRARY) {
            // SAFETY: null, or what this library's other versions leave there, which starts as `Library` does.
            let Some(old) = (unsafe { old.cast::<Library>().as_ref() }) else {
                return UNKNOWN_LIBRARY;
            };
            if old.mark != MARK {
                return UNKNOWN_LIBRARY;
            }
            if (old.retire)() == 0 {
                return COMMANDS_RUN;
            }
        }
        // SAFETY: as in `load`.
        unsafe { begin(env, private, info) }
    })
}

/// Starts nothing: the reactor and the spawner come with the first command.
unsafe fn begin(env: *mut ErlNifEnv, private: *mut *mut c_void, info: ErlNifTerm) -> c_int {
    let marker = ();
    // SAFETY: the environment of this callback, used in it alone.
    let nif_env = unsafe { Env::new_init_env(&marker, env) };
    // SAFETY: a term of that environment.
    let info = unsafe { Term::new(nif_env, info) };
    let Ok((spawner_path, latin1)) = info.decode::<(Binary<'_>, bool)>() else { return FAILED };
    helper::set_path(spawner_path.as_slice());
    environment::set_latin1(latin1);
    complaint::find_logger(nif_env);
    let library: *const c_void = (&raw const LIBRARY).cast();
    // SAFETY: a place that the VM gives for this.
    unsafe { private.write(library.cast_mut()) };
    if handle::register(env, library) { 0 } else { FAILED }
}

fn guarded(call: impl FnOnce() -> c_int) -> c_int {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(FAILED)
}

extern "C" fn retire() -> c_int {
    guarded(|| {
        let retired = registry::retire();
        if retired {
            helper::retire();
        }
        retired.into()
    })
}
