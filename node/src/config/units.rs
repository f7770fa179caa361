//! Settings with a unit: sizes, durations, shares and rates as a person writes them.
//!
//! Every type here reads exactly what it prints, so a printed configuration can be loaded again.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A size in bytes, written `"64MiB"`, `"10kB"` or `"512B"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A length of time, written `"80ms"`, `"1m 30s"` or `"0s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A share from 0 to 1, written as a percentage: `"1%"`, `"0.05%"`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

/// A rate in bits per second, written `"100mbit"`, `"1gbit"` or `"64kbit"` as in `tc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BitRate(pub u64);

/// A password or token: never shown by `Debug`, `Display` or a printed configuration.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl Bytes {
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The size as an index into memory; saturates where `usize` is smaller.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Period {
    pub const fn micros(count: u64) -> Self {
        Self(Duration::from_micros(count))
    }

    pub const fn millis(count: u64) -> Self {
        Self(Duration::from_millis(count))
    }

    pub const fn seconds(count: u64) -> Self {
        Self(Duration::from_secs(count))
    }
}

impl BitRate {
    /// The rate in bytes per second.
    pub const fn bytes_per_second(self) -> u64 {
        self.0 / 8
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<bytesize::ByteSize>()
            .map(|size| Self(size.0))
            .map_err(|_| refusal(text, Self::ALLOWED))
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| refusal(text, Self::ALLOWED))
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.strip_suffix('%')
            .and_then(|number| number.trim().parse::<f64>().ok())
            .filter(|percent| (0.0..=100.0).contains(percent))
            .map(|percent| Self(percent / 100.0))
            .ok_or_else(|| refusal(text, Self::ALLOWED))
    }
}

impl FromStr for BitRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_ascii_lowercase();
        RATE_UNITS
            .iter()
            .find_map(|(unit, scale)| {
                let count = lower.strip_suffix(unit)?.trim().parse::<u64>().ok()?;
                count.checked_mul(*scale).filter(|bits| *bits >= 8)
            })
            .map(Self)
            .ok_or_else(|| refusal(text, Self::ALLOWED))
    }
}

/// Longest suffix first: `bit` is the end of all others.
const RATE_UNITS: [(&str, u64); 4] = [
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

const SIZE_UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exact(f, self.0, &SIZE_UNITS, "B")
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.0))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded to a millionth of a percent: 0.07 * 100 would print as 7.000000000000001.
        write!(f, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exact(f, self.0, &RATE_UNITS[..3], "bit")
    }
}

/// Writes `count` in the largest unit that divides it, so that nothing is rounded away.
fn write_exact(
    f: &mut fmt::Formatter<'_>,
    count: u64,
    units: &[(&str, u64)],
    smallest: &str,
) -> fmt::Result {
    match units
        .iter()
        .find(|(_, scale)| count > 0 && count.is_multiple_of(*scale))
    {
        Some((unit, scale)) => write!(f, "{}{unit}", count / scale),
        None => write!(f, "{count}{smallest}"),
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

const HIDDEN: &str = "(hidden)";

fn refusal(text: &str, allowed: &str) -> String {
    format!("\"{text}\" is not {allowed}")
}

/// What the text form of a unit may be, for messages.
trait Unit: FromStr<Err = String> + fmt::Display {
    const ALLOWED: &'static str;
}

struct UnitVisitor<U>(PhantomData<U>);

impl<U: Unit> Visitor<'_> for UnitVisitor<U> {
    type Value = U;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(U::ALLOWED)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<U, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! written_as_text {
    ($($unit:ty: $allowed:literal),+ $(,)?) => {$(
        impl Unit for $unit {
            const ALLOWED: &'static str = $allowed;
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(UnitVisitor(PhantomData))
            }
        }

        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )+};
}

written_as_text! {
    Bytes: "a size such as \"64MiB\" or \"512B\"",
    Period: "a duration such as \"80ms\", \"5s\" or \"0s\"",
    Percent: "a percentage from \"0%\" to \"100%\"",
    BitRate: "a rate such as \"100mbit\" or \"1gbit\" (8bit or more)",
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<U: Unit + PartialEq + fmt::Debug>(text: &str) -> String {
        let value: U = text.parse().unwrap();
        let printed = value.to_string();
        assert_eq!(
            printed.parse::<U>().unwrap(),
            value,
            "{printed} reads as another value"
        );
        printed
    }

    #[test]
    fn what_is_printed_reads_as_the_same_value() {
        assert_eq!(round_trip::<Bytes>("64MiB"), "64MiB");
        assert_eq!(round_trip::<Bytes>("1536KiB"), "1536KiB");
        assert_eq!(round_trip::<Bytes>("1234567"), "1234567B");
        assert_eq!(round_trip::<Bytes>("0B"), "0B");
        assert_eq!(round_trip::<Period>("1500ms"), "1s 500ms");
        assert_eq!(round_trip::<Period>("0s"), "0s");
        assert_eq!(round_trip::<Percent>("7%"), "7%");
        assert_eq!(round_trip::<Percent>("0.05 %"), "0.05%");
        assert_eq!(round_trip::<BitRate>("100Mbit"), "100mbit");
        assert_eq!(round_trip::<BitRate>("1500kbit"), "1500kbit");
    }

    #[test]
    fn a_bad_value_says_what_is_allowed() {
        assert_eq!(
            "64 apples".parse::<Bytes>().unwrap_err(),
            "\"64 apples\" is not a size such as \"64MiB\" or \"512B\""
        );
        assert!("80".parse::<Period>().unwrap_err().contains("80ms"));
        for text in ["1", "101%", "-1%", "NaN%"] {
            assert!(
                text.parse::<Percent>().unwrap_err().contains("percentage"),
                "{text}"
            );
        }
        for text in ["1bit", "fast", "99999999999gbit", "10"] {
            assert!(
                text.parse::<BitRate>().unwrap_err().contains("mbit"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret("hunter2".into());
        assert_eq!(format!("{secret:?}"), "(hidden)");
    }
}
