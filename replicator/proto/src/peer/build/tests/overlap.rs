//! Units that overlap, in one region and in several, arrive whole in whatever order their batches do, and however often;
//! whether the log, a sweep or a repair brings them. Counters end exact.

use proptest::prelude::*;

use super::region::{Change, Key, Region, WALL, Write, name};
use crate::{
    entry::layout,
    lives::Known,
    log::{Cursor, LANES},
    peer::{
        apart::Queue,
        build::{Builder, Built, sent_before},
        lists,
        push::Pushes,
        send::Part,
        sweep::Sweep,
    },
    slots::KeyHash,
    store::Store,
    wire::batch::{self, Batch, Item},
};

const REGIONS: usize = 3;
const KEYS: Key = 5;
/// Later than everything.
const EPOCH: u64 = u64::MAX;

#[derive(Clone, Debug)]
enum Step {
    Write(usize, Write),
    /// A client comes while the region's next batch is built.
    Meanwhile(usize, Write),
    /// A region builds a batch for another, of so many bytes.
    Build(usize, usize, usize),
    /// A region goes on with a sweep to another, or begins one: about so many bytes.
    Sweep(usize, usize, usize),
    /// A comparison showed that another region lacks what a region holds of a key: about so many bytes of it.
    Push(usize, usize, Key, usize),
    /// One of the batches under way arrives.
    Arrive(prop::sample::Index),
    /// It arrives, and will once more.
    ArriveTwice(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => Just(Change::Set),
        1 => Just(Change::Delete),
        1 => Just(Change::Expire),
        1 => Just(Change::Add),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let keys = prop::sample::subsequence((0..KEYS).collect::<Vec<_>>(), 1..4);
    (keys, prop::collection::vec(change(), 3))
        .prop_map(|(keys, changes)| keys.into_iter().zip(changes).collect())
}

fn step() -> impl Strategy<Value = Step> {
    // The last region only listens, and passes on.
    let writer = 0..REGIONS - 1;
    let route = || (0..REGIONS, 1..REGIONS).prop_map(|(from, by)| (from, (from + by) % REGIONS));
    prop_oneof![
        4 => (writer.clone(), write()).prop_map(|(at, write)| Step::Write(at, write)),
        1 => (writer.clone(), write()).prop_map(|(at, write)| Step::Meanwhile(at, write)),
        3 => (writer, 1..REGIONS, 1usize..300)
            .prop_map(|(from, offset, bytes)| Step::Build(from, (from + offset) % REGIONS, bytes)),
        2 => (route(), 1usize..300).prop_map(|((from, to), bytes)| Step::Sweep(from, to, bytes)),
        1 => (route(), 0..KEYS, 1usize..300)
            .prop_map(|((from, to), key, bytes)| Step::Push(from, to, key, bytes)),
        4 => any::<prop::sample::Index>().prop_map(Step::Arrive),
        1 => any::<prop::sample::Index>().prop_map(Step::ArriveTwice),
    ]
}

/// Regions and what is under way between them.
struct World {
    regions: [Region; REGIONS],
    builders: [Builder; REGIONS],
    cursors: [[[Cursor; LANES]; REGIONS]; REGIONS],
    /// What was read, and left out of its batch.
    apart: [[Queue; REGIONS]; REGIONS],
    sweeps: [[Option<Sweep>; REGIONS]; REGIONS],
    pushes: [[Pushes; REGIONS]; REGIONS],
    under_way: Vec<(usize, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        Self {
            regions: [1, 2, 3].map(|origin| Region::new(origin, REGIONS - 1)),
            builders: Default::default(),
            cursors: Default::default(),
            apart: Default::default(),
            sweeps: Default::default(),
            pushes: Default::default(),
            under_way: Vec::new(),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Write(at, write) => self.regions[at].write(&write),
            Step::Meanwhile(at, write) => {
                self.regions[at].meanwhile.borrow_mut().push_back(write);
            }
            Step::Build(from, to, bytes) => drop(self.build(from, to, bytes)),
            Step::Sweep(from, to, bytes) => self.sweep(from, to, bytes),
            Step::Push(from, to, key, bytes) => self.push(from, to, key, bytes),
            Step::Arrive(_) | Step::ArriveTwice(_) if self.under_way.is_empty() => {}
            Step::Arrive(which) => self.arrive(which.index(self.under_way.len())),
            Step::ArriveTwice(which) => {
                let which = which.index(self.under_way.len());
                self.under_way.push(self.under_way[which].clone());
                self.arrive(which);
            }
        }
    }

    fn sweep(&mut self, from: usize, to: usize, bytes: usize) {
        let region = &self.regions[from];
        let sweep =
            self.sweeps[from][to].get_or_insert_with(|| Sweep::begin(Vec::new(), Known::default()));
        let piece = sweep.next((region.log.units(), region), bytes);
        match piece.filter(|piece| matches!(piece.part, Part::Sweep(_))) {
            Some(piece) => self.under_way.push((to, encode(&piece.built))),
            None => self.sweeps[from][to] = None,
        }
    }

    fn push(&mut self, from: usize, to: usize, key: Key, bytes: usize) {
        let region = &self.regions[from];
        let pushes = &mut self.pushes[from][to];
        region.export(&[&name(key)], &mut |entry| {
            let entry = layout::view(entry);
            let key = KeyHash::of(entry.key);
            let named = lists::name_of(key, &entry, EPOCH);
            pushes.add(key.slot(), vec![named], EPOCH);
        });
        if let Some(piece) = pushes.next((region.log.units(), region), bytes) {
            self.under_way.push((to, encode(&piece.built)));
        }
    }

