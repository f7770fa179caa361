//! Batches and control frames as bytes: they round trip, and nothing else is taken for one.

mod common;
#[path = "../fuzz/src/frame_check.rs"]
mod frame_check;

use common::{Owned, entry, version};
use greenwich_proto::{
    hlc::{Origin, Stamp, Version},
    log::LANES,
    settled::Settled,
    time::Wall,
    wire::{
        CONTROL_BYTES_MAX,
        batch::{self, Batch, BatchError, Item, Range},
        control::{Control, ControlError, Hello, Listing, Resume, Sketches, Watermark},
    },
};
use proptest::prelude::*;

/// What is put into a batch.
#[derive(Clone, Debug)]
enum Put {
    Entry(Owned),
    Unit(Vec<Owned>),
    Flush(Version),
}

fn put() -> impl Strategy<Value = Put> {
    prop_oneof![
        4 => entry().prop_map(Put::Entry),
        2 => prop::collection::vec(entry(), 0..4).prop_map(Put::Unit),
        1 => version().prop_map(Put::Flush),
    ]
}

fn range() -> impl Strategy<Value = Range> {
    let after = prop_oneof![0u64..300, any::<u32>().prop_map(u64::from)];
    (0..LANES, after, 0u64..300).prop_map(|(lane, after, count)| Range {
        lane,
        after,
        up_to: after + count,
    })
}

#[derive(Clone, Debug)]
struct Written {
    id: u64,
    forgotten: Settled,
    ranges: Vec<Range>,
    puts: Vec<Put>,
}

impl Written {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        batch::put_header(self.id, &self.forgotten, &self.ranges, &mut bytes);
        for put in &self.puts {
            match put {
                Put::Entry(entry) => batch::put_entry(&entry.bytes, &mut bytes),
                Put::Unit(entries) => {
                    batch::put_unit(entries.len() as u64, &mut bytes);
                    entries
                        .iter()
                        .for_each(|entry| batch::put_unit_entry(&entry.bytes, &mut bytes));
                }
                Put::Flush(version) => batch::put_flush(*version, &mut bytes),
            }
        }
        bytes
    }

    fn matches(&self, put: &Put, item: &Item<'_>) -> bool {
        match (put, item) {
            (Put::Entry(put), Item::Entry(read)) => put.view() == *read,
            (Put::Unit(puts), Item::Unit(unit)) => puts.iter().map(Owned::view).eq(unit.entries()),
            (Put::Flush(put), Item::Flush(read)) => put == read,
            _ => false,
        }
    }
}

fn written() -> impl Strategy<Value = Written> {
    let ranges = prop::collection::vec(range(), 0..5);
    (
        any::<u64>(),
        any::<u64>(),
        ranges,
        prop::collection::vec(put(), 0..6),
    )
        .prop_map(|(id, forgotten, ranges, puts)| Written {
            id,
            // Of some, a region was away.
            forgotten: match forgotten % 3 {
                0 => Settled::up_to(Stamp(forgotten))
                    .but_for(Origin(3), (Stamp(forgotten / 2), Stamp(u64::MAX))),
                _ => Settled::up_to(Stamp(forgotten)),
            },
            ranges,
            puts,
        })
}

fn hello() -> impl Strategy<Value = Hello> {
    let resume = (any::<u64>(), prop::collection::vec(any::<u64>(), 0..20)).prop_map(
        |(incarnation, applied)| Resume {
            incarnation,
            applied,
        },
    );
    (
        any::<u32>(),
        ".{0,12}",
        ".{0,12}",
        any::<u8>(),
        any::<u64>(),
        any::<u64>(),
        resume,
    )
        .prop_map(|(wire, cluster, region, id, rules, wall, resume)| Hello {
            wire,
            wire_min: 1,
            cluster,
            region,
            id,
            lanes: 16,
            rules,
            incarnation: rules ^ wall,
            wall: Wall(wall),
            resume,
        })
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        hello().prop_map(Control::Hello),
        Just(Control::Ready),
        ".{0,40}".prop_map(Control::Refuse),
        prop::collection::vec(any::<u64>(), 0..40).prop_map(Control::Ack),
        any::<u64>().prop_map(|wall| Control::Clock(Wall(wall))),
        (any::<u64>(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(rest, slots)| Control::Sketches(Sketches { rest, slots })),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|lists| Control::Found(Listing { lists })),
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|lists| Control::Chosen(Listing { lists })),
        (any::<[u64; LANES]>(), any::<u64>(), any::<u64>()).prop_map(|(heads, stamp, holds)| {
            Control::Watermark(Watermark {
                heads,
                stamp: Stamp(stamp),
                holds: Stamp(holds),
            })
        }),
    ]
}

/// Some bytes set to other values.
fn mutations() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5)
}

