//! Comparing what two regions held at the end of an epoch, and repairing what differs.
//!
//! Of two regions, the one with the smaller number asks. Both must have heard everything that their other linked peers
//! wrote in the epoch; whoever has not waits, so that what is on its way is not taken for a difference.
//!
//! ```text
//!  asks                              answers
//!   Compare: 128 groups ──────────▶  waits until it has heard as much
//!                       ◀──────────  Compared: equal; or 128 slots of each group that differs
//!   Listing: names in the slots ──▶  what is missing here, and there
//!                       ◀──────────  Wanted: names      entries ──▶ and ◀── entries, in batches
//!                       ◀──────────  Pushed, when its entries have arrived
//!   Repaired: how many changed ───▶  Repaired: how many changed
//! ```
//!
//! A slot whose fingerprints differ need not hold anything different: a key that was written on both sides of the epoch's
//! end may have been coalesced on the way. So what counts is how many entries the repair changed: none means equal.

use std::collections::VecDeque;

use super::{
    Node,
    groups::{GROUP_SLOTS, GROUPS, groups, prints, short, slots_of},
    lists::{self, differences},
    push::Pushes,
};
use crate::{
    fingerprint::{end_of, epoch_of},
    hlc::Stamp,
    store::Store,
    wire::control::{Compare, Compared, Control, Listing, Standing, Verdict},
};

/// Groups whose slots one frame tells.
const GROUPS_AT_ONCE: usize = 64;
/// About how many bytes of names one listing has, and how many listings are under way.
const LISTING_BYTES: usize = 16 * 1024;
const LISTINGS_AT_ONCE: u64 = 16;

/// What a comparison found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compares {
    /// The end of the last epoch at which both sides held the same.
    pub equal_as_of: Option<Stamp>,
    /// Comparisons that ended.
    pub rounds: u64,
    /// Of them, those that found something missing on either side.
    pub different: u64,
    /// Entries that were found missing on either side.
    pub repaired: u64,
}

/// A frame that does not fit where the comparison stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of a comparison arrived out of turn, or is malformed")]
pub(super) struct OutOfTurn;

/// What a session has beside the comparison that it needs.
pub(super) struct Surroundings<'a> {
    pub(super) pushes: &'a mut Pushes,
    /// Entries that sweeps and repairs have changed here so far, and those that could not be taken over.
    pub(super) found: u64,
    pub(super) out: &'a mut Vec<Control>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// Asked, with these fingerprints of all slots.
    Asked(Question),
    /// Repairs slots that differ, as the one who asked.
    Asking(Descent),
    /// The same, as the one who answered.
    Answering(Answer),
    /// Has said how many entries changed here, and waits for the other number.
    Counting(Round),
}

/// One comparison.
#[derive(Clone, Debug)]
struct Round {
    epoch: u64,
    /// What sweeps and repairs had found here before.
    found_before: u64,
    /// What the other side says of itself.
    standing: Option<Standing>,
    changed_here: u64,
}

#[derive(Debug)]
struct Question {
    round: Round,
    prints: Vec<u64>,
    differing: VecDeque<usize>,
}

#[derive(Debug)]
struct Descent {
    round: Round,
    slots: VecDeque<usize>,
    listings_under_way: u64,
    /// Listings of which the other side has not said what it lacks.
    unanswered: u64,
}

#[derive(Debug)]
struct Answer {
    round: Round,
    /// Listings whose entries have not all arrived at the other side.
    unpushed: u64,
}

/// The comparisons of a session.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    phase: Phase,
    /// The newest epoch that was asked about.
    asked: u64,
    /// A question that is answered once everything of its epoch was heard here.
    waiting: Option<Compare>,
    pub(super) found: Compares,
    /// Of the last equality: its epoch, and where the other side stood.
    proof: Option<(u64, Standing)>,
}

impl Comparison {
    /// What an equality has proved since the last look.
    pub(super) fn take_proof(&mut self) -> Option<(u64, Standing)> {
        self.proof.take()
    }

    /// The link is gone.
    pub(super) fn disconnect(&mut self) {
        self.phase = Phase::Idle;
        self.waiting = None;
    }

    /// Does what is due. `asks` says which side this is; `heard` up to which stamp everything was heard here.
    pub(super) fn proceed<S: Store>(
        &mut self,
        asks: bool,
        heard: Stamp,
        node: &Node<'_, S>,
        with: &mut Surroundings<'_>,
    ) {
        match &mut self.phase {
            Phase::Idle if asks => self.ask(heard, node, with),
            Phase::Idle => self.answer(heard, node, with),
            Phase::Asking(descent) => {
                descent.list(node.store, with.out);
                if descent.is_done() && with.pushes.are_done() {
                    let mut round = descent.round.clone();
                    round.changed_here = with.found - round.found_before;
                    with.out.push(Control::Repaired(round.changed_here));
                    self.phase = Phase::Counting(round);
                }
            }
            Phase::Answering(answer) => {
                if answer.unpushed > 0 && with.pushes.are_done() {
                    with.out.push(Control::Pushed(answer.unpushed));
                    answer.unpushed = 0;
                }
            }
            Phase::Asked(_) | Phase::Counting(_) => {}
        }
    }

