//! Exact decimal numbers for counters.
//!
//! Sums of increments must not depend on the order in which regions add them, so counters are fixed-point: an `i128`
//! counting units of 10⁻¹⁷, the precision that Redis prints. Addition is exact, commutative and associative.

mod read;

use std::{fmt, ops::Neg};

pub use self::read::ReadError;

/// Digits after the decimal point.
const SCALE_DIGITS: u32 = 17;
const SCALE: i128 = 10i128.pow(SCALE_DIGITS);

/// A number between ±1.7 × 10²¹ with 17 digits after the point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decimal(i128);

impl Decimal {
    /// Nothing added yet.
    pub const ZERO: Self = Self(0);

    /// Reads the text that Redis accepts as a float. What is beyond the 17th digit after the point is rounded.
    ///
    /// # Errors
    /// The text is no number, or one that does not fit.
    pub fn read(text: &[u8]) -> Result<Self, ReadError> {
        read::read(text)
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tenth_and_two_tenths_are_three_tenths() {
        let sum = Decimal::read(b"0.1")
            .unwrap()
            .checked_add(Decimal::read(b"0.2").unwrap());
        assert_eq!(sum.unwrap().to_string(), "0.3");
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(bits in -(1i128 << 120)..1i128 << 120) {
            let value = Decimal::from_bits(bits);
            prop_assert_eq!(Decimal::read(value.to_string().as_bytes()), Ok(value));
        }

        #[test]
        fn integers_survive(value: i64) {
            prop_assert_eq!(Decimal::from(value).to_i64(), Some(value));
        }
    }
}
