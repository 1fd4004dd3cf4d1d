// SPDX-FileCopyrightText: 2026 The muontrap authors
// SPDX-License-Identifier: Apache-2.0

//! Limits by name, with the files behind each in cgroup v1 and v2, and values on their way between them.
//!
//! A weight of the CPU and its v1 shares are what the kernel itself takes for the same, 100 and 1024. A disk weight
//! is equal up to 100, and 10,000 is v1's 1000, as systemd has it.

/// A version of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    V2,
    V1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer(u64, u64),
    Boolean,
    BytesOrMax,
    CountOrMax,
    /// A part of each period.
    Quota,
    /// CPUs or memory nodes.
    Ranges,
}

/// A limit that there is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) controller: &'static str,
    v2: &'static str,
    /// Nothing like it in v1 if there are none.
    v1: &'static [&'static str],
    kind: Kind,
    example: &'static str,
}

/// The value of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Number(u64),
    Max,
    Quota(u64, u64),
    Text(String),
}

const fn key(
    name: &'static str,
    controller: &'static str,
    v2: &'static str,
    v1: &'static [&'static str],
    kind: Kind,
    example: &'static str,
) -> Key {
    Key { name, controller, v2, v1, kind, example }
}

const WEIGHT: Kind = Kind::Integer(1, 10_000);
/// In v1 "unlimited" is the largest multiple of a page, and pages have up to 64 KiB.
const UNLIMITED: u64 = 0x7FFF_FFFF_FFFF_0000;
/// The kernel refuses a quota or a period below 1 ms and a period over 1 s.
const CFS_MIN_US: u64 = 1_000;
const CFS_PERIOD_MAX_US: u64 = 1_000_000;
const CFS_PERIOD_US: u64 = 100_000;

const SHARES: &str = "cpu.shares";
const CFS_PERIOD: &str = "cpu.cfs_period_us";
const CFS_QUOTA: &str = "cpu.cfs_quota_us";
const MEMORY: &str = "memory.limit_in_bytes";
/// Of memory and swap together.
pub(super) const SUM: &str = "memory.memsw.limit_in_bytes";
const BFQ_WEIGHT: &str = "blkio.bfq.weight";

/// In the order in which they are set.
#[rustfmt::skip]
static KEYS: &[Key] = &[
    key("cpu_weight", "cpu", "cpu.weight", &[SHARES], WEIGHT, "200"),
    key("cpu_max", "cpu", "cpu.max", &[CFS_PERIOD, CFS_QUOTA], Kind::Quota, "50000/100000"),
    key("cpu_idle", "cpu", "cpu.idle", &["cpu.idle"], Kind::Boolean, "true"),
    key("memory_min", "memory", "memory.min", &[], Kind::BytesOrMax, "64M"),
    key("memory_low", "memory", "memory.low", &[], Kind::BytesOrMax, "64M"),
    key("memory_high", "memory", "memory.high", &[], Kind::BytesOrMax, "192M"),
    key("memory_max", "memory", "memory.max", &[MEMORY], Kind::BytesOrMax, "256M"),
    key("memory_swap_max", "memory", "memory.swap.max", &[SUM], Kind::BytesOrMax, "0"),
    key("memory_oom_group", "memory", "memory.oom.group", &[], Kind::Boolean, "true"),
    key("pids_max", "pids", "pids.max", &["pids.max"], Kind::CountOrMax, "100"),
    key("io_weight", "io", "io.weight", &[BFQ_WEIGHT, "blkio.weight"], WEIGHT, "50"),
    key("cpuset_cpus", "cpuset", "cpuset.cpus", &["cpuset.cpus"], Kind::Ranges, "0-1"),
    key("cpuset_mems", "cpuset", "cpuset.mems", &["cpuset.mems"], Kind::Ranges, "0"),
];