    fn ask<S: Store>(&mut self, heard: Stamp, node: &Node<'_, S>, with: &mut Surroundings<'_>) {
        let Some(epoch) = epoch_of(heard).checked_sub(1) else {
            return;
        };
        if epoch <= self.asked {
            return;
        }
        self.asked = epoch;
        // Whatever is written here from now on is of a later epoch.
        node.log.clock().advance(end_of(epoch));
        let Some(prints) = prints(node.store, epoch) else {
            return;
        };
        with.out.push(Control::Compare(Compare {
            epoch,
            standing: standing(node),
            groups: groups(&prints),
        }));
        self.phase = Phase::Asked(Question {
            round: Round::begin(epoch, with.found),
            prints,
            differing: VecDeque::new(),
        });
    }

    /// The other side asks.
    pub(super) fn hear_question(&mut self, question: Compare) -> Result<(), OutOfTurn> {
        if question.groups.len() != GROUPS {
            return Err(OutOfTurn);
        }
        // It asks anew only when it has given the last question up.
        self.phase = Phase::Idle;
        self.waiting = Some(question);
        Ok(())
    }

    fn answer<S: Store>(&mut self, heard: Stamp, node: &Node<'_, S>, with: &mut Surroundings<'_>) {
        let is_due = |question: &mut Compare| end_of(question.epoch) <= heard;
        let Some(question) = self.waiting.take_if(is_due) else {
            return;
        };
        node.log.clock().advance(end_of(question.epoch));
        let Some(prints) = prints(node.store, question.epoch) else {
            return with.out.push(compared(&question, node, Verdict::Unknown));
        };
        let ours = groups(&prints);
        let differing: Vec<usize> = (0..GROUPS)
            .filter(|&group| ours[group] != question.groups[group])
            .collect();
        let mut round = Round::begin(question.epoch, with.found);
        round.standing = Some(question.standing.clone());
        if differing.is_empty() {
            with.out.push(compared(&question, node, Verdict::Equal));
            return self.conclude(&round, 0);
        }
        let count = differing.chunks(GROUPS_AT_ONCE).count();
        for (at, groups) in differing.chunks(GROUPS_AT_ONCE).enumerate() {
            let of_slot = |slot: usize| short(prints[slot]).to_le_bytes();
            with.out.push(Control::Compared(Compared {
                epoch: question.epoch,
                standing: standing(node),
                verdict: Verdict::Different,
                groups: groups.iter().map(|&group| group as u8).collect(),
                prints: groups
                    .iter()
                    .flat_map(|&group| slots_of(group))
                    .flat_map(of_slot)
                    .collect(),
                goes_on: at + 1 < count,
            }));
        }
        self.phase = Phase::Answering(Answer { round, unpushed: 0 });
    }

    /// The other side has answered.
    pub(super) fn hear_answer(&mut self, answer: &Compared) -> Result<(), OutOfTurn> {
        let Phase::Asked(question) = &mut self.phase else {
            return Err(OutOfTurn);
        };
        if question.round.epoch != answer.epoch {
            return Err(OutOfTurn);
        }
        question.round.standing = Some(answer.standing.clone());
        match answer.verdict {
            Verdict::Unknown => self.phase = Phase::Idle,
            Verdict::Equal => {
                let round = question.round.clone();
                self.phase = Phase::Idle;
                self.conclude(&round, 0);
            }
            Verdict::Different => {
                question.compare_slots(answer)?;
                if !answer.goes_on {
                    self.phase = Phase::Asking(Descent {
                        round: question.round.clone(),
                        slots: std::mem::take(&mut question.differing),
                        listings_under_way: 0,
                        unanswered: 0,
                    });
                }
            }
        }
        Ok(())
    }

    /// The other side tells what it holds of slots.
    pub(super) fn hear_listing<S: Store>(
        &mut self,
        listing: &Listing,
        node: &Node<'_, S>,
        with: &mut Surroundings<'_>,
    ) -> Result<(), OutOfTurn> {
        let Phase::Answering(answer) = &mut self.phase else {
            return Err(OutOfTurn);
        };
        if answer.unpushed == LISTINGS_AT_ONCE {
            return Err(OutOfTurn);
        }
        let epoch = answer.round.epoch;
        answer.unpushed += 1;
        let mut wanted = Vec::new();
        for (slot, theirs) in lists::read(&listing.lists).map_err(|_| OutOfTurn)? {
            let mut ours = Vec::new();
            lists::list(node.store, slot, epoch, &mut |name, _| ours.push(name));
            let (missing_here, missing_there) = differences(theirs, ours);
            lists::put(slot, &missing_here, &mut wanted);
            with.pushes.add(slot, missing_there, epoch);
        }
        with.out.push(Control::Wanted(Listing { lists: wanted }));
        Ok(())
    }

