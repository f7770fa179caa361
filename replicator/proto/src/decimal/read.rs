//! Numbers out of text, in the spellings that the C function `strtold` takes and redis-server with it: decimal,
//! hexadecimal, with an exponent or without.

use thiserror::Error;

use super::{Decimal, SCALE, SCALE_DIGITS};

/// The powers of ten and of two between which an extended double of 80 bits has its first digit.
const TEN_POWERS: std::ops::RangeInclusive<i64> = -4950..=4932;
const TWO_POWERS: std::ops::RangeInclusive<i64> = -16445..=16383;
/// First digits from these powers on are beyond a [`Decimal`].
const TEN_POWER_END: i64 = 22;
const TWO_POWER_END: i64 = 71;
/// Significant bits of an extended double.
const MANTISSA_BITS: u32 = 64;
/// So many hexadecimal digits hold that many bits, wherever the first digit has its highest one.
const MANTISSA_DIGITS: usize = 17;

/// Why a text was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReadError {
    /// It is no number, or one that an extended double cannot tell from zero or infinity.
    #[error("not a number")]
    NotANumber,
    /// It is an infinity, or a number that is larger than what is kept exactly.
    #[error("the number is too large")]
    TooLarge,
}

/// Reads a number: sign, digits, point, exponent. What is beyond the 17th digit after the point is rounded, a half to
/// the even digit; of a hexadecimal number, 64 significant bits count.
///
/// # Errors
/// See [`ReadError`].
pub(super) fn read(text: &[u8]) -> Result<Decimal, ReadError> {
    let (is_negative, magnitude) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    let units = match magnitude {
        [b'0', b'x' | b'X', rest @ ..] => hexadecimal(rest)?,
        word if [b"inf".as_slice(), b"infinity"]
            .iter()
            .any(|infinity| word.eq_ignore_ascii_case(infinity)) =>
        {
            return Err(ReadError::TooLarge);
        }
        rest => decimal(rest)?,
    };
    Ok(Decimal(if is_negative { -units } else { units }))
}

/// A number without its sign, as it is written.
struct Written<'a> {
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Written<'a> {
    fn split(text: &'a [u8], marker: u8, is_digit: fn(&u8) -> bool) -> Result<Self, ReadError> {
        let mut parts = text.splitn(2, |byte| byte.eq_ignore_ascii_case(&marker));
        let mantissa = parts.next().unwrap_or_default();
        let exponent = parts.next().map_or(Ok(0), exponent)?;
        let mut parts = mantissa.splitn(2, |byte| *byte == b'.');
        let whole = parts.next().unwrap_or_default();
        let fraction = parts.next().unwrap_or_default();
        let mut digits = whole.iter().chain(fraction).peekable();
        if digits.peek().is_none() || !digits.all(is_digit) {
            return Err(ReadError::NotANumber);
        }
        Ok(Self {
            whole,
            fraction,
            exponent,
        })
    }

    /// The digits from the first one on that is not zero, and how many places in front of the point that one is; the
    /// digit just in front of it is at place 0.
    fn digits(&self) -> Option<(impl Iterator<Item = u8>, i64)> {
        let digits = self.whole.iter().chain(self.fraction);
        let zeros = digits.clone().position(|digit| *digit != b'0')?;
        let place = i64::try_from(self.whole.len()).ok()? - 1 - i64::try_from(zeros).ok()?;
        let values = digits.skip(zeros).map(|digit| match digit {
            b'0'..=b'9' => digit - b'0',
            letter => letter.to_ascii_lowercase() - b'a' + 10,
        });
        Some((values, place))
    }
}

/// The exponent, at a bound when it is beyond any that means a number.
fn exponent(text: &[u8]) -> Result<i64, ReadError> {
    /// Sums with lengths of texts do not overflow.
    const BOUND: i64 = i64::MAX / 4;
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] | rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ReadError::NotANumber);
    }
    let magnitude = digits.iter().fold(0_i64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(i64::from(digit - b'0'))
            .min(BOUND)
    });
    Ok(if is_negative { -magnitude } else { magnitude })
}

/// The magnitude of a decimal number in units.
fn decimal(text: &[u8]) -> Result<i128, ReadError> {
    let written = Written::split(text, b'e', u8::is_ascii_digit)?;
    let Some((digits, place)) = written.digits() else {
        return Ok(0);
    };
    let first_power = place + written.exponent;
    if !TEN_POWERS.contains(&first_power) {
        return Err(ReadError::NotANumber);
    }
    if first_power >= TEN_POWER_END {
        return Err(ReadError::TooLarge);
    }
    let mut power = first_power + i64::from(SCALE_DIGITS);
    let mut units = 0_i128;
    let (mut tenths, mut has_more) = (0, false);
    for digit in digits {
        match u32::try_from(power) {
            Ok(power) => {
                let of_digit = 10_i128
                    .checked_pow(power)
                    .and_then(|unit| unit.checked_mul(digit.into()));
                let sum = of_digit.and_then(|of_digit| units.checked_add(of_digit));
                units = sum.ok_or(ReadError::TooLarge)?;
            }
            Err(_) if power == -1 => tenths = digit,
            Err(_) => has_more |= digit != 0,
        }
        power -= 1;
    }
    let is_up = tenths > 5 || (tenths == 5 && (has_more || units % 2 == 1));
    units
        .checked_add(i128::from(is_up))
        .ok_or(ReadError::TooLarge)
}

