// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What the Elixir side asks for, as our values. The options were checked there; what does not fit here
//! is a mistake of ours and a `badarg`.

use std::collections::HashSet;
use std::time::Duration;

use muontrap_core::identity::{Account, Asked};
use muontrap_core::lines::Mode;
use muontrap_core::protocol::Linger;
use muontrap_core::pty::Size;
use muontrap_core::spec::{
    Cgroup, Group, Identity, Limits, Rlimit, Setting, Spec, Stream, Strings, Version,
};
use rustler::{Atom, Binary, Decoder, Error, ListIterator, NifResult, Term};
use serde_bytes::ByteBuf;

use crate::budget::{Budget, Refusal};
use crate::handle::Handle;
use crate::{atoms, environment};

/// What a standard stream of the program is to be.
pub(crate) enum Redirect {
    Null,
    /// A pipe whose near end is ours.
    Pipe,
    /// For stdout: a pipe to another command, which does not end before this one is released if it is held.
    Joint {
        held: bool,
    },
    /// For stdin: the far end of that pipe, of this command.
    Of(Handle),
    /// The VM's own.
    Inherit,
    /// For stderr: where stdout goes.
    Stdout,
}

/// A request to start, without its descriptors.
pub(crate) struct Wanted {
    /// Without the identity, which has to be looked up.
    pub(crate) spec: Spec,
    pub(crate) asked: Asked,
    pub(crate) cgroup: Cgroup,
    pub(crate) stdio: [Redirect; 3],
    /// Its size, if the program gets a terminal. Of `stdio` only standard input counts then.
    pub(crate) terminal: Option<Size>,
    pub(crate) grace: Duration,
    pub(crate) linger: Linger,
    pub(crate) window_bytes: usize,
    pub(crate) announce: bool,
    /// What is a line of standard output and standard error, if lines are wanted.
    pub(crate) lines: [Option<Mode>; 2],
}

/// The whole request, or as much as the budget allows. `stdio` of the spec comes with the descriptors.
pub(crate) fn wanted(term: Term<'_>, budget: &Budget) -> Result<Wanted, Refusal> {
    let (stdin, stdout, stderr): (Term<'_>, Atom, Atom) = get(term, atoms::stdio())?;
    let stdio = [input(stdin)?, redirect(stdout)?, redirect(stderr)?];
    let frugal = |term: Term<'_>| {
        let bytes: Binary<'_> = term.decode()?;
        budget.spend_string(bytes.len())?;
        Ok::<_, Refusal>(bytes.as_slice().to_vec())
    };
    let spec = Spec {
        program: frugal(get(term, atoms::program())?)?,
        search_path: environment::get(b"PATH").unwrap_or_default(),
        arg0: optional(term, atoms::arg0(), frugal)?.map(ByteBuf::from),
        args: strings(get(term, atoms::args())?, budget)?,
        env: variables(get(term, atoms::env())?, budget)?,
        cd: optional(term, atoms::cd(), frugal)?.map(ByteBuf::from),
        terminal: false,
        // As they are once there are descriptors.
        stdio: [Stream::Null; 3],
        stop_signal: get(term, atoms::stop_signal())?,
        identity: Identity::default(),
        limits: Limits {
            umask: optional(term, atoms::umask(), Decoder::decode)?,
            nice: optional(term, atoms::nice(), Decoder::decode)?,
            rlimits: each(get(term, atoms::rlimits())?, rlimit)?,
            oom_score_adj: optional(term, atoms::oom_score_adj(), Decoder::decode)?,
            no_new_privs: get(term, atoms::no_new_privs())?,
        },
    };
    let asked = Asked {
        uid: optional(term, atoms::uid(), account)?,
        gid: optional(term, atoms::gid(), account)?,
        groups: optional(term, atoms::groups(), |list| each(list, account))?,
    };
    Ok(Wanted {
        spec,
        asked,
        cgroup: optional(term, atoms::cgroup(), cgroup)?.unwrap_or_default(),
        stdio,
        terminal: optional(term, atoms::pty(), size)?,
        grace: Duration::from_millis(get(term, atoms::grace_ms())?),
        linger: linger(get(term, atoms::linger())?)?,
        window_bytes: get(term, atoms::window_bytes())?,
        announce: get(term, atoms::announce())?,
        lines: lines(get(term, atoms::lines())?)?,
    })
}

fn lines(term: Term<'_>) -> NifResult<[Option<Mode>; 2]> {
    let (stdout, stderr): (Term<'_>, Term<'_>) = term.decode()?;
    let mode = |term: Term<'_>| {
        if atoms::nil() == term {
            Ok(None)
        } else if atoms::raw() == term {
            Ok(Some(Mode::Raw { kept: usize::MAX }))
        } else if let Ok((kind, max)) = term.decode::<(Atom, usize)>() {
            if kind == atoms::bytes() {
                Ok(Some(Mode::Bytes { max }))
            } else if kind == atoms::raw() {
                Ok(Some(Mode::Raw { kept: max }))
            } else {
                Err(Error::BadArg)
            }
        } else {
            Ok(Some(Mode::Text { max: term.decode()? }))
        }
    };
    Ok([mode(stdout)?, mode(stderr)?])
}

fn get<'a, T: Decoder<'a>>(map: Term<'a>, key: Atom) -> NifResult<T> {
    map.map_get(key)?.decode()
}

fn optional<'a, T, E: From<Error>>(
    map: Term<'a>,
    key: Atom,
    convert: impl Fn(Term<'a>) -> Result<T, E>,
) -> Result<Option<T>, E> {
    match map.map_get(key) {
        Ok(term) if atoms::nil() != term => convert(term).map(Some),
        _ => Ok(None),
    }
}

