//! Where the newest records of single keys begin: a small table of guesses, to be checked against the record itself.
//!
//! A key whose record nobody has read yet needs no second one: whoever reads it takes the key's newest state.

/// Keys of one lane that are remembered at the same time. A key that is written often is soon back in its place.
const PLACES: usize = 64;

/// A record that may be of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Guess {
    /// Its number.
    pub(super) seq: u64,
    /// Where it begins in the newest segment of that time.
    pub(super) offset: usize,
}

#[derive(Debug)]
pub(super) struct Recent(Box<[Guess; PLACES]>);

impl Recent {
    pub(super) fn new() -> Self {
        Self(Box::new([Guess::default(); PLACES]))
    }

    #[inline]
    pub(super) fn get(&self, place: Place) -> Guess {
        self.0[place.0]
    }

    #[inline]
    pub(super) fn set(&mut self, place: Place, guess: Guess) {
        self.0[place.0] = guess;
    }
}

/// Where the guess about a key is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

impl Place {
    #[inline]
    pub(super) fn of(key: &[u8]) -> Self {
        // Keys differ in their ends, if anywhere; a wrong guess costs a record.
        let tail = key.last_chunk().map_or_else(
            || {
                let shift_in = |tail, &byte| tail << 8 | u64::from(byte);
                key.iter().fold(0, shift_in)
            },
            |tail| u64::from_le_bytes(*tail),
        );
        // Fibonacci hashing (Knuth, The Art of Computer Programming, 6.4).
        let spread = tail.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self((spread >> (u64::BITS - PLACES.trailing_zeros())) as usize)
    }
}
