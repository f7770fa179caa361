//! Batches that are built while clients write, and such whose units overlap or are large.

mod found;
mod large;
mod overlap;
mod region;

use std::{cell::Cell, iter::once, time::Duration};

use super::*;
use crate::{
    entry::{Body, EntryRef},
    hlc::{Clock, Origin, Version},
    slots::KeyHash,
    store::stub::Stub,
    time::Wall,
};

const LANE: usize = 3;
const WALL: Wall = Wall(1_000);

/// A key as it is after so many writes.
fn state(key: &[u8], writes: u64) -> Box<[u8]> {
    let (stamp, origin) = (Stamp(writes), Origin(1));
    layout::to_box(&EntryRef::absent(key, Version { stamp, origin }))
}

/// A keyspace that is looked at, and never swept.
fn shown(export: impl Fn(&[&[u8]], &mut dyn FnMut(&[u8]))) -> impl Store {
    Stub {
        export,
        sweep: |_, _: &mut dyn FnMut(&[u8])| None,
        list: |_, _: &mut dyn FnMut(KeyHash, &[u8])| {},
    }
}

#[test]
fn a_key_that_is_written_while_its_batch_is_built_is_looked_up_again() {
    let log = Log::new(Clock::new(Duration::from_secs(5)), 1, 1 << 20);
    log.append(LANE, WALL, once(&b"key"[..]));
    let looks = Cell::new(0);
    // A client writes the key again as soon as its state was looked up.
    let store = shown(|keys, visit| {
        looks.set(looks.get() + 1);
        visit(&state(keys[0], looks.get()));
        if looks.get() == 1 {
            log.append(LANE, WALL, once(keys[0]));
        }
    });
    let mut cursors = [Cursor::default(); LANES];
    let mut builder = Builder::default();
    let built = builder.build(&log, &store, &mut cursors, 1 << 16, None);
    let built = built.unwrap();
    // Both records are covered, so that the state after the second one must be in it.
    assert!(built.items.ends_with(&state(b"key", 2)));
    assert_eq!((built.updates, built.coalesced), (1, 1));
    assert_eq!((looks.get(), cursors[LANE].seq), (2, 2));
}

/// A key with a value of one size, as it is after so many writes.
fn value(key: &[u8], writes: u64) -> Box<[u8]> {
    let (stamp, origin) = (Stamp(writes), Origin(1));
    layout::to_box(&EntryRef {
        body: Body::Bytes(b"value"),
        ..EntryRef::absent(key, Version { stamp, origin })
    })
}

#[test]
fn a_carried_value_takes_the_place_of_no_newer_one() {
    let log = Log::new(Clock::new(Duration::from_secs(5)), 1, 1 << 20);
    log.append_key(LANE, WALL, b"key");
    // As many others that the key's first record is looked up before its second one is read.
    for other in 0..AT_ONCE as u8 {
        log.append_key(LANE, WALL, &[other]);
    }
    let carried = value(b"key", 2);
    log.append_value(LANE, WALL, |_| layout::view(&carried));
    // It shares the first record, which stands for the newest state.
    log.append_key(LANE, WALL, b"key");
    let mut cursors = [Cursor::default(); LANES];
    let mut builder = Builder::default();
    // Every key was written last by write 99.
    let store = shown(|keys, visit| keys.iter().for_each(|key| visit(&value(key, 99))));
    let built = builder.build(&log, &store, &mut cursors, 1 << 16, None);
    let built = built.unwrap();
    let newest = value(b"key", 99);
    let has_newest = built.items.windows(newest.len()).any(|at| *at == *newest);
    assert_eq!((has_newest, cursors[LANE].seq), (true, AT_ONCE as u64 + 2));
}