    /// Returns whether there was something to send.
    fn build(&mut self, from: usize, to: usize, limit_bytes: usize) -> bool {
        let region = &self.regions[from];
        let (cursors, apart) = (&mut self.cursors[from][to], &mut self.apart[from][to]);
        let builder = &mut self.builders[from];
        let built = builder.build(&region.log, region, cursors, limit_bytes, apart.since());
        let built = built.unwrap();
        built.apart.iter().for_each(|left| apart.push(left));
        let mut has_some = !built.ranges.is_empty();
        if has_some {
            self.under_way.push((to, encode(built)));
        }
        // The others wait for the next time.
        let sent = sent_before(&region.log, cursors, apart.since());
        let alone = apart.send_next(&mut |next| builder.alone((&region.log, sent), region, next));
        if let Some((next, built)) = alone {
            assert!(!next.is_split());
            self.under_way.push((to, encode(&built)));
            has_some = true;
        }
        has_some
    }

    /// Looks at the receiver after everything that arrives at once.
    fn arrive(&mut self, which: usize) {
        let (to, bytes) = self.under_way.swap_remove(which);
        let batch = Batch::decode(&bytes).unwrap();
        let region = &self.regions[to];
        region.log.clock().observe(batch.newest, WALL).unwrap();
        for item in batch.items() {
            let entries: Vec<_> = match item {
                Item::Entry(entry) => vec![entry],
                Item::Unit(unit) => unit.entries().collect(),
                Item::Flush(_) => Vec::new(),
            };
            region.join(&entries, &batch.forgotten, WALL);
            for other in &self.regions {
                region.assert_whole(other);
            }
        }
    }

    fn finish(&mut self) {
        for region in &self.regions {
            region.meanwhile.borrow_mut().clear();
        }
        for from in 0..REGIONS {
            for to in (0..REGIONS).filter(|&to| to != from) {
                while self.build(from, to, 1_000) {}
            }
        }
        while let Some(last) = self.under_way.len().checked_sub(1) {
            self.arrive(last);
        }
        let [first, others @ ..] = &self.regions;
        for other in others {
            assert_eq!(first.contents(), other.contents());
        }
    }
}

fn encode(built: &Built) -> Vec<u8> {
    assert_eq!(built.split, 0);
    let mut bytes = Vec::new();
    batch::put_header(0, &built.forgotten, &built.ranges, &mut bytes);
    bytes.extend_from_slice(&built.items);
    bytes
}

/// Leaves a counter or a deadline the work of fewer units than are followed by all of them.
fn tame(steps: &mut [Step]) {
    let mut left = 8;
    for step in steps {
        if let Step::Write(_, write) | Step::Meanwhile(_, write) = step {
            let builds_up = |change: &Change| matches!(change, Change::Expire | Change::Add);
            if write.len() > 1 && write.iter().any(|(_, change)| builds_up(change)) {
                if left == 0 {
                    write
                        .iter_mut()
                        .for_each(|(_, change)| *change = Change::Set);
                } else {
                    left -= 1;
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn overlapping_units_arrive_whole_in_any_order(mut steps in prop::collection::vec(step(), 1..60)) {
        tame(&mut steps);
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.finish();
    }
}

fn set(keys: &[Key]) -> Write {
    keys.iter().map(|&key| (key, Change::Set)).collect()
}

#[test]
fn a_unit_whose_key_a_later_one_wrote_takes_that_one_with_it() {
    let mut world = World::new();
    world.regions[0].write(&set(&[0, 1]));
    world.regions[0].write(&set(&[1, 2]));
    // The first record alone; the second stands in another lane.
    assert!(world.build(0, 2, 1));
    world.arrive(0);
    world.finish();
}

#[test]
fn a_plain_record_of_a_key_that_a_unit_wrote_takes_the_unit_with_it() {
    let mut world = World::new();
    world.regions[0].write(&set(&[0]));
    world.regions[0].write(&set(&[1, 0]));
    assert!(world.build(0, 2, 1));
    world.arrive(0);
    assert_eq!(world.regions[2].contents().len(), 2);
    world.finish();
}

#[test]
fn a_plain_change_of_a_unit_s_value_takes_the_unit_with_it() {
    for change in [Change::Add, Change::Expire] {
        let mut world = World::new();
        world.regions[0].write(&set(&[0, 1]));
        assert!(world.build(0, 2, 1_000));
        world.regions[0].write(&vec![(1, change)]);
        assert!(world.build(0, 2, 1_000));
        // The later batch is the first to arrive.
        world.arrive(1);
        assert_eq!(world.regions[2].contents().len(), 2);
        world.finish();
    }
}

#[test]
fn a_key_that_an_arriving_change_was_joined_into_is_still_of_its_unit() {
    let mut world = World::new();
    world.regions[0].write(&vec![(0, Change::Add), (1, Change::Add)]);
    world.regions[1].write(&vec![(1, Change::Add)]);
    assert!(world.build(1, 0, 1_000));
    world.arrive(0);
    world.regions[0].write(&vec![(1, Change::Add)]);
    world.cursors[0][2][0] = Cursor::after(1);
    assert!(world.build(0, 2, 1_000));
    world.arrive(0);
    assert_eq!(world.regions[2].contents().len(), 2);
}

#[test]
fn a_unit_of_another_region_is_passed_on_whole() {
    let mut world = World::new();
    world.regions[0].write(&set(&[0]));
    world.regions[1].write(&set(&[0, 1]));
    world.regions[1].write(&set(&[0, 1]));
    assert!(world.build(1, 0, 1_000));
    world.arrive(0);
    assert!(world.build(0, 2, 1_000));
    world.arrive(0);
    world.finish();
}
