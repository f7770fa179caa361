//! Units that are larger than a batch may be.

use super::region::{Change, Region, name};
use crate::{
    log::{Cursor, LANES},
    peer::{
        apart::Queue,
        build::{Builder, Built, sent_before},
    },
    wire::batch::{self, Batch, Item, Range},
};

/// The largest items of a batch: two values and what is around them.
const BYTES_MAX: usize = 2_200;
const VALUE_BYTES: usize = 1_000;

/// The keys of a batch's items.
fn keys_of(built: &Built, ranges: &[Range]) -> Vec<Vec<Vec<u8>>> {
    assert!(built.items.len() <= BYTES_MAX, "{}", built.items.len());
    let mut bytes = Vec::new();
    batch::put_header(0, &built.forgotten, ranges, &mut bytes);
    bytes.extend_from_slice(&built.items);
    let batch = Batch::decode(&bytes).unwrap();
    let keys = |item| match item {
        Item::Entry(entry) => vec![entry.key.to_vec()],
        Item::Unit(unit) => unit.entries().map(|entry| entry.key.to_vec()).collect(),
        Item::Flush(_) => Vec::new(),
    };
    batch.items().map(keys).collect()
}

/// Builds all batches, each on its own, and returns the keys of their items and how many units were split.
fn built(region: &Region) -> (Vec<Vec<Vec<Vec<u8>>>>, u64) {
    let mut builder = Builder::within(BYTES_MAX);
    let mut cursors = [Cursor::default(); LANES];
    let (mut batches, mut split, mut covered) = (Vec::new(), 0, 0);
    let mut apart = Queue::default();
    let mut is_read = false;
    while !is_read {
        let built = builder
            .build(&region.log, region, &mut cursors, 1_000, apart.since())
            .unwrap();
        is_read = built.ranges.is_empty() && built.apart.is_empty();
        built.apart.iter().for_each(|left| apart.push(left));
        let mut note = |built: &Built, ranges: &[Range]| {
            split += built.split;
            let numbers = ranges.iter().map(|range| range.up_to - range.after);
            covered += numbers.sum::<u64>();
            batches.push(keys_of(built, ranges));
        };
        if !built.ranges.is_empty() {
            note(built, &built.ranges);
        }
        let mut split_apart = 0;
        while !apart.is_empty() {
            let log = (
                &region.log,
                sent_before(&region.log, &cursors, apart.since()),
            );
            let was_split = apart.next_is_split();
            let sent = apart.send_next(&mut |next| builder.alone(log, region, next));
            let (sent, built) = sent.unwrap();
            split_apart += u64::from(sent.is_split() && !was_split);
            note(&built, &sent.ranges);
        }
        split += split_apart;
    }
    let heads: u64 = (0..LANES).map(|lane| region.log.head(lane)).sum();
    assert_eq!(covered, heads, "every number is covered once");
    (batches, split)
}

fn region() -> Region {
    let mut region = Region::new(1, 1);
    region.value_bytes = VALUE_BYTES;
    region
}

#[test]
fn a_unit_that_fits_into_one_batch_travels_whole() {
    let region = region();
    region.write(&vec![(3, Change::Set)]);
    region.write(&vec![(0, Change::Set), (1, Change::Set)]);
    let (batches, split) = built(&region);
    assert!(
        batches.contains(&vec![vec![name(0), name(1)]]),
        "{batches:?}"
    );
    assert_eq!(split, 0);
}

#[test]
fn a_unit_that_fits_into_no_batch_travels_in_parts_and_is_counted() {
    let region = region();
    let unit: Vec<_> = (0..5).map(|key| (key, Change::Set)).collect();
    region.write(&unit);
    region.write(&vec![(6, Change::Set)]);
    let (batches, split) = built(&region);
    let sent: Vec<Vec<u8>> = batches.into_iter().flatten().flatten().collect();
    let expected: Vec<Vec<u8>> = (0..5).chain([6]).map(name).collect();
    assert_eq!((sent, split), (expected, 1));
}

#[test]
fn a_small_unit_whose_keys_grew_since_is_sent_all_the_same() {
    let mut region = region();
    region.value_bytes = 1;
    let unit: Vec<_> = (0..3).map(|key| (key, Change::Set)).collect();
    region.write(&unit);
    region.value_bytes = VALUE_BYTES;
    for key in 0..3 {
        region.write(&vec![(key, Change::Set)]);
    }
    let (batches, split) = built(&region);
    let sent: Vec<Vec<u8>> = batches.into_iter().flatten().flatten().collect();
    assert!((0..3).all(|key| sent.contains(&name(key))));
    assert_eq!(split, 1);
}

#[test]
fn units_that_overlap_beyond_what_fits_travel_each_by_itself() {
    let region = region();
    for key in 0..5 {
        region.write(&vec![(key, Change::Set), (key + 1, Change::Set)]);
    }
    let (batches, split) = built(&region);
    assert!(split > 0);
    let largest = batches.iter().flatten().map(Vec::len).max();
    assert_eq!(largest, Some(2), "{batches:?}");
}

#[test]
fn units_that_overlap_without_end_do_not_become_one() {
    let mut region = region();
    region.value_bytes = 1;
    for key in 1..5_000 {
        region.write(&vec![(0, Change::Add), (key, Change::Set)]);
    }
    let mut builder = Builder::default();
    let mut cursors = [Cursor::default(); LANES];
    let built = builder.build(&region.log, &region, &mut cursors, 1 << 16, None);
    let built = built.unwrap();
    assert!(built.updates < 4_000, "{}", built.updates);
    assert!(built.split > 0);
}

#[test]
fn a_unit_that_is_measured_before_it_is_copied_travels_whole() {
    let mut region = region();
    region.value_bytes = 1024 * 1024;
    region.write(&vec![(1, Change::Set), (2, Change::Set)]);
    region.write(&vec![(2, Change::Set), (0, Change::Set)]);
    let mut builder = Builder::default();
    let mut cursors = [Cursor::default(); LANES];
    let built = builder.build(&region.log, &region, &mut cursors, 1_000, None);
    let mut apart = Queue::default();
    let left = &built.unwrap().apart;
    left.iter().for_each(|left| apart.push(left));
    let log = (
        &region.log,
        sent_before(&region.log, &cursors, apart.since()),
    );
    let sent = apart.send_next(&mut |next| builder.alone(log, &region, next));
    let (_, built) = sent.unwrap();
    assert_eq!((built.updates, built.split), (3, 0));
    assert!(built.items.len() > 3 * region.value_bytes);
}
