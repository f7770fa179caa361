//! What sweeps and repairs find, however much of it there is.

use super::region::{Change, Region, name};
use crate::{
    entry::layout,
    hlc::Stamp,
    peer::{
        build::{Built, Found},
        lists,
        push::Pushes,
    },
    slots::KeyHash,
    store::Store,
    wire::batch::{self, Batch, Item},
};

const VALUE_BYTES: usize = 1_000;
/// The largest items of a batch: two values and what is around them.
const BYTES_MAX: usize = 2_200;

/// The keys of each item.
fn keys_of(built: &Built) -> Vec<Vec<Vec<u8>>> {
    let mut bytes = Vec::new();
    batch::put_header(0, &built.forgotten, &[], &mut bytes);
    bytes.extend_from_slice(&built.items);
    let keys = |item| match item {
        Item::Entry(entry) => vec![entry.key.to_vec()],
        Item::Unit(unit) => unit.entries().map(|entry| entry.key.to_vec()).collect(),
        Item::Flush(_) => Vec::new(),
    };
    Batch::decode(&bytes).unwrap().items().map(keys).collect()
}

/// All batches of a walk, of about `limit_bytes` each.
fn swept(region: &Region, limit_bytes: usize) -> Vec<Built> {
    let mut found = Found::within(BYTES_MAX);
    let (mut position, mut batches) = (Some(0), Vec::new());
    while position.is_some() || found.is_waiting() {
        let mut built = Built::default();
        let held = (region.log.units(), region);
        found.collect(held, limit_bytes, &mut built, &mut |bytes, visit| {
            let here = position;
            position = here.and_then(|here| region.sweep(here, bytes, visit));
            here.is_some()
        });
        assert!(built.items.len() <= BYTES_MAX, "{}", built.items.len());
        // The last step of a walk may find nothing.
        batches.extend((!built.items.is_empty()).then_some(built));
    }
    batches
}

fn region(value_bytes: usize) -> Region {
    let mut region = Region::new(1, 1);
    region.value_bytes = value_bytes;
    region
}

fn set(region: &Region, keys: std::ops::Range<u16>) {
    region.write(&keys.map(|key| (key, Change::Set)).collect());
}

#[test]
fn a_unit_goes_whole_and_once() {
    let region = region(10);
    set(&region, 0..1);
    set(&region, 2..5);
    set(&region, 4..6);
    let items: Vec<_> = swept(&region, 1_000).iter().flat_map(keys_of).collect();
    let unit = (2..6).map(name).collect::<Vec<_>>();
    assert_eq!(items, [vec![name(0)], unit]);
}

#[test]
fn what_every_region_has_heard_of_goes_alone() {
    let region = region(10);
    set(&region, 0..3);
    region.log.units().forget(Stamp(u64::MAX));
    let items: Vec<_> = swept(&region, 1_000).iter().flat_map(keys_of).collect();
    assert_eq!(items, [[name(0)], [name(1)], [name(2)]]);
}

#[test]
fn large_values_go_one_by_one() {
    let region = region(VALUE_BYTES);
    (0..5).for_each(|key| set(&region, key..key + 1));
    let batches = swept(&region, 100);
    let sent: Vec<_> = batches.iter().map(keys_of).collect();
    assert_eq!(sent, (0..5).map(|key| [[name(key)]]).collect::<Vec<_>>());
}

#[test]
fn a_unit_that_is_large_goes_whole_if_it_fits_and_else_key_by_key_and_is_counted() {
    let fitting = region(VALUE_BYTES);
    set(&fitting, 0..2);
    let sent: Vec<_> = swept(&fitting, 100).iter().map(keys_of).collect();
    assert_eq!(sent, [[[name(0), name(1)]]]);
    let grown = region(VALUE_BYTES);
    set(&grown, 0..3);
    let batches = swept(&grown, 100);
    let sent: Vec<_> = batches.iter().map(keys_of).collect();
    assert_eq!(sent, [[[name(0)]], [[name(1)]], [[name(2)]]]);
    assert_eq!(batches.iter().map(|built| built.split).sum::<u64>(), 3);
}

#[test]
fn a_counter_of_very_many_units_does_not_take_them_along_again_and_again() {
    let region = region(1);
    for key in 1..5_000 {
        region.write(&vec![(0, Change::Add), (key, Change::Set)]);
    }
    let mut found = Found::default();
    let mut updates = 0;
    for key in 0..5_000 {
        let (mut built, mut has_more) = (Built::default(), true);
        let held = (region.log.units(), &region);
        found.collect(held, 1_000, &mut built, &mut |_, visit| {
            region.export(&[&name(key)], visit);
            std::mem::take(&mut has_more)
        });
        updates += built.updates;
    }
    assert!(updates < 12 * 5_000, "{updates}");
}

#[test]
fn what_a_repair_names_in_one_slot_goes_in_pieces() {
    let region = region(VALUE_BYTES);
    (0..10).for_each(|key| set(&region, key..key + 1));
    let mut pushes = Pushes::default();
    for key in 0..10 {
        region.export(&[&name(key)], &mut |entry| {
            let entry = layout::view(entry);
            let key = KeyHash::of(entry.key);
            let named = lists::name_of(key, &entry, 0);
            pushes.add(key.slot(), vec![named], u64::MAX / 32 * 32);
        });
    }
    let mut sent = 0;
    while let Some(piece) = pushes.next((region.log.units(), &region), 1_500) {
        assert!(piece.built.items.len() < 3_000);
        sent += piece.built.updates;
    }
    assert_eq!((sent, pushes.is_due()), (10, false));
}