    /// The other side lacks these.
    pub(super) fn hear_wish(
        &mut self,
        wanted: &Listing,
        with: &mut Surroundings<'_>,
    ) -> Result<(), OutOfTurn> {
        let Phase::Asking(descent) = &mut self.phase else {
            return Err(OutOfTurn);
        };
        descent.unanswered = descent.unanswered.checked_sub(1).ok_or(OutOfTurn)?;
        for (slot, names) in lists::read(&wanted.lists).map_err(|_| OutOfTurn)? {
            with.pushes.add(slot, names, descent.round.epoch);
        }
        Ok(())
    }

    /// What so many listings showed to be missing here has arrived.
    pub(super) fn hear_pushed(&mut self, listings: u64) -> Result<(), OutOfTurn> {
        let Phase::Asking(descent) = &mut self.phase else {
            return Err(OutOfTurn);
        };
        let left = descent.listings_under_way.checked_sub(listings);
        descent.listings_under_way = left.ok_or(OutOfTurn)?;
        Ok(())
    }

    /// The repair has ended at the other side, which had so many entries changed.
    pub(super) fn hear_repaired(
        &mut self,
        changed_there: u64,
        with: &mut Surroundings<'_>,
    ) -> Result<(), OutOfTurn> {
        let round = match std::mem::take(&mut self.phase) {
            Phase::Counting(round) => round,
            Phase::Answering(Answer { mut round, .. }) => {
                round.changed_here = with.found - round.found_before;
                with.out.push(Control::Repaired(round.changed_here));
                round
            }
            Phase::Idle | Phase::Asked(_) | Phase::Asking(_) => return Err(OutOfTurn),
        };
        self.conclude(&round, round.changed_here.saturating_add(changed_there));
        Ok(())
    }

    fn conclude(&mut self, round: &Round, changed: u64) {
        self.found.rounds += 1;
        self.found.repaired += changed;
        if changed > 0 {
            self.found.different += 1;
            return;
        }
        self.found.equal_as_of = Some(end_of(round.epoch));
        self.proof = round
            .standing
            .clone()
            .map(|standing| (round.epoch, standing));
    }
}

impl Round {
    fn begin(epoch: u64, found_before: u64) -> Self {
        Self {
            epoch,
            found_before,
            standing: None,
            changed_here: 0,
        }
    }
}

impl Question {
    /// Notes the slots that differ.
    fn compare_slots(&mut self, answer: &Compared) -> Result<(), OutOfTurn> {
        let slots = answer
            .groups
            .iter()
            .flat_map(|&group| slots_of(usize::from(group)));
        let (theirs, rest) = answer.prints.as_chunks::<4>();
        let count = answer.groups.len() * GROUP_SLOTS;
        let is_known = answer
            .groups
            .iter()
            .all(|&group| usize::from(group) < GROUPS);
        if !(is_known && rest.is_empty() && theirs.len() == count) {
            return Err(OutOfTurn);
        }
        let differs = |(slot, theirs): &(usize, &[u8; 4])| {
            short(self.prints[*slot]).to_le_bytes() != **theirs
        };
        let differing = slots.zip(theirs).filter(differs).map(|(slot, _)| slot);
        self.differing.extend(differing);
        Ok(())
    }
}

impl Descent {
    /// Tells the other side what is held here of the next slots, while not too much is under way.
    fn list<S: Store>(&mut self, store: &S, out: &mut Vec<Control>) {
        while self.listings_under_way < LISTINGS_AT_ONCE && !self.slots.is_empty() {
            let mut packed = Vec::new();
            while packed.len() < LISTING_BYTES
                && let Some(slot) = self.slots.pop_front()
            {
                let mut names = Vec::new();
                lists::list(store, slot, self.round.epoch, &mut |name, _| {
                    names.push(name)
                });
                lists::put(slot, &names, &mut packed);
            }
            self.listings_under_way += 1;
            self.unanswered += 1;
            out.push(Control::Listing(Listing { lists: packed }));
        }
    }

    fn is_done(&self) -> bool {
        self.slots.is_empty() && self.listings_under_way == 0 && self.unanswered == 0
    }
}

fn standing<S: Store>(node: &Node<'_, S>) -> Standing {
    Standing {
        known: node.lives.known(),
        in_doubt_until: node.lives.in_doubt_until(),
        flushed: node.store.flushed(),
    }
}

fn compared<S: Store>(question: &Compare, node: &Node<'_, S>, verdict: Verdict) -> Control {
    Control::Compared(Compared {
        epoch: question.epoch,
        standing: standing(node),
        verdict,
        groups: Vec::new(),
        prints: Vec::new(),
        goes_on: false,
    })
}

#[cfg(test)]
mod tests;