impl Key {
    pub(crate) fn all() -> impl Iterator<Item = &'static Key> {
        KEYS.iter()
    }

    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        KEYS.iter().map(|key| key.name)
    }

    pub(crate) fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The key behind a file of one version.
    pub(super) fn of_file(file: &str, version: Version) -> Option<&'static Key> {
        KEYS.iter().find(|key| match version {
            Version::V2 => key.v2 == file,
            Version::V1 => key.v1.contains(&file),
        })
    }

    pub(crate) fn example(&self) -> String {
        format!("{}={}", self.name, self.example)
    }

    pub(crate) fn expects(&self) -> String {
        match self.kind {
            Kind::Integer(least, most) => format!("a number from {least} to {most}"),
            Kind::Boolean => "true or false".into(),
            Kind::BytesOrMax => "bytes, with K, M or G behind them or not, or max".into(),
            Kind::CountOrMax => "a number or max".into(),
            Kind::Quota => "QUOTA/PERIOD in microseconds, or max".into(),
            Kind::Ranges => "a list of ranges".into(),
        }
    }

    /// The files to write for a value, in order. A value that means "no limit" needs no file where there is no
    /// such limit. `memory_max` is the limit that the same group has.
    pub(super) fn files_of(
        &self,
        limit: &Limit,
        version: Version,
        memory_max: Option<&Limit>,
    ) -> Result<Vec<(&'static str, String)>, String> {
        if version == Version::V2 {
            return Ok(vec![(self.v2, limit.text())]);
        }
        let file = match (self.name, limit) {
            ("cpu_weight", Limit::Number(weight)) => {
                (SHARES, ((weight * 1024 + 50) / 100).to_string())
            }
            ("cpu_max", Limit::Quota(quota, period)) => {
                return Ok(vec![(CFS_PERIOD, period.to_string()), (CFS_QUOTA, quota.to_string())]);
            }
            ("cpu_max", _) => (CFS_QUOTA, "-1".into()),
            ("memory_max", limit) => (MEMORY, v1_bytes(limit)),
            ("memory_swap_max", Limit::Number(swap)) => match memory_max {
                Some(Limit::Number(memory)) => (SUM, memory.saturating_add(*swap).to_string()),
                _ => {
                    let why = "cgroup v1 limits the sum of memory and swap: set memory_max, too";
                    return Err(why.into());
                }
            },
            ("memory_swap_max", _) => (SUM, "-1".into()),
            ("io_weight", Limit::Number(weight)) => (BFQ_WEIGHT, bfq_weight(*weight).to_string()),
            ("memory_min" | "memory_low" | "memory_oom_group", Limit::Number(0))
            | ("memory_high", Limit::Max) => return Ok(vec![]),
            (name, limit) => match self.v1 {
                [file, ..] => (*file, limit.text()),
                [] => {
                    let controller = self.controller;
                    return Err(format!(
                        "the {controller} controller of cgroup v1 has nothing like {name}: it needs cgroup v2"
                    ));
                }
            },
        };
        Ok(vec![file])
    }

    /// The value that files hold. None if it has no form as a value.
    pub(super) fn read_files<'a>(
        &self,
        version: Version,
        read: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<Limit> {
        if version == Version::V2 {
            return Limit::parse(self, read(self.v2)?.trim());
        }
        let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
        let bytes = |file: &str| parse_bytes(read(file)?.trim());
        Some(match self.name {
            "cpu_weight" => Limit::Number(((number(SHARES)? * 100 + 512) / 1024).clamp(1, 10_000)),
            "cpu_max" => match read(CFS_QUOTA).map(str::trim) {
                None | Some("-1") => Limit::Max,
                Some(quota) => {
                    let period = number(CFS_PERIOD).unwrap_or(CFS_PERIOD_US);
                    Limit::Quota(quota.parse().ok()?, period)
                }
            },
            "memory_max" => bytes(MEMORY)?,
            "memory_swap_max" => match (bytes(SUM)?, bytes(MEMORY)) {
                (Limit::Number(both), Some(Limit::Number(memory))) => {
                    Limit::Number(both.checked_sub(memory)?)
                }
                (Limit::Max, _) => Limit::Max,
                _ => return None,
            },
            "io_weight" => match number(BFQ_WEIGHT).or_else(|| number("blkio.weight"))? {
                weight @ ..=100 => Limit::Number(weight.max(1)),
                weight => Limit::Number((100 + (weight - 100) * 11).min(10_000)),
            },
            _ => Limit::parse(self, read(self.v1.first()?)?.trim())?,
        })
    }
}

impl Limit {
    pub(crate) fn parse(key: &Key, text: &str) -> Option<Self> {
        Some(match key.kind {
            Kind::Integer(least, most) => {
                Self::Number(text.parse().ok().filter(|value| (least..=most).contains(value))?)
            }
            Kind::Boolean => match text {
                "true" | "1" => Self::Number(1),
                "false" | "0" => Self::Number(0),
                _ => return None,
            },
            Kind::BytesOrMax => parse_bytes(text)?,
            Kind::CountOrMax => match text {
                "max" => Self::Max,
                text => Self::Number(text.parse().ok()?),
            },
            Kind::Quota => parse_quota(text)?,
            Kind::Ranges => {
                let known = |byte: u8| matches!(byte, b'0'..=b'9' | b',' | b'-');
                Self::Text(Some(text).filter(|text| text.bytes().all(known))?.to_owned())
            }
        })
    }

    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Max => "max".into(),
            Self::Quota(quota, period) => format!("{quota} {period}"),
            Self::Text(text) => text.clone(),
        }
    }
}