/// The magnitude of a hexadecimal number in units.
fn hexadecimal(text: &[u8]) -> Result<i128, ReadError> {
    let written = Written::split(text, b'p', u8::is_ascii_hexdigit)?;
    let Some((digits, place)) = written.digits() else {
        return Ok(0);
    };
    let (mut mantissa, mut has_more) = (0_u128, false);
    let mut power = (place + 1) * 4 + written.exponent;
    for (index, digit) in digits.enumerate() {
        if index < MANTISSA_DIGITS {
            mantissa = mantissa << 4 | u128::from(digit);
            power -= 4;
        } else {
            has_more |= digit != 0;
        }
    }
    let bits = u128::BITS - mantissa.leading_zeros();
    let first_power = power + i64::from(bits) - 1;
    if !TWO_POWERS.contains(&first_power) {
        return Err(ReadError::NotANumber);
    }
    if first_power >= TWO_POWER_END {
        return Err(ReadError::TooLarge);
    }
    let excess = bits.saturating_sub(MANTISSA_BITS);
    let mantissa = shift_right(mantissa, excess, has_more);
    power += i64::from(excess);
    // At most 64 bits times 57.
    let scaled = mantissa * SCALE.unsigned_abs();
    let units = if let Ok(left) = u32::try_from(power) {
        scaled.checked_mul(1 << left).ok_or(ReadError::TooLarge)?
    } else {
        shift_right(scaled, u32::try_from(-power).unwrap_or(u32::MAX), false)
    };
    i128::try_from(units).map_err(|_| ReadError::TooLarge)
}

/// Divides by a power of two and rounds, a half to the even number. `has_more` says that a little more is divided.
fn shift_right(number: u128, bits: u32, has_more: bool) -> u128 {
    if bits == 0 {
        return number;
    }
    let quotient = number.checked_shr(bits).unwrap_or(0);
    let Some(half) = 1_u128.checked_shl(bits - 1) else {
        return 0;
    };
    let rest = number & (half << 1).wrapping_sub(1);
    let is_up = rest > half || (rest == half && (has_more || quotient % 2 == 1));
    quotient + u128::from(is_up)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_strtold_does() {
        for (text, printed) in [
            ("0", "0"),
            ("10.50", "10.5"),
            ("3.0e3", "3000"),
            ("+7", "7"),
            ("-0.1", "-0.1"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1.e+1", "10"),
            ("1e-17", "0.00000000000000001"),
            ("1e-18", "0"),
            ("5e-18", "0"),
            ("5.1e-18", "0.00000000000000001"),
            ("1.5e-17", "0.00000000000000002"),
            ("2.5e-17", "0.00000000000000002"),
            ("1e-400", "0"),
            ("0e99999999999999999999", "0"),
            ("9223372036854775807", "9223372036854775807"),
            ("99999999999999999999", "99999999999999999999"),
            ("0x10", "16"),
            ("-0X1f", "-31"),
            ("+0x.8", "0.5"),
            ("0x1.8p-1", "0.75"),
            ("0xa.", "10"),
            ("0x1P4", "16"),
            ("0x1p62", "4611686018427387904"),
            ("0x1p70", "1180591620717411303424"),
            ("0x1p-57", "0.00000000000000001"),
            ("0x3p-57", "0.00000000000000002"),
            ("0x1p-58", "0"),
            ("0x1p-400", "0"),
            ("0x0p99999999999999999999", "0"),
            ("0x10000000000000001", "18446744073709551616"),
            ("0x10000000000000003", "18446744073709551620"),
        ] {
            let number = read(text.as_bytes()).unwrap();
            assert_eq!(number.to_string(), printed, "{text}");
        }
        let zeros = "0".repeat(300);
        let long = format!("1{zeros}e-300");
        assert_eq!(read(long.as_bytes()).unwrap().to_string(), "1");
    }

    #[test]
    fn tells_what_is_too_large_from_what_is_no_number() {
        for text in [
            "inf",
            "-INF",
            "+Infinity",
            "1e30",
            "-1e4932",
            "1e22",
            "1.8e21",
            "0x1p71",
            "0x1p16383",
            "9999999999999999999999.5",
        ] {
            assert_eq!(read(text.as_bytes()), Err(ReadError::TooLarge), "{text}");
        }
        for text in [
            "",
            "-",
            "+",
            ".",
            "e5",
            "1e",
            "1e+",
            "1 ",
            " 1",
            "nan",
            "nan(1)",
            "infinit",
            "abc",
            "1.2.3",
            "--1",
            "+-1",
            "1e1e1",
            "1e4933",
            "1e-5000",
            "1e99999999999999999999",
            "0x",
            "0x.",
            "0xg",
            "0x1p",
            "0x1p1.5",
            "0x1p16384",
            "0x1p-16446",
            "1p4",
            "1\0",
            "0x1e1\n",
        ] {
            assert_eq!(read(text.as_bytes()), Err(ReadError::NotANumber), "{text}");
        }
    }
}
