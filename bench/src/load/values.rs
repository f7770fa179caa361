//! What is written: sizes and content. Values are cut from one pool, so that making one costs nothing.

use std::{fmt, str::FromStr};

use bytesize::ByteSize;
use rand::{RngExt, rngs::StdRng};

/// Bytes of the pool beyond the largest value: so many different values there are.
const VARIETY_BYTES: usize = 1 << 20;

/// How long values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSize {
    /// All of so many bytes.
    Fixed(usize),
    /// From the first to the second, each size as likely.
    Uniform(usize, usize),
    /// From the first to the second, each order of magnitude as likely: many small values, few large ones.
    LogUniform(usize, usize),
}

impl ValueSize {
    fn largest(self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform(_, most) | Self::LogUniform(_, most) => most,
        }
    }

    fn pick(self, random: &mut StdRng) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Uniform(least, most) => random.random_range(least..=most.max(least)),
            Self::LogUniform(least, most) => {
                let (low, high) = (
                    (least.max(1) as f64).ln(),
                    (most.max(least).max(1) as f64).ln(),
                );
                random.random_range(low..=high).exp().round() as usize
            }
        }
    }
}

impl FromStr for ValueSize {
    type Err = String;

    /// Reads `100`, `64..4KiB` or `64..1MiB:log`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (range, is_log) = match text.strip_suffix(":log") {
            Some(range) => (range, true),
            None => (text, false),
        };
        match range.split_once("..") {
            None if is_log => Err("\":log\" needs a range, such as 64..4KiB:log".to_owned()),
            None => Ok(Self::Fixed(bytes(range)?)),
            Some((least, most)) => {
                let (least, most) = (bytes(least)?, bytes(most)?);
                match (least <= most, is_log) {
                    (false, _) => Err(format!("the range {range} is empty")),
                    (true, true) => Ok(Self::LogUniform(least, most)),
                    (true, false) => Ok(Self::Uniform(least, most)),
                }
            }
        }
    }
}

impl fmt::Display for ValueSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => write!(f, "{bytes}"),
            Self::Uniform(least, most) => write!(f, "{least}..{most}"),
            Self::LogUniform(least, most) => write!(f, "{least}..{most}:log"),
        }
    }
}

/// The largest value that servers take.
const VALUE_BYTES_MAX: u64 = 512 << 20;

fn bytes(text: &str) -> Result<usize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.0 <= VALUE_BYTES_MAX => Ok(size.0 as usize),
        Ok(_) => Err(format!(
            "{text:?} is more than 512MiB, the largest value that servers take"
        )),
        Err(_) => Err(format!("{text:?} is no size, such as 100 or 4KiB")),
    }
}

/// What values consist of.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Deserialize,
    serde::Serialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum ValueContent {
    /// Bytes that no compression shortens.
    #[default]
    Random,
    /// Records as an application writes them.
    Json,
}

/// Makes values.
#[derive(Clone, Debug)]
pub struct Values {
    size: ValueSize,
    pool: Vec<u8>,
}

impl Values {
    /// Values of `size` and `content`; the same `random` makes the same ones.
    #[must_use]
    pub fn new(size: ValueSize, content: ValueContent, random: &mut StdRng) -> Self {
        let bytes = size.largest() + VARIETY_BYTES;
        let mut pool = Vec::with_capacity(bytes + 256);
        while pool.len() < bytes {
            match content {
                ValueContent::Random => {
                    pool.extend_from_slice(&random.random::<u64>().to_le_bytes())
                }
                ValueContent::Json => put_record(&mut pool, random),
            }
        }
        pool.truncate(bytes);
        Self { size, pool }
    }

    /// The next value.
    pub fn pick(&self, random: &mut StdRng) -> &[u8] {
        let bytes = self.size.pick(random);
        let start = random.random_range(0..=self.pool.len() - bytes);
        &self.pool[start..start + bytes]
    }
}

fn put_record(pool: &mut Vec<u8>, random: &mut StdRng) {
    let number: u32 = random.random();
    let state = ["active", "idle", "blocked"][number as usize % 3];
    let record = format!(
        r#"{{"id":{number},"user":"user-{}","state":"{state}","score":{:.2},"tags":["a{}","b{}"],"updated_at":"2026-01-{:02}T{:02}:00:00Z"}},"#,
        number % 9973,
        f64::from(number % 100_000) / 100.0,
        number % 17,
        number % 23,
        number % 28 + 1,
        number % 24,
    );
    pool.extend_from_slice(record.as_bytes());
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn values_have_the_sizes_that_were_asked_for() {
        let mut random = StdRng::seed_from_u64(3);
        for (size, least, most) in [
            (ValueSize::Fixed(100), 100, 100),
            (ValueSize::Uniform(10, 20), 10, 20),
            (ValueSize::LogUniform(10, 10_000), 10, 10_000),
        ] {
            let values = Values::new(size, ValueContent::Random, &mut random);
            let sizes: Vec<_> = (0..2000).map(|_| values.pick(&mut random).len()).collect();
            assert!(
                sizes.iter().all(|bytes| (least..=most).contains(bytes)),
                "{size:?}"
            );
            let middle = sizes.iter().filter(|&&bytes| bytes <= 316).count();
            let is_log = matches!(size, ValueSize::LogUniform(..));
            assert!(
                !is_log || (900..1100).contains(&middle),
                "{middle} of 2000 below 316"
            );
        }
    }

    #[test]
    fn json_reads_as_json() {
        let mut random = StdRng::seed_from_u64(3);
        let mut record = Vec::new();
        put_record(&mut record, &mut random);
        let text = std::str::from_utf8(&record).unwrap().trim_end_matches(',');
        assert!(
            serde_json::from_str::<serde_json::Value>(text).is_ok(),
            "{text}"
        );
    }

    #[test]
    fn sizes_are_read_as_they_are_written_or_refused_with_a_reason() {
        for text in ["100", "64..4096", "64..1048576:log"] {
            assert_eq!(text.parse::<ValueSize>().unwrap().to_string(), text);
        }
        assert_eq!("4KiB".parse(), Ok(ValueSize::Fixed(4096)));
        let refusals = [
            ("x", "is no size"),
            ("9..1", "is empty"),
            ("9:log", "needs a range"),
            ("1GiB", "more than"),
        ];
        for (text, reason) in refusals {
            let refusal = text.parse::<ValueSize>().unwrap_err();
            assert!(refusal.contains(reason), "{text}: {refusal}");
        }
    }
}
