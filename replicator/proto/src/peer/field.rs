//! Arithmetic in the field of 2³² elements, in which names of entries are numbers.
//!
//! Elements are polynomials over bits, added by exclusive or and multiplied modulo x³² + x⁷ + x³ + x² + 1, which has no
//! divisor. Knows nothing of what is computed with it.

/// Every fourth bit: what is left of a factor so that the sums of a product do not reach the next bit that counts.
const HOLES: u32 = 0x1111_1111;

/// An element by which several are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Factor([u64; 4]);

impl Factor {
    #[inline]
    pub(super) fn new(element: u32) -> Self {
        Self(parts(element))
    }

    /// The product with another element. There is no instruction for it that is safe everywhere: of numbers with holes,
    /// an ordinary product has the right bits at the holes' ends.
    #[inline]
    pub(super) fn times(&self, other: u32) -> u32 {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, parts(other));
        let sums = [
            (a * e) ^ (b * h) ^ (c * g) ^ (d * f),
            (a * f) ^ (b * e) ^ (c * h) ^ (d * g),
            (a * g) ^ (b * f) ^ (c * e) ^ (d * h),
            (a * h) ^ (b * g) ^ (c * f) ^ (d * e),
        ];
        let holes = u64::from(HOLES) << 32 | u64::from(HOLES);
        let bits = sums.iter().enumerate();
        reduce(bits.fold(0, |all, (at, sum)| all | (sum & (holes << at))))
    }
}

#[inline]
fn parts(element: u32) -> [u64; 4] {
    [0, 1, 2, 3].map(|at| u64::from(element & (HOLES << at)))
}

/// A product's remainder.
#[inline]
fn reduce(product: u64) -> u32 {
    let times_modulus = |high: u64| high ^ (high << 2) ^ (high << 3) ^ (high << 7);
    let once = (product & u64::from(u32::MAX)) ^ times_modulus(product >> 32);
    ((once & u64::from(u32::MAX)) ^ times_modulus(once >> 32)) as u32
}

#[inline]
pub(super) fn multiply(a: u32, b: u32) -> u32 {
    Factor::new(a).times(b)
}

#[inline]
pub(super) fn square(a: u32) -> u32 {
    multiply(a, a)
}

/// The element whose product with this one is 1; of 0, which has none, 0.
pub(super) fn invert(a: u32) -> u32 {
    // To the power 2³² − 2: every element to the power 2³² is itself.
    let mut power = square(a);
    let mut inverse = power;
    for _ in 2..u32::BITS {
        power = square(power);
        inverse = multiply(inverse, power);
    }
    inverse
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bit by bit, as one would by hand.
    fn slowly(a: u32, b: u32) -> u32 {
        (0..u32::BITS).rev().fold(0, |product: u32, bit| {
            let carry = (product >> 31) * 0x8d;
            (product << 1) ^ carry ^ (a * (b >> bit & 1))
        })
    }

    proptest! {
        #[test]
        fn products_are_those_of_polynomials(a: u32, b: u32) {
            prop_assert_eq!(multiply(a, b), slowly(a, b));
            prop_assert_eq!(square(a), slowly(a, a));
        }

        #[test]
        fn an_inverse_undoes_a_product(a in 1..=u32::MAX, b: u32) {
            prop_assert_eq!(multiply(multiply(b, a), invert(a)), b);
        }
    }
}
