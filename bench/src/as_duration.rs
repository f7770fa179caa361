//! Lengths of time as files and the command line have them: `80ms`, `1m 30s`. For `#[serde(with = "as_duration")]`, and
//! for arguments.

use std::{fmt, time::Duration};

use serde::{
    Deserializer,
    de::{Error, Visitor},
};

pub(crate) use humantime_serde::serialize;

/// Nothing is measured for longer.
const MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Reads one.
///
/// # Errors
/// A sentence that says what is allowed.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text)
        .map_err(|_| format!("{text:?} is no duration, such as 80ms or 1m 30s"))?;
    match time <= MAX {
        true => Ok(time),
        false => Err(format!(
            "{text:?} is more than 7 days, the longest duration"
        )),
    }
}

/// Reads one that is not zero.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_above_zero(text: &str) -> Result<Duration, String> {
    match parse(text)? {
        Duration::ZERO => Err("must be above 0".to_owned()),
        time => Ok(time),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(Text)
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration in quotes, such as \"80ms\" or \"1m 30s\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        parse(text).map_err(E::custom)
    }
}

/// For settings that may be left out.
pub(crate) mod optional {
    use super::{Deserializer, Duration, deserialize as duration};

    pub(crate) use humantime_serde::option::serialize;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        duration(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_duration_is_told_what_one_is() {
        assert_eq!(parse("1m 30s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("7days"), Ok(MAX));
        for text in ["", "80", "80 parsecs", "-1s", "soon"] {
            let refusal = parse(text).unwrap_err();
            assert!(refusal.contains("such as 80ms or 1m 30s"), "{refusal}");
        }
        for text in ["9000000000years", "100000years", "8days"] {
            let refusal = parse(text).unwrap_err();
            assert!(refusal.contains("7 days"), "{refusal}");
        }
        assert!(parse_above_zero("0s").unwrap_err().contains("above 0"));
        assert_eq!(parse_above_zero("1ns"), Ok(Duration::from_nanos(1)));
    }
}
