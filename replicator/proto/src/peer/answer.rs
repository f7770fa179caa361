//! The half of a comparison that answers, once it is known which groups of slots differ: it finds out what is missing on
//! either side, from what the other side tells of its slots.

use std::collections::VecDeque;

use super::{
    compare::{OutOfTurn, Surroundings},
    descent::{PARTS_AT_ONCE, unpack},
    findings::{self, Missing, Told},
    glimpse::Glimpse,
    groups,
    lists::{self, differences},
    sketch::{Locator, sketch},
};
use crate::{
    store::Store,
    wire::control::{Control, Listing, Sketches},
};

/// Up to which size findings say what is held here. What goes beyond is sent without a question.
const GLIMPSES_UP_TO_BYTES: usize = 16 * 1024;

/// What was found of one part: slots, and the names of entries that the other side may ask for.
type Offer = Vec<(usize, Vec<u32>)>;

/// What has to be done for parts that were told.
#[derive(Debug)]
pub(super) struct Answer {
    epoch: u64,
    /// The fingerprints of slots that nothing was told of; zero of others.
    prints: Vec<u64>,
    /// What the other side has as the fingerprint of all these.
    rest: Option<u64>,
    /// Of each part that the other side has not chosen from.
    offers: VecDeque<Offer>,
    /// Parts whose entries have not all arrived at the other side.
    unpushed: u64,
}

impl Answer {
    pub(super) fn begin(epoch: u64, prints: Vec<u64>) -> Self {
        Self {
            epoch,
            prints,
            rest: None,
            offers: VecDeque::new(),
            unpushed: 0,
        }
    }

    /// Says when everything has arrived.
    pub(super) fn proceed(&mut self, with: &mut Surroundings<'_>) {
        if self.unpushed > 0 && with.pushes.are_done() {
            with.out.push(Control::Pushed(self.unpushed));
            self.unpushed = 0;
        }
    }

    /// Whether there is a difference that was not found: two slots that differ may look alike in what crosses of their
    /// fingerprints.
    pub(super) fn has_missed_something(&self) -> bool {
        self.rest
            .is_some_and(|rest| rest != groups::all(&self.prints))
    }

    fn expect_part(&self) -> Result<(), OutOfTurn> {
        let under_way = self.offers.len() as u64 + self.unpushed;
        if under_way < PARTS_AT_ONCE as u64 {
            Ok(())
        } else {
            Err(OutOfTurn)
        }
    }

    /// The other side lists what it holds of slots.
    pub(super) fn hear_listing<S: Store>(
        &mut self,
        listing: &Listing,
        store: &S,
        with: &mut Surroundings<'_>,
    ) -> Result<(), OutOfTurn> {
        self.expect_part()?;
        self.unpushed += 1;
        let mut wanted = Vec::new();
        for together in lists::read(&listing.lists)?.chunk_by(|(a, _), (b, _)| a < b) {
            let slots: Vec<usize> = together.iter().map(|(slot, _)| *slot).collect();
            let ours = lists::names(store, &slots, self.epoch);
            for ((slot, theirs), ours) in together.iter().zip(ours) {
                let (missing_here, missing_there) = differences(theirs.clone(), ours);
                lists::put(*slot, &missing_here, &mut wanted);
                with.pushes.add(*slot, missing_there, self.epoch);
            }
        }
        with.out.push(Control::Wanted(Listing { lists: wanted }));
        Ok(())
    }

    /// The other side tells what it holds of slots.
    pub(super) fn hear_sketches<S: Store>(
        &mut self,
        sketches: &Sketches,
        store: &S,
        with: &mut Surroundings<'_>,
    ) -> Result<(), OutOfTurn> {
        self.expect_part()?;
        self.rest = Some(sketches.rest);
        let told = findings::read_told(&sketches.slots)?;
        let slots: Vec<usize> = told.iter().map(|(slot, _)| *slot).collect();
        let mut ours = vec![Vec::new(); slots.len()];
        lists::list(store, &slots, self.epoch, &mut |listed| {
            let glimpse = Glimpse::of(listed.key, &listed.entry, self.epoch);
            ours[listed.at].push((listed.name, glimpse));
        });
        let (mut packed, mut offer) = (Vec::new(), Offer::new());
        for ((slot, told), ours) in told.into_iter().zip(ours) {
            self.prints[slot] = 0;
            let names = ours.iter().map(|(name, _)| *name).collect();
            let Some((missing, own)) = compare(told, names) else {
                findings::put_too_small(&mut packed);
                continue;
            };
            findings::put_missing(&missing, &mut packed);
            // Where nothing is missing here, nothing there can be newer. A glimpse is shorter on its way than in memory.
            let room = match missing.count() {
                0 => 0,
                _ => GLIMPSES_UP_TO_BYTES.saturating_sub(packed.len()) / size_of::<Glimpse>(),
            };
            let (asked, given) = own.split_at(own.len().min(room));
            let is_asked = |(name, glimpse)| asked.contains(&name).then_some((name, glimpse));
            let (names, glimpses): (Vec<u32>, Vec<Glimpse>) =
                ours.into_iter().filter_map(is_asked).unzip();
            findings::put_own(&glimpses, given.len(), &mut packed);
            offer.push((slot, names));
            with.pushes.add(slot, given.to_vec(), self.epoch);
        }
        self.offers.push_back(offer);
        with.out.push(Control::Found(Listing { lists: packed }));
        Ok(())
    }

    /// The other side has chosen from what it was offered first.
    pub(super) fn hear_choice(
        &mut self,
        choice: &Listing,
        with: &mut Surroundings<'_>,
    ) -> Result<(), OutOfTurn> {
        let offer = self.offers.pop_front().ok_or(OutOfTurn)?;
        let count = offer.iter().map(|(_, names)| names.len()).sum();
        let mut choice = unpack(&choice.lists, count)?;
        for (slot, mut names) in offer {
            names.retain(|_| choice.next().unwrap_or_default());
            with.pushes.add(slot, names, self.epoch);
        }
        self.unpushed += 1;
        Ok(())
    }
}

/// What is missing on this side of a slot, and which of our names may be missing there; `None` when the sketch was too
/// small to say.
fn compare(told: Told, ours: Vec<u32>) -> Option<(Missing, Vec<u32>)> {
    match told {
        Told::Sketch(mut sums) => {
            let own = sketch(&ours, sums.len());
            sums.iter_mut().zip(own).for_each(|(sum, own)| *sum ^= own);
            let mut locator = Locator::find(&sums)?;
            let missing_there = locator.take_roots(&ours);
            Some((Missing::Roots(locator), missing_there))
        }
        Told::Names(theirs) => {
            let (missing_here, missing_there) = differences(theirs, ours);
            Some((Missing::Names(missing_here), missing_there))
        }
    }
}