fn each<'a, T>(list: Term<'a>, convert: impl Fn(Term<'a>) -> NifResult<T>) -> NifResult<Vec<T>> {
    list.decode::<ListIterator<'a>>()?.map(convert).collect()
}

fn bytes(term: Term<'_>) -> NifResult<Vec<u8>> {
    Ok(term.decode::<Binary<'_>>()?.as_slice().to_vec())
}

fn text(term: Term<'_>) -> NifResult<String> {
    term.decode()
}

/// Binaries in one block.
pub(crate) fn strings(list: ListIterator<'_>, budget: &Budget) -> Result<Strings, Refusal> {
    let mut strings = Strings::default();
    for term in list {
        let string: Binary<'_> = term.decode()?;
        budget.spend_string(string.len())?;
        push(&mut strings, string.as_slice())?;
    }
    Ok(strings)
}

fn push(strings: &mut Strings, bytes: &[u8]) -> NifResult<()> {
    if strings.push(bytes) { Ok(()) } else { Err(Error::BadArg) }
}

/// `{base, changes}`: the VM's environment as `os:env/0` gives it, and what is different, `nil` for what
/// is not to be there.
fn variables(term: Term<'_>, budget: &Budget) -> Result<Strings, Refusal> {
    let (base, changes): (Term<'_>, ListIterator<'_>) = term.decode()?;
    let mut changed = HashSet::new();
    let mut added = Strings::default();
    for change in changes {
        let (name, value): (Binary<'_>, Term<'_>) = change.decode()?;
        budget.spend_string(name.len())?;
        if atoms::nil() != value {
            let value: Binary<'_> = value.decode()?;
            budget.spend(value.len())?;
            push(&mut added, &[name.as_slice(), b"=", value.as_slice()].concat())?;
        }
        changed.insert(name.as_slice());
    }
    let base = environment::encode(base, budget)?;
    if changed.is_empty() {
        return Ok(Strings::clone(&base));
    }
    let mut strings = Strings::default();
    for variable in base.iter().filter(|variable| !changed.contains(name_of(variable))) {
        push(&mut strings, variable)?;
    }
    for variable in added.iter() {
        push(&mut strings, variable)?;
    }
    Ok(strings)
}

fn name_of(variable: &[u8]) -> &[u8] {
    variable.split(|&byte| byte == b'=').next().unwrap_or_default()
}

fn account(term: Term<'_>) -> NifResult<Account> {
    match term.decode() {
        Ok(id) => Ok(Account::Id(id)),
        Err(_) => text(term).map(Account::Name),
    }
}

fn rlimit(term: Term<'_>) -> NifResult<Rlimit> {
    let (resource, (soft, hard)): (Atom, (Term<'_>, Term<'_>)) = term.decode()?;
    let limit = |term: Term<'_>| {
        if atoms::infinity() == term { Ok(None) } else { term.decode().map(Some) }
    };
    let name = resource.to_term(term.get_env()).atom_to_string()?;
    Ok(Rlimit {
        resource: Rlimit::resource(&name).ok_or(Error::BadArg)?,
        soft: limit(soft)?,
        hard: limit(hard)?,
    })
}

fn linger(term: Term<'_>) -> NifResult<Linger> {
    if atoms::nil() == term {
        Ok(Linger::Drain)
    } else if atoms::infinity() == term {
        Ok(Linger::Forever)
    } else {
        term.decode().map(Linger::AtMost)
    }
}

fn input(term: Term<'_>) -> NifResult<Redirect> {
    match term.decode() {
        Ok(atom) => redirect(atom),
        Err(_) => term.decode().map(Redirect::Of),
    }
}

fn redirect(atom: Atom) -> NifResult<Redirect> {
    if atom == atoms::null() {
        Ok(Redirect::Null)
    } else if atom == atoms::pipe() {
        Ok(Redirect::Pipe)
    } else if atom == atoms::joint() {
        Ok(Redirect::Joint { held: false })
    } else if atom == atoms::held() {
        Ok(Redirect::Joint { held: true })
    } else if atom == atoms::inherit() {
        Ok(Redirect::Inherit)
    } else if atom == atoms::stdout() {
        Ok(Redirect::Stdout)
    } else {
        Err(Error::BadArg)
    }
}

fn size(term: Term<'_>) -> NifResult<Size> {
    Ok(Size { rows: get(term, atoms::rows())?, columns: get(term, atoms::cols())? })
}

fn cgroup(term: Term<'_>) -> NifResult<Cgroup> {
    Ok(Cgroup {
        groups: each(get(term, atoms::groups())?, group)?,
        settings: each(get(term, atoms::settings())?, setting)?,
    })
}

fn group(term: Term<'_>) -> NifResult<Group> {
    let version: Term<'_> = get(term, atoms::version())?;
    let version = if atoms::v1() == version {
        Version::V1
    } else {
        let (_v2, enable): (Atom, Vec<String>) = version.decode()?;
        Version::V2 { enable }
    };
    Ok(Group {
        path: bytes(get(term, atoms::path())?)?,
        mount: bytes(get(term, atoms::mount())?)?,
        version,
    })
}

fn setting(term: Term<'_>) -> NifResult<Setting> {
    Ok(Setting {
        key: text(get(term, atoms::key())?)?,
        file: bytes(get(term, atoms::file())?)?,
        value: bytes(get(term, atoms::value())?)?,
    })
}
