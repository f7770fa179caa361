//! What must hold for the decoders of replication frames whatever they are fed. Shared by the fuzz targets and the
//! property tests, so that a finding of the first becomes a case of the second.

#![allow(dead_code, reason = "each target uses its own part")]

use greenwich_proto::{
    entry::layout,
    wire::{
        batch::{Batch, Item},
        control::Control,
    },
};

/// Panics when the entry decoder accepts something that the encoder does not write, or the unchecked view of accepted
/// bytes differs from the checked one.
pub(crate) fn check_entry(input: &[u8]) {
    let Ok(entry) = layout::decode(input) else {
        return;
    };
    assert_eq!(
        *layout::to_box(&entry),
        *input,
        "accepted bytes are the encoder's"
    );
    assert_eq!(layout::view(input), entry);
    assert_eq!(layout::key_of(input), entry.key);
    assert_eq!(layout::encoded_len(&entry), input.len());
    assert!(entry.deadline.version >= entry.version);
}

/// Panics when an accepted batch cannot be walked, or its summary does not cover its items.
pub(crate) fn check_batch(input: &[u8]) {
    check_entry(input);
    let Ok(batch) = Batch::decode(input) else {
        return;
    };
    let mut entries = 0;
    for item in batch.items() {
        match item {
            Item::Entry(entry) => {
                entries += 1;
                assert!(entry.newest() <= batch.newest);
            }
            Item::Unit(unit) => {
                entries += unit.entries().count() as u64;
                assert!(unit.entries().all(|entry| entry.newest() <= batch.newest));
            }
            Item::Flush(version) => assert!(version.stamp <= batch.newest),
        }
    }
    assert_eq!(entries, batch.entries);
    assert!(batch.ranges.iter().all(|range| range.after <= range.up_to));
}

/// Panics when an accepted control frame does not survive being written and read again.
pub(crate) fn check_control(input: &[u8]) {
    if let Ok(Some(frame)) = Control::decode(input) {
        assert_eq!(Control::decode(&frame.encode()), Ok(Some(frame)));
    }
}
