//! Entries and batches for the tests, from small domains so that versions tie, totals overlap and deadlines meet.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(unreachable_pub, reason = "a module of test crates")]

use greenwich_proto::{
    decimal::Decimal,
    entry::{
        Body, Deadline, EntryRef, layout,
        totals::{Actor, Total, Totals},
    },
    hlc::{Origin, Stamp, Version},
    time::Wall,
};
use proptest::prelude::*;

/// The key of every generated entry.
pub const KEY: &[u8] = b"key";

/// A version out of few.
pub fn version() -> impl Strategy<Value = Version> {
    (1u64..5, 1u8..4).prop_map(|(stamp, origin)| Version {
        stamp: Stamp(stamp),
        origin: Origin(origin),
    })
}

/// The version of a base: written by somebody, started by an expiry, or the base of a key that never was.
fn base_version() -> impl Strategy<Value = Version> {
    prop_oneof![
        8 => version(),
        1 => (1u64..5).prop_map(|stamp| Version { stamp: Stamp(stamp), origin: Origin::NONE }),
        1 => Just(Version::ZERO),
    ]
}

/// What the write of `version` wrote: a function of the version, as only one node writes it.
fn body_of(version: Version) -> Option<Vec<u8>> {
    let is_dead = version.origin == Origin::NONE
        || (version.stamp.0 + u64::from(version.origin.0)).is_multiple_of(4);
    (!is_dead)
        .then(|| format!("{}", version.stamp.0 * 10 + u64::from(version.origin.0)).into_bytes())
}

/// An entry with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    pub bytes: Box<[u8]>,
}

impl Owned {
    pub fn view(&self) -> EntryRef<'_> {
        layout::view(&self.bytes)
    }
}

fn totals() -> impl Strategy<Value = Vec<Total>> {
    let folded = prop_oneof![3 => Just(None), 1 => (0u16..2).prop_map(Some)];
    let total = (1u8..4, 1u64..4, 1u64..4, -2i64..3, folded);
    let total = total.prop_map(|(origin, incarnation, stamp, sum, folded)| Total {
        actor: Actor {
            origin: Origin(origin),
            incarnation,
        },
        stamp: Stamp(stamp),
        sum: Decimal::from(sum),
        folded,
    });
    prop::collection::vec(total, 0..4)
}

/// Totals with another one, unless it covers one of them or is covered.
fn with(totals: Vec<u8>, total: &Total) -> Vec<u8> {
    let mut next = Vec::new();
    Totals::from_bytes(&totals)
        .expect("totals stay in order")
        .encode_with(total, &mut next);
    match Totals::from_bytes(&next) {
        Some(_) => next,
        None => totals,
    }
}

/// A well-formed entry.
pub fn entry() -> impl Strategy<Value = Owned> {
    let deadline = (prop::option::of(version()), prop::option::of(1u64..4));
    (base_version(), deadline, totals()).prop_map(|(version, (own, at), totals)| {
        let bytes = body_of(version);
        let body = match &bytes {
            Some(bytes) => Body::Bytes(bytes),
            None => Body::Dead,
        };
        let encoded = totals.iter().fold(Vec::new(), with);
        let deadline_version = own.unwrap_or(version).max(version);
        // Nobody writes the base of an expiry, or of a key that never was, with a deadline.
        let deadline = Deadline {
            version: deadline_version,
            at: at
                .filter(|_| deadline_version.origin != Origin::NONE)
                .map(Wall),
        };
        let entry = EntryRef {
            key: KEY,
            version,
            body,
            deadline,
            totals: Totals::from_bytes(&encoded).expect("totals stay in order"),
        };
        Owned {
            bytes: layout::to_box(&entry),
        }
    })
}