fn parse_quota(text: &str) -> Option<Limit> {
    let (quota, period) = text
        .split_once(['/', ' '])
        .map_or((text, Some(CFS_PERIOD_US)), |(quota, period)| (quota, period.parse().ok()));
    let period = period.filter(|period| (CFS_MIN_US..=CFS_PERIOD_MAX_US).contains(period))?;
    if quota == "max" {
        return Some(Limit::Max);
    }
    let quota = quota.parse().ok().filter(|&quota| quota >= CFS_MIN_US)?;
    Some(Limit::Quota(quota, period))
}

/// A number as the kernel reads it: with a unit behind it, `-1` and `max` for "no limit".
fn parse_bytes(text: &str) -> Option<Limit> {
    if matches!(text, "max" | "-1") {
        return Some(Limit::Max);
    }
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let power = match &text[digits.len()..] {
        "" => 0,
        unit => 1 + "KMGTPE".find(&unit.to_uppercase()).filter(|_| unit.len() == 1)?,
    };
    let scale = 1024_u64.pow(u32::try_from(power).ok()?);
    let bytes = digits.parse::<u64>().ok()?.saturating_mul(scale);
    Some(if bytes >= UNLIMITED { Limit::Max } else { Limit::Number(bytes) })
}

fn v1_bytes(limit: &Limit) -> String {
    match limit {
        Limit::Max => "-1".into(),
        limit => limit.text(),
    }
}

fn bfq_weight(weight: u64) -> u64 {
    if weight <= 100 { weight } else { 100 + (weight - 100) / 11 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1(key: &str, text: &str) -> Result<Vec<(&'static str, String)>, String> {
        let key = Key::find(key).expect("a key");
        let memory = Limit::Number(1000);
        key.files_of(&Limit::parse(key, text).expect("a value"), Version::V1, Some(&memory))
    }

    #[test]
    fn every_example_is_a_value() {
        for key in Key::all() {
            assert!(Limit::parse(key, key.example).is_some(), "{}", key.name);
        }
    }

    #[test]
    fn reads_bytes_as_the_kernel_does() {
        for (text, bytes) in [("7", 7), ("1k", 1024), ("256M", 268_435_456), ("2G", 2_147_483_648)]
        {
            assert_eq!(parse_bytes(text), Some(Limit::Number(bytes)), "{text}");
        }
        assert_eq!(parse_bytes("max"), Some(Limit::Max));
        assert_eq!(parse_bytes("9E"), Some(Limit::Max));
        for text in ["", "M", "1MM", "1X", "-2", "1.5G"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }

    #[test]
    fn writes_the_files_of_either_version() {
        let written = |file: &'static str, text: &str| Ok(vec![(file, text.to_owned())]);
        assert_eq!(v1("memory_max", "4K"), written(MEMORY, "4096"));
        assert_eq!(v1("memory_max", "max"), written(MEMORY, "-1"));
        assert_eq!(v1("memory_swap_max", "24"), written(SUM, "1024"));
        assert_eq!(v1("cpu_weight", "100"), written(SHARES, "1024"));
        assert_eq!(v1("io_weight", "10000"), written(BFQ_WEIGHT, "1000"));
        assert_eq!(v1("memory_high", "max"), Ok(vec![]));
        assert!(v1("memory_high", "5").is_err_and(|why| why.contains("needs cgroup v2")));
        let quota = vec![(CFS_PERIOD, "100000".to_owned()), (CFS_QUOTA, "50000".to_owned())];
        assert_eq!(v1("cpu_max", "50000"), Ok(quota));
    }

    #[test]
    fn reads_what_v1_files_say() {
        let read = |file: &str| match file {
            SHARES => Some("2048"),
            CFS_QUOTA => Some("20000"),
            MEMORY => Some("1M"),
            SUM => Some("3M"),
            "blkio.weight" => Some("1000"),
            _ => None,
        };
        let value = |name: &str| Key::find(name)?.read_files(Version::V1, read);
        assert_eq!(value("cpu_weight"), Some(Limit::Number(200)));
        assert_eq!(value("cpu_max"), Some(Limit::Quota(20_000, 100_000)));
        assert_eq!(value("memory_swap_max"), Some(Limit::Number(2 << 20)));
        assert_eq!(value("io_weight"), Some(Limit::Number(10_000)));
        assert_eq!(value("pids_max"), None);
    }
}
