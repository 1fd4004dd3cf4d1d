// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! What the Elixir side asks for, as our values. The options were checked there; what does not fit here
//! is a mistake of ours and a `badarg`.

use std::collections::HashSet;
use std::time::Duration;

use muontrap_core::spec::{
    Cgroup, Group, Identity, Limits, Rlimit, Setting, Spec, Stream, Strings, Version,
};
use rustler::{Atom, Binary, Decoder, Error, ListIterator, NifResult, Term};
use serde_bytes::ByteBuf;

use crate::atoms;
use crate::identity::{Account, Asked};

/// What a standard stream of the program is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Null,
    /// A pipe whose near end is ours.
    Pipe,
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
    pub(crate) stdio: [Wish; 3],
    pub(crate) grace: Duration,
    pub(crate) window_bytes: usize,
    pub(crate) announce: bool,
}

/// The whole request. `stdio` of the spec is only good once the descriptors are there.
pub(crate) fn wanted(term: Term<'_>) -> NifResult<Wanted> {
    let (stdin, stdout, stderr): (Atom, Atom, Atom) = get(term, atoms::stdio())?;
    let stdio = [wish(stdin)?, wish(stdout)?, wish(stderr)?];
    let spec = Spec {
        program: bytes(get(term, atoms::program())?)?,
        search_path: bytes(get(term, atoms::search_path())?)?,
        arg0: optional(term, atoms::arg0(), bytes)?.map(ByteBuf::from),
        args: strings(get(term, atoms::args())?)?,
        env: environment(get(term, atoms::env())?)?,
        cd: optional(term, atoms::cd(), bytes)?.map(ByteBuf::from),
        stdio: stdio.map(|wish| match wish {
            Wish::Null => Stream::Null,
            Wish::Pipe | Wish::Inherit => Stream::Sent,
            Wish::Stdout => Stream::SameAsStdout,
        }),
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
        grace: Duration::from_millis(get(term, atoms::grace_ms())?),
        window_bytes: get(term, atoms::window_bytes())?,
        announce: get(term, atoms::announce())?,
    })
}

fn get<'a, T: Decoder<'a>>(map: Term<'a>, key: Atom) -> NifResult<T> {
    map.map_get(key)?.decode()
}

fn optional<'a, T>(
    map: Term<'a>,
    key: Atom,
    convert: impl Fn(Term<'a>) -> NifResult<T>,
) -> NifResult<Option<T>> {
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

fn strings(list: Term<'_>) -> NifResult<Strings> {
    let mut strings = Strings::default();
    for term in list.decode::<ListIterator<'_>>()? {
        push(&mut strings, term.decode::<Binary<'_>>()?.as_slice())?;
    }
    Ok(strings)
}

fn push(strings: &mut Strings, bytes: &[u8]) -> NifResult<()> {
    if strings.push(bytes) { Ok(()) } else { Err(Error::BadArg) }
}

/// `{base, changes}`: the VM's environment as `os:env/0` gives it, and what is different, `nil` for what
/// is not to be there.
fn environment(term: Term<'_>) -> NifResult<Strings> {
    let (base, changes): (ListIterator<'_>, Term<'_>) = term.decode()?;
    let changes: Vec<(Binary<'_>, Term<'_>)> = each(changes, |change| change.decode())?;
    let changed: HashSet<&[u8]> = changes.iter().map(|(name, _)| name.as_slice()).collect();
    let mut strings = Strings::default();
    let mut line = Vec::new();
    for variable in base {
        let (name, value): (Term<'_>, Term<'_>) = variable.decode()?;
        line.clear();
        characters(name, &mut line)?;
        if changed.contains(line.as_slice()) {
            continue;
        }
        line.push(b'=');
        characters(value, &mut line)?;
        push(&mut strings, &line)?;
    }
    for (name, value) in &changes {
        if atoms::nil() != *value {
            let value: Binary<'_> = value.decode()?;
            push(&mut strings, &[name.as_slice(), b"=", value.as_slice()].concat())?;
        }
    }
    Ok(strings)
}

/// The bytes behind a list of characters, as the VM makes it of file names and variables.
fn characters(list: Term<'_>, into: &mut Vec<u8>) -> NifResult<()> {
    for character in list.decode::<ListIterator<'_>>()? {
        let character = char::from_u32(character.decode()?).ok_or(Error::BadArg)?;
        into.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(())
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
        resource: resource_number(&name).ok_or(Error::BadArg)?,
        soft: limit(soft)?,
        hard: limit(hard)?,
    })
}

fn resource_number(name: &str) -> Option<u32> {
    // The type of these constants differs between C libraries.
    #[allow(clippy::unnecessary_cast)]
    let number = match name {
        "as" => libc::RLIMIT_AS,
        "core" => libc::RLIMIT_CORE,
        "cpu" => libc::RLIMIT_CPU,
        "data" => libc::RLIMIT_DATA,
        "fsize" => libc::RLIMIT_FSIZE,
        "locks" => libc::RLIMIT_LOCKS,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "nofile" => libc::RLIMIT_NOFILE,
        "nproc" => libc::RLIMIT_NPROC,
        "rss" => libc::RLIMIT_RSS,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "stack" => libc::RLIMIT_STACK,
        _ => return None,
    } as u32;
    Some(number)
}

fn wish(atom: Atom) -> NifResult<Wish> {
    if atom == atoms::null() {
        Ok(Wish::Null)
    } else if atom == atoms::pipe() {
        Ok(Wish::Pipe)
    } else if atom == atoms::inherit() {
        Ok(Wish::Inherit)
    } else if atom == atoms::stdout() {
        Ok(Wish::Stdout)
    } else {
        Err(Error::BadArg)
    }
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
