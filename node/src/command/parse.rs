//! Arguments as typed values: integers, floats and times, in the spellings that redis-server 7.0 accepts. Knows no
//! commands and no keys.

use greenwich_proto::{
    decimal::{Decimal, ReadError},
    time::Wall,
};

use super::CommandError;
use crate::resp::parse_integer;

/// The longest text that is read as a float.
const FLOAT_BYTES_MAX: usize = 5 * 1024 - 1;

/// A 64-bit integer in the one spelling that Redis accepts.
pub(super) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    parse_integer(text).ok_or(CommandError::NotAnInteger)
}

/// A number that counters can hold. What Redis would take but is beyond a [`Decimal`] is refused like an infinity.
pub(super) fn float(text: &[u8]) -> Result<Decimal, CommandError> {
    if text.len() > FLOAT_BYTES_MAX {
        return Err(CommandError::NotAFloat);
    }
    Decimal::read(text).map_err(|error| match error {
        ReadError::NotANumber => CommandError::NotAFloat,
        ReadError::TooLarge => CommandError::NanOrInfinity,
    })
}

/// How an argument tells a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeForm {
    /// Seconds from the command's time on.
    Seconds,
    /// Milliseconds from the command's time on.
    Millis,
    /// Seconds since the Unix epoch.
    UnixSeconds,
    /// Milliseconds since the Unix epoch.
    UnixMillis,
}

impl TimeForm {
    /// Whether the time does not depend on when the command runs.
    pub(super) fn is_absolute(self) -> bool {
        matches!(self, Self::UnixSeconds | Self::UnixMillis)
    }

    /// Milliseconds since the Unix epoch, possibly before it. `None` when that overflows.
    pub(super) fn unix_ms(self, time: i64, now: Wall) -> Option<i64> {
        let unit_ms = match self {
            Self::Seconds | Self::UnixSeconds => 1000,
            Self::Millis | Self::UnixMillis => 1,
        };
        let start_ms = if self.is_absolute() {
            0
        } else {
            i64::try_from(now.0).ok()?
        };
        time.checked_mul(unit_ms)?.checked_add(start_ms)
    }

    /// The deadline of a value that `command` writes: positive, as SET and GETEX want it.
    pub(super) fn deadline(
        self,
        text: &[u8],
        now: Wall,
        command: &'static str,
    ) -> Result<Wall, CommandError> {
        let time = integer(text)?;
        let at = if time > 0 {
            self.unix_ms(time, now)
        } else {
            None
        };
        let at = at.and_then(|at| u64::try_from(at).ok());
        at.map(Wall).ok_or(CommandError::InvalidExpire(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall(1_800_000_000_000);

    #[test]
    fn floats_that_do_not_fit_are_told_from_words() {
        for text in [
            "1e30",
            "-1e4932",
            "inf",
            "-INF",
            "+Infinity",
            "9999999999999999999999.5",
        ] {
            assert_eq!(
                float(text.as_bytes()),
                Err(CommandError::NanOrInfinity),
                "{text}"
            );
        }
        let long = "1".repeat(6000);
        for text in [
            "",
            "nan",
            "abc",
            " 1",
            "1 ",
            "1e5000",
            "1e99999999999999999999",
            "+-1",
            &long,
        ] {
            assert_eq!(
                float(text.as_bytes()),
                Err(CommandError::NotAFloat),
                "{text}"
            );
        }
        assert_eq!(float(b"1.50").unwrap().to_string(), "1.5");
    }

    #[test]
    fn deadlines_are_positive_and_do_not_overflow() {
        let deadline = |form: TimeForm, text: &str| form.deadline(text.as_bytes(), NOW, "set");
        assert_eq!(deadline(TimeForm::Seconds, "10"), Ok(Wall(NOW.0 + 10_000)));
        assert_eq!(deadline(TimeForm::Millis, "10"), Ok(Wall(NOW.0 + 10)));
        assert_eq!(deadline(TimeForm::UnixSeconds, "10"), Ok(Wall(10_000)));
        assert_eq!(
            deadline(TimeForm::UnixMillis, "9223372036854775807"),
            Ok(Wall(i64::MAX as u64))
        );
        let invalid = Err(CommandError::InvalidExpire("set"));
        assert_eq!(deadline(TimeForm::Seconds, "0"), invalid);
        assert_eq!(deadline(TimeForm::UnixMillis, "-1"), invalid);
        assert_eq!(deadline(TimeForm::Millis, "9223372036854775807"), invalid);
        assert_eq!(deadline(TimeForm::UnixSeconds, "9223372036854776"), invalid);
        assert_eq!(
            deadline(TimeForm::Seconds, "1.5"),
            Err(CommandError::NotAnInteger)
        );
    }
}
