//! The half of a comparison that asks, once it knows which slots differ: it tells what it holds of them, and takes in what
//! the other side makes of it.
//!
//! What it tells of a slot is a sketch, as large as slots of this comparison seem to need; twice as large where that was too
//! small; and a list of names where that is shorter. A peer that reads no sketches is told lists.

use std::collections::{BTreeMap, VecDeque};

use super::{
    compare::{OutOfTurn, Surroundings},
    findings::{self, Finding, Told},
    glimpse::{Glimpse, Lacking},
    lists::{self, are_together},
    sketch::{CAPACITY_MAX, sketch},
};
use crate::{
    slots::SLOTS,
    store::Store,
    wire::control::{Control, Listing, Sketches},
};

/// Parts whose entries have not all arrived, of which the other side keeps what it has yet to send.
pub(super) const PARTS_AT_ONCE: usize = 256;
/// The same with a peer that reads no sketches.
const LISTS_AT_ONCE: usize = 16;
/// Parts that the other side has not answered: what is on its way with them holds up other control frames.
const UNANSWERED_AT_ONCE: usize = 32;
/// About how many bytes a part has.
const PART_BYTES: usize = 8 * 1024;
/// About how many products of names go into the sketches of one part. Updates wait meanwhile.
const PART_PRODUCTS: usize = 500_000;

/// What has to be told of slots that differ, and what is under way.
#[derive(Debug)]
pub(super) struct Descent {
    epoch: u64,
    has_sketches: bool,
    /// Slots that have to be told, and the capacity that was too small for them; zero when none was told yet.
    slots: BTreeMap<usize, usize>,
    /// A fingerprint of all slots that seem to be equal.
    rest: u64,
    expected: Expected,
    under_way: usize,
    /// The slots of each part that is not answered, with the capacities of their sketches; zero is a list.
    unanswered: VecDeque<Vec<(usize, usize)>>,
}

