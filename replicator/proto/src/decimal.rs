//! Exact decimal numbers for counters.
//!
//! Sums of increments must not depend on the order in which regions add them, so counters are fixed-point: an `i128`
//! counting units of 10⁻¹⁷, the precision that Redis prints. Addition is exact, commutative and associative.

use std::{fmt, ops::Neg};

/// Digits after the decimal point.
const SCALE_DIGITS: u32 = 17;
const SCALE: i128 = 10i128.pow(SCALE_DIGITS);

/// A number between ±1.7 × 10²¹ with 17 digits after the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(i128);

impl Decimal {
    /// Nothing added yet.
    pub const ZERO: Self = Self(0);

    /// Reads the text that Redis accepts as a float: sign, digits, point, exponent; digits past the 17th after the
    /// point are dropped. `None` for anything else and for what does not fit.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] | rest => (false, rest),
        };
        let (mantissa, exponent) = split_exponent(digits)?;
        let point = mantissa
            .iter()
            .position(|&byte| byte == b'.')
            .unwrap_or(mantissa.len());
        // Power of ten of the first digit, counted in units of 10^-17.
        let mut power = i32::try_from(point).ok()? - 1 + exponent + SCALE_DIGITS.cast_signed();
        let mut value: i128 = 0;
        for &byte in mantissa[..point]
            .iter()
            .chain(mantissa.get(point + 1..).unwrap_or_default())
        {
            if !byte.is_ascii_digit() {
                return None;
            }
            value = value.checked_add(scaled_digit(byte - b'0', power)?)?;
            power -= 1;
        }
        let has_digits = mantissa.len() > usize::from(point < mantissa.len());
        has_digits.then(|| Self(if negative { -value } else { value }))
    }

    /// The sum, unless it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The sum; what does not fit stays at the bound.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The value as an integer, if it is one and fits.
    #[must_use]
    pub fn to_i64(self) -> Option<i64> {
        (self.0 % SCALE == 0)
            .then(|| i64::try_from(self.0 / SCALE).ok())
            .flatten()
    }

    /// The raw count of 10⁻¹⁷, as it is stored.
    #[must_use]
    pub const fn to_bits(self) -> i128 {
        self.0
    }

    /// Inverse of [`Self::to_bits`].
    #[must_use]
    pub const fn from_bits(bits: i128) -> Self {
        Self(bits)
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self(i128::from(value) * SCALE)
    }
}

impl Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl fmt::Display for Decimal {
    /// As Redis prints floats: no exponent, no trailing zeros, no point for whole numbers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (
            magnitude / SCALE.unsigned_abs(),
            magnitude % SCALE.unsigned_abs(),
        );
        let sign = if self.0 < 0 { "-" } else { "" };
        if fraction == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{fraction:017}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

/// Splits `1.5e3` into `1.5` and 3.
fn split_exponent(digits: &[u8]) -> Option<(&[u8], i32)> {
    let Some(at) = digits.iter().position(|byte| matches!(byte, b'e' | b'E')) else {
        return Some((digits, 0));
    };
    let exponent = std::str::from_utf8(&digits[at + 1..])
        .ok()?
        .parse::<i32>()
        .ok()?;
    // Beyond this every non-zero number over- or underflows; the clamp keeps the arithmetic small.
    Some((&digits[..at], exponent.clamp(-100, 100)))
}

/// `digit × 10^power`: zero below the last digit kept, `None` when it does not fit.
fn scaled_digit(digit: u8, power: i32) -> Option<i128> {
    let Ok(power) = u32::try_from(power) else {
        return Some(0);
    };
    if digit == 0 {
        return Some(0);
    }
    10i128.checked_pow(power)?.checked_mul(i128::from(digit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_and_prints_what_redis_does() {
        for (text, printed) in [
            ("0", "0"),
            ("10.50", "10.5"),
            ("3.0e3", "3000"),
            ("+7", "7"),
            ("-0.1", "-0.1"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e-17", "0.00000000000000001"),
            ("1e-18", "0"),
            ("1e-400", "0"),
            ("0e400", "0"),
            ("9223372036854775807", "9223372036854775807"),
            ("99999999999999999999", "99999999999999999999"),
        ] {
            let value = Decimal::parse(text.as_bytes()).unwrap();
            assert_eq!(value.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_number_or_does_not_fit() {
        for text in [
            "",
            "-",
            ".",
            "e5",
            "1e",
            "1 ",
            " 1",
            "0x10",
            "nan",
            "inf",
            "1.2.3",
            "1e30",
            "--1",
            "1e99999999999",
        ] {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_tenth_and_two_tenths_are_three_tenths() {
        let sum = Decimal::parse(b"0.1")
            .unwrap()
            .checked_add(Decimal::parse(b"0.2").unwrap());
        assert_eq!(sum.unwrap().to_string(), "0.3");
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bits in -(1i128 << 120)..1i128 << 120) {
            let value = Decimal::from_bits(bits);
            prop_assert_eq!(Decimal::parse(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn integers_survive(value: i64) {
            prop_assert_eq!(Decimal::from(value).to_i64(), Some(value));
        }
    }
}
