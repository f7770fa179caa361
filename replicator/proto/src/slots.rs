//! Slots: the parts of a keyspace that regions compare, chosen by a hash of the key that is common to the cluster.
//!
//! **Part of the wire contract.** Every node computes the same hash of a key, whatever its release, processor or seed,
//! so the function is written out here instead of taken from a library that may change it: folded multiplication (the
//! two halves of a 128-bit product, xored) over 16 bytes at a time, little endian. The constants are digits of π.
//!
//! Anybody can choose keys of one slot. Nothing may depend on that being hard: what finds a key inside a slot uses a
//! hash of its own, keyed by the process.

const SLOT_BITS: u32 = 14;

/// The number of slots.
pub const SLOTS: usize = 1 << SLOT_BITS;

const START: u64 = 0x243f_6a88_85a3_08d3;
const BLOCK: u64 = 0x1319_8a2e_0370_7344;
const END: u64 = 0xa409_3822_299f_31d0;
const BLOCK_BYTES: usize = 16;

/// The hash of a key that all regions share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHash(pub u64);

impl KeyHash {
    /// Hashes a key.
    #[inline]
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        let mut hash = START;
        if let Some(last) = key.last_chunk::<BLOCK_BYTES>() {
            // The last block may overlap the one before, so that none is short.
            let (blocks, _) = key[..key.len() - 1].as_chunks::<BLOCK_BYTES>();
            for block in blocks.iter().chain([last]) {
                hash = absorb(hash, ends(block));
            }
        } else {
            hash = absorb(hash, ends(key));
        }
        Self(fold(hash ^ END, END ^ key.len() as u64))
    }

    /// The slot of the key: the upper bits.
    #[inline]
    #[must_use]
    pub const fn slot(self) -> usize {
        (self.0 >> (u64::BITS - SLOT_BITS)) as usize
    }
}

fn absorb(hash: u64, (first, last): (u64, u64)) -> u64 {
    fold(first ^ BLOCK, last ^ hash)
}

/// The first and the last bytes of at most a block as words, which overlap where it is short.
#[inline]
fn ends(block: &[u8]) -> (u64, u64) {
    if let (Some(first), Some(last)) = (block.first_chunk(), block.last_chunk()) {
        return (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (block.first_chunk(), block.last_chunk()) {
        let words = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        return (u64::from(words.0), u64::from(words.1));
    }
    match *block {
        [] => (0, 0),
        [first, .., last] => {
            let middle = u64::from(block[block.len() / 2]);
            (u64::from(first) | middle << 8, u64::from(last))
        }
        [only] => (u64::from(only), u64::from(only)),
    }
}

/// The product of two words, folded to one. Cheap, and every bit of the result depends on all of them.
#[inline]
pub(crate) const fn fold(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> u64::BITS) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other values, and nodes of two releases would take equal regions for different ones.
    #[test]
    fn the_hash_of_a_key_never_changes() {
        let long: Vec<u8> = (0..=255).collect();
        let golden: [(&[u8], u64); 12] = [
            (b"", 0xe707_a059_6bc6_a72a),
            (b"a", 0xfd41_88f8_01a6_b6b5),
            (b"ab", 0x2428_b5e7_a5e7_1cf6),
            (b"abc", 0x6ec3_6664_1471_5a43),
            (b"abcd", 0xe965_f0c3_2eea_92bb),
            (b"abcdefg", 0x33f6_cdb7_f72b_d1ce),
            (b"abcdefgh", 0x671b_c640_833b_ecd0),
            (b"user:1000", 0xc45b_6703_39a9_8e74),
            (b"key:000000000042", 0xc0b9_daef_c17b_04b2),
            (b"key:0000000000042", 0x2fa5_3b08_c58d_bf39),
            (&long[..33], 0x582d_371b_76a0_3775),
            (&long, 0x76e9_eb6d_b375_e349),
        ];
        for (key, hash) in golden {
            assert_eq!(
                KeyHash::of(key).0,
                hash,
                "{key:?}: {:#018x}",
                KeyHash::of(key).0
            );
        }
        assert_eq!(KeyHash::of(b"user:1000").slot(), 12_566);
    }

    #[test]
    fn keys_that_count_up_spread_over_the_slots() {
        const MEAN: usize = 16;
        for prefix in [
            "",
            "user:",
            "session:00000000:",
            "a long prefix that takes several blocks:",
        ] {
            let mut filled = vec![0_usize; SLOTS];
            for n in 0..SLOTS * MEAN {
                filled[KeyHash::of(format!("{prefix}{n}").as_bytes()).slot()] += 1;
            }
            // Of a Poisson distribution with this mean, 16,384 samples lie between these with all likelihood.
            let (min, max) = (filled.iter().min(), filled.iter().max());
            assert!(
                min > Some(&0) && max < Some(&(MEAN * 3)),
                "{prefix}: {min:?} to {max:?}"
            );
        }
    }

    #[test]
    fn short_keys_have_hashes_of_their_own() {
        let letters: Vec<_> = (b'a'..=b'z').map(|letter| vec![letter]).collect();
        let longer = |keys: &[Vec<u8>]| -> Vec<Vec<u8>> {
            let pairs = keys
                .iter()
                .flat_map(|key| letters.iter().map(move |last| [key, last]));
            pairs.map(|pair| pair.map(Vec::as_slice).concat()).collect()
        };
        let two = longer(&letters);
        let three = longer(&two);
        let keys = [letters, two, three].concat();
        let mut hashes: Vec<u64> = keys.iter().map(|key| KeyHash::of(key).0).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), keys.len());
    }

    #[test]
    fn keys_that_differ_by_a_bit_or_by_a_zero_byte_have_other_hashes() {
        for len in 0..50 {
            let key = vec![0; len];
            let hash = KeyHash::of(&key);
            assert_ne!(KeyHash::of(&[&key[..], &[0]].concat()), hash);
            for bit in 0..len * 8 {
                let mut other = key.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(KeyHash::of(&other), hash);
            }
        }
    }
}