impl Descent {
    pub(super) fn begin(
        epoch: u64,
        has_sketches: bool,
        slots: impl Iterator<Item = usize>,
        rest: u64,
    ) -> Self {
        let slots: BTreeMap<usize, usize> = slots.map(|slot| (slot, 0)).collect();
        Self {
            epoch,
            has_sketches,
            expected: Expected::when_differ(slots.len()),
            slots,
            rest,
            under_way: 0,
            unanswered: VecDeque::new(),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.slots.is_empty() && self.under_way == 0
    }

    /// Tells the other side what is held here of the next slots, while not too much is under way.
    pub(super) fn proceed<S: Store>(&mut self, store: &S, out: &mut Vec<Control>) {
        let at_once = match self.has_sketches {
            true => PARTS_AT_ONCE,
            false => LISTS_AT_ONCE,
        };
        while self.under_way < at_once
            && self.unanswered.len() < UNANSWERED_AT_ONCE
            && !self.slots.is_empty()
        {
            self.under_way += 1;
            out.push(self.next_part(store));
        }
    }

    fn next_part<S: Store>(&mut self, store: &S) -> Control {
        let (mut packed, mut part, mut products) = (Vec::new(), Vec::new(), 0);
        while packed.len() < PART_BYTES
            && products < PART_PRODUCTS
            && let Some((&first, _)) = self.slots.first_key_value()
        {
            let together = self.slots.keys().copied();
            let slots: Vec<usize> = together
                .take_while(|slot| are_together(first, *slot))
                .collect();
            for (slot, names) in slots.iter().zip(lists::names(store, &slots, self.epoch)) {
                if packed.len() >= PART_BYTES {
                    break;
                }
                let too_small = self.slots.remove(slot).unwrap_or_default();
                let capacity = self.capacity(too_small, names.len());
                products += names.len() * capacity;
                if !self.has_sketches {
                    lists::put(*slot, &names, &mut packed);
                } else {
                    let told = match capacity {
                        0 => Told::Names(names),
                        _ => Told::Sketch(sketch(&names, capacity)),
                    };
                    let next = part.last().map_or(0, |(before, _)| before + 1);
                    findings::put_told(*slot, &told, next, &mut packed);
                }
                part.push((*slot, capacity));
            }
        }
        self.unanswered.push_back(part);
        if self.has_sketches {
            let (rest, slots) = (self.rest, packed);
            Control::Sketches(Sketches { rest, slots })
        } else {
            Control::Listing(Listing { lists: packed })
        }
    }

    /// Of the sketch of so many names, where one of capacity `too_small` was too small; zero for a list.
    fn capacity(&self, too_small: usize, names: usize) -> usize {
        let capacity = match too_small {
            0 => self.expected.capacity(),
            _ => 2 * too_small,
        };
        let is_worth_it = self.has_sketches && capacity <= CAPACITY_MAX && capacity < names;
        if is_worth_it { capacity } else { 0 }
    }

    /// The other side lacks these.
    pub(super) fn hear_wish(
        &mut self,
        wanted: &Listing,
        with: &mut Surroundings<'_>,
    ) -> Result<(), OutOfTurn> {
        self.unanswered.pop_front().ok_or(OutOfTurn)?;
        for (slot, names) in lists::read(&wanted.lists)? {
            with.pushes.add(slot, names, self.epoch);
        }
        Ok(())
    }

    /// The other side says what it has found. Chooses which of two states of a key has to travel.
    pub(super) fn hear_findings<S: Store>(
        &mut self,
        findings: &Listing,
        store: &S,
        with: &mut Surroundings<'_>,
    ) -> Result<(), OutOfTurn> {
        let part = self.unanswered.pop_front().ok_or(OutOfTurn)?;
        let findings = findings::read_findings(&findings.lists)?;
        if part.len() != findings.len() {
            return Err(OutOfTurn);
        }
        let (mut slots, mut found) = (Vec::new(), Vec::new());
        for ((slot, capacity), finding) in part.into_iter().zip(findings) {
            match finding {
                Some(finding) => {
                    slots.push(slot);
                    found.push(finding);
                }
                None if capacity == 0 => return Err(OutOfTurn),
                None => {
                    self.expected.learn(2 * capacity);
                    self.slots.insert(slot, capacity);
                }
            }
        }
        let mut ours = vec![Vec::new(); found.len()];
        lists::list(store, &slots, self.epoch, &mut |listed| {
            if found[listed.at].missing.has(listed.name) {
                let glimpse = Glimpse::of(listed.key, &listed.entry, self.epoch);
                ours[listed.at].push((listed.name, glimpse));
            }
        });
        let mut choice = Vec::new();
        for ((slot, finding), mut ours) in slots.into_iter().zip(found).zip(ours) {
            let differ = finding.missing.count() + finding.own.len();
            self.expected
                .learn(differ.saturating_add(finding.unasked).min(2 * CAPACITY_MAX));
            // What was written since it was told has another name now.
            let lost = finding.missing.count().saturating_sub(ours.len());
            choose(&finding, &mut ours, &mut choice);
            let names = ours.into_iter().map(|(name, _)| name).collect();
            with.pushes.add_with_lost(slot, names, lost, self.epoch);
        }
        let lists = pack(&choice);
        with.out.push(Control::Chosen(Listing { lists }));
        Ok(())
    }

    /// What so many parts showed to be missing here has arrived.
    pub(super) fn hear_pushed(&mut self, parts: u64) -> Result<(), OutOfTurn> {
        let parts = usize::try_from(parts).map_err(|_| OutOfTurn)?;
        let left = self.under_way.checked_sub(parts).ok_or(OutOfTurn)?;
        if left < self.unanswered.len() {
            return Err(OutOfTurn);
        }
        self.under_way = left;
        Ok(())
    }
}

/// Whether each of the other side's states has to come; of ours, those stay that have to go.
fn choose(finding: &Finding, ours: &mut Vec<(u32, Glimpse)>, choice: &mut Vec<bool>) {
    for theirs in &finding.own {
        let same = ours.iter().position(|(_, our)| our.is_of_key_of(theirs));
        let lacking = same.map(|at| (at, Glimpse::lacking(&ours[at].1, theirs)));
        if let Some((at, Lacking::Second)) = lacking {
            ours.swap_remove(at);
        }
        choice.push(!matches!(lacking, Some((_, Lacking::First))));
    }
}

fn pack(choice: &[bool]) -> Vec<u8> {
    let byte = |bits: &[bool]| {
        bits.iter()
            .rev()
            .fold(0, |byte, bit| byte << 1 | u8::from(*bit))
    };
    choice.chunks(8).map(byte).collect()
}

/// Whether each of `count` states was chosen.
pub(super) fn unpack(packed: &[u8], count: usize) -> Result<impl Iterator<Item = bool>, OutOfTurn> {
    if packed.len() != count.div_ceil(8) {
        return Err(OutOfTurn);
    }
    let bits = packed
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    Ok(bits.take(count))
}

/// How many entries of a slot differ, one state and the other: an average over slots.
#[derive(Clone, Copy, Debug)]
struct Expected(f64);

impl Expected {
    /// Slots that the average remembers.
    const MEMORY: f64 = 32.0;

    /// Where so many slots differ. Keys fall into slots by chance, so that from the share of slots without any follows how
    /// many the others have; each is there in two states.
    fn when_differ(slots: usize) -> Self {
        let share = slots as f64 / SLOTS as f64;
        let without = (1.0 - share).max(1.0 / SLOTS as f64);
        Self(2.0 * (-without.ln() / share.max(1.0 / SLOTS as f64)).max(1.0))
    }

    fn learn(&mut self, differ: usize) {
        self.0 += (differ as f64 - self.0) / Self::MEMORY;
    }

    /// A capacity that is large enough for nearly all slots: the average and two deviations, of keys that fall into slots
    /// by chance, in slots that have at least one. One that is too small has to be sent again, and costs a look at the
    /// whole neighbourhood of its slot on both sides.
    fn capacity(self) -> usize {
        let deviation = (2.0 * (self.0 - 2.0).max(0.0)).sqrt();
        (self.0 + 2.0 * deviation).ceil() as usize + 1
    }
}