fn mutate(bytes: &mut [u8], mutations: Vec<(prop::sample::Index, u8)>) {
    for (at, value) in mutations {
        let at = at.index(bytes.len());
        bytes[at] = value;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_round_trips(written in written()) {
        let bytes = written.encode();
        let batch = Batch::decode(&bytes).unwrap();
        prop_assert_eq!((batch.id, &batch.forgotten), (written.id, &written.forgotten));
        prop_assert_eq!(&batch.ranges, &written.ranges);
        prop_assert_eq!(batch.items().count(), written.puts.len());
        for (put, item) in written.puts.iter().zip(batch.items()) {
            prop_assert!(written.matches(put, &item), "{put:?} was read as {item:?}");
        }
        frame_check::check_batch(&bytes);
    }

    #[test]
    fn a_truncated_batch_is_refused_or_a_shorter_one(written in written()) {
        let bytes = written.encode();
        let whole: Vec<_> = Batch::decode(&bytes).unwrap().items().map(|item| format!("{item:?}")).collect();
        for len in 0..bytes.len() {
            match Batch::decode(&bytes[..len]) {
                Ok(shorter) => {
                    let items: Vec<_> = shorter.items().map(|item| format!("{item:?}")).collect();
                    let (late, all_late) = (shorter.forgotten.late(), written.forgotten.late());
                    let is_cut_between_windows = items.is_empty() && late.len() < all_late.len();
                    prop_assert!(items.len() < whole.len() || is_cut_between_windows);
                    prop_assert!(whole.starts_with(&items));
                    prop_assert!(late.zip(all_late).all(|(late, written)| late == written));
                    prop_assert_eq!(&shorter.ranges, &written.ranges);
                }
                Err(error) => prop_assert!(matches!(error, BatchError::Truncated), "{error:?} at {len}"),
            }
        }
    }

    #[test]
    fn a_mutated_batch_never_panics(written in written(), mutations in mutations()) {
        let mut bytes = written.encode();
        mutate(&mut bytes, mutations);
        frame_check::check_batch(&bytes);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        frame_check::check_batch(&bytes);
        frame_check::check_control(&bytes);
    }

    #[test]
    fn a_control_frame_round_trips(frame in control()) {
        prop_assert_eq!(Control::decode(&frame.encode()), Ok(Some(frame)));
    }

    #[test]
    fn a_truncated_control_frame_is_refused(frame in control()) {
        let bytes = frame.encode();
        for len in 0..bytes.len() {
            prop_assert!(Control::decode(&bytes[..len]).is_err(), "{len} of {} bytes", bytes.len());
        }
    }

    #[test]
    fn a_mutated_control_frame_never_panics(frame in control(), mutations in mutations()) {
        let mut bytes = frame.encode();
        mutate(&mut bytes, mutations);
        frame_check::check_control(&bytes);
    }
}

fn header(ranges: &[Range]) -> Vec<u8> {
    let mut bytes = Vec::new();
    batch::put_header(7, Settled::NOTHING, ranges, &mut bytes);
    bytes
}

#[test]
fn what_no_node_sends_is_named() {
    let range = Range {
        lane: 3,
        after: 0,
        up_to: 1,
    };
    let mut lane = header(&[range]);
    let at = lane.iter().rposition(|&byte| byte == 3).unwrap();
    lane[at] = u8::try_from(LANES).unwrap();
    assert_eq!(Batch::decode(&lane), Err(BatchError::Lane(16)));

    let mut kind = header(&[range]);
    kind.push(9);
    assert_eq!(Batch::decode(&kind), Err(BatchError::Item(9)));

    let mut overrun = header(&[]);
    *overrun.last_mut().unwrap() = 1;
    overrun.push(0);
    overrun.extend([0xff; 9].into_iter().chain([1, 1]));
    assert_eq!(Batch::decode(&overrun), Err(BatchError::Range));
}

#[test]
fn a_declared_length_takes_no_memory() {
    // An entry, and a unit, of 2^63 bytes or keys.
    let huge = [0x80u8; 9].into_iter().chain([1]);
    for kind in [0u8, 1] {
        let mut bytes = header(&[]);
        bytes.push(kind);
        bytes.extend(huge.clone());
        assert_eq!(
            Batch::decode(&bytes),
            Err(BatchError::Truncated),
            "kind {kind}"
        );
    }
    // A map and an array of 2^32 - 1 elements, as MessagePack announces them.
    for announced in [
        &[0x81, 0xa3, b'A', b'c', b'k', 0xdd, 0xff, 0xff, 0xff, 0xff][..],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert!(matches!(
            Control::decode(announced),
            Err(ControlError::Malformed(_))
        ));
    }
}

#[test]
fn an_oversized_control_frame_is_refused_before_it_is_read() {
    let frame = Control::Refuse("x".repeat(CONTROL_BYTES_MAX)).encode();
    assert_eq!(
        Control::decode(&frame),
        Err(ControlError::TooLarge(frame.len()))
    );
    let nested = vec![0x91; 1_000];
    assert!(matches!(
        Control::decode(&nested),
        Err(ControlError::Malformed(_))
    ));
}

#[test]
fn the_newest_stamp_covers_deadlines_and_flushes() {
    let mut bytes = header(&[]);
    batch::put_flush(
        Version {
            stamp: Stamp(99),
            origin: Origin(1),
        },
        &mut bytes,
    );
    assert_eq!(Batch::decode(&bytes).unwrap().newest, Stamp(99));
}
