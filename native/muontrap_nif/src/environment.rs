// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! The VM's environment, byte for byte.
//!
//! The VM keeps bytes, as the kernel handed them over. `os:env/0` shows them as characters, and there more
//! than one string of bytes may look the same: with an encoding of UTF-8, `ë` is both the two bytes of its
//! encoding and the one byte 0xEB, which is no UTF-8 and is therefore taken for what it is. Then the VM is
//! asked for the bytes themselves, which `enif_getenv` can only by name.

use std::collections::HashSet;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use muontrap_core::spec::Strings;
use rustler::env::SavedTerm;
use rustler::sys::enif_getenv;
use rustler::{ListIterator, OwnedEnv, Term};

use crate::budget::{Budget, NORMAL_BYTES, Refusal};
use crate::sync::lock;

/// The VM makes a character of each byte. If not, it decodes UTF-8.
static LATIN1: OnceLock<bool> = OnceLock::new();

/// Says how the VM encodes names and values. It stays as it was when the VM started.
pub(crate) fn set_latin1(latin1: bool) {
    // Loaded again: the same value.
    let _ = LATIN1.set(latin1);
}

/// The environment that was encoded last, kept while `os:env/0` gives the same.
struct Kept {
    env: OwnedEnv,
    term: SavedTerm,
    strings: Arc<Strings>,
}

static KEPT: Mutex<Option<Kept>> = Mutex::new(None);
/// What was encoded last was too large for a normal scheduler, so the next one need not be looked at there.
static LARGE: AtomicBool = AtomicBool::new(false);

/// What `os:env/0` gave, as `NAME=value` each.
pub(crate) fn encode(variables: Term<'_>, budget: &Budget) -> Result<Arc<Strings>, Refusal> {
    if budget.is_limited() && LARGE.load(Ordering::Relaxed) {
        return Err(Refusal::TooMuch);
    }
    if let Some(strings) = kept(variables) {
        budget.spend(strings.byte_count())?;
        return Ok(strings);
    }
    let encoded = Encoded::new(variables, budget)?;
    let large = encoded.strings.byte_count() > NORMAL_BYTES;
    LARGE.store(large, Ordering::Relaxed);
    let strings = Arc::new(encoded.strings);
    // Where the VM had to be asked, the same characters may be other bytes the next time.
    if !large && !encoded.asked {
        keep(variables, Arc::clone(&strings));
    }
    Ok(strings)
}

/// The comparison ends at the first difference, and what is kept is small: so this is quick.
fn kept(variables: Term<'_>) -> Option<Arc<Strings>> {
    let kept = lock(&KEPT);
    let kept = kept.as_ref()?;
    let same = kept.env.run(|env| kept.term.load(env) == variables);
    same.then(|| Arc::clone(&kept.strings))
}

fn keep(variables: Term<'_>, strings: Arc<Strings>) {
    let env = OwnedEnv::new();
    let term = env.save(variables);
    let before = lock(&KEPT).replace(Kept { env, term, strings });
    // After the lock.
    drop(before);
}

struct Encoded {
    strings: Strings,
    asked: bool,
}

impl Encoded {
    fn new(variables: Term<'_>, budget: &Budget) -> Result<Self, Refusal> {
        let latin1 = LATIN1.get().copied().unwrap_or(false);
        let mut encoded = Self { strings: Strings::default(), asked: false };
        let mut seen = HashSet::new();
        let (mut name, mut value) = (Characters::default(), Characters::default());
        for variable in variables.decode::<ListIterator<'_>>()? {
            let (name_list, value_list): (Term<'_>, Term<'_>) = variable.decode()?;
            name.read(name_list, latin1, budget)?;
            value.read(value_list, latin1, budget)?;
            if !name.ambiguous && !value.ambiguous {
                encoded.push(&name.bytes, &value.bytes);
                continue;
            }
            encoded.asked = true;
            // Two variables of the same characters: each entry finds both.
            let raw = name.ambiguous.then_some(&name.raw);
            for candidate in std::iter::once(&name.bytes).chain(raw) {
                if (!name.ambiguous || seen.insert(candidate.clone()))
                    && let Some(value) = get(candidate)
                {
                    encoded.push(candidate, &value);
                }
            }
        }
        Ok(encoded)
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        // The VM takes no NUL into its environment.
        let _ = self.strings.push(&[name, b"=", value].concat());
    }
}

/// A list of characters, and the bytes that may be behind it.
#[derive(Default)]
struct Characters {
    /// The bytes if they were decoded: UTF-8, or those of latin1.
    bytes: Vec<u8>,
    /// The bytes if they were no UTF-8, and each became a character. Only good if `ambiguous`.
    raw: Vec<u8>,
    ambiguous: bool,
}

impl Characters {
    fn read(&mut self, list: Term<'_>, latin1: bool, budget: &Budget) -> Result<(), Refusal> {
        self.bytes.clear();
        self.raw.clear();
        let (mut ascii, mut narrow) = (true, true);
        for character in list.decode::<ListIterator<'_>>()? {
            let code: u32 = character.decode()?;
            budget.spend_character()?;
            let byte = u8::try_from(code);
            ascii &= code < 0x80;
            narrow &= byte.is_ok();
            match byte {
                Ok(byte) if latin1 || byte.is_ascii() => self.bytes.push(byte),
                _ => {
                    let character = char::from_u32(code).ok_or(Refusal::BAD)?;
                    self.bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            self.raw.push(byte.unwrap_or_default());
        }
        // What is UTF-8 as bytes would have been decoded.
        self.ambiguous = !latin1 && !ascii && narrow && std::str::from_utf8(&self.raw).is_err();
        Ok(())
    }
}

/// The value of one variable. None if there is none of that name.
pub(crate) fn get(name: &[u8]) -> Option<Vec<u8>> {
    let name = CString::new(name).ok()?;
    let mut value = vec![0_u8; 4096];
    loop {
        let mut size = value.len();
        // SAFETY: erl_nif(3): reads a name that ends in NUL and writes at most `size` bytes to the buffer.
        let found = unsafe { enif_getenv(name.as_ptr(), value.as_mut_ptr().cast(), &mut size) };
        match found {
            0 => {
                value.truncate(size);
                return Some(value);
            }
            // Not all versions say how much is needed.
            1.. => value.resize(size.max(value.len() * 2), 0),
            _ => return None,
        }
    }
}
