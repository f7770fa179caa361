//! Comparing what two regions held at the end of an epoch, and repairing what differs.
//!
//! Of two regions, the one with the smaller number asks. Both must have heard everything that their other linked peers
//! wrote in the epoch; whoever has not waits, so that what is on its way is not taken for a difference.
//!
//! ```text
//!  asks                              answers
//!   Compare: 128 groups ──────────▶  waits until it has heard as much
//!                       ◀──────────  Compared: equal; or 128 slots of each group that differs
//!   Sketches of the slots ────────▶  what is missing here, and there
//!                       ◀──────────  Found: what is missing, and what may be newer here
//!   Chosen: which of that ────────▶                     entries ──▶ and ◀── entries, in batches
//!                       ◀──────────  Pushed, when its entries have arrived
//!   Repaired: how many changed ───▶  Repaired: how many changed
//! ```
//! With a peer of wire version 2, lists of names take the place of sketches, and both sides send all that the other lacks:
//! Listing ──▶ ◀── Wanted. The two halves are in [`descent`](super::descent) and [`answer`](super::answer).
//!
//! A slot whose fingerprints differ need not hold anything different: a key that was written on both sides of the epoch's
//! end may have been coalesced on the way. So what counts is of how many entries the repair brought something from before
//! the end ([`young`](super::young)): none means equal, unless not all of what differs was found.

use super::{
    Node,
    answer::Answer,
    descent::Descent,
    groups::{self, GROUP_SLOTS, GROUPS, Shortened, groups, prints, slots_of},
    push::Pushes,
};
use crate::{
    fingerprint::{end_of, epoch_of},
    hlc::Stamp,
    store::Store,
    wire::{
        bytes::Truncated,
        control::{Compare, Compared, Control, Standing, Verdict},
    },
};

/// Groups whose slots one frame tells.
const GROUPS_AT_ONCE: usize = 64;

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

impl From<Truncated> for OutOfTurn {
    fn from(Truncated: Truncated) -> Self {
        Self
    }
}

/// What a session has beside the comparison that it needs.
pub(super) struct Surroundings<'a> {
    pub(super) pushes: &'a mut Pushes,
    /// Entries that sweeps and repairs have changed here so far, and those that could not be taken over.
    pub(super) found: u64,
    /// Whether the peer reads sketches.
    pub(super) has_sketches: bool,
    pub(super) out: &'a mut Vec<Control>,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// Asked, with these fingerprints of all slots.
    Asked(Question),
    /// Repairs slots that differ, as the one who asked.
    Asking(Round, Descent),
    /// The same, as the one who answered.
    Answering(Round, Answer),
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
    differing: Vec<usize>,
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
    /// The epoch of the last comparison that ended, until somebody looks.
    ended: Option<u64>,
}

impl Comparison {
    /// What an equality has proved since the last look.
    pub(super) fn take_proof(&mut self) -> Option<(u64, Standing)> {
        self.proof.take()
    }

    /// The epoch of a comparison that has ended since the last look: what the other side held at its end is here.
    pub(super) fn take_ended(&mut self) -> Option<u64> {
        self.ended.take()
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
            Phase::Asking(round, descent) => {
                descent.proceed(node.store, with.out);
                if descent.is_done() && with.pushes.are_done() {
                    let mut round = round.clone();
                    round.changed_here += with.found - round.found_before;
                    with.out.push(Control::Repaired(round.changed_here));
                    self.phase = Phase::Counting(round);
                }
            }
            Phase::Answering(_, answer) => answer.proceed(with),
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
            differing: Vec::new(),
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
        let shortened = with.shortened();
        let count = differing.chunks(GROUPS_AT_ONCE).count();
        for (at, groups) in differing.chunks(GROUPS_AT_ONCE).enumerate() {
            let mut packed = Vec::new();
            for slot in groups.iter().flat_map(|&group| slots_of(group)) {
                shortened.put(prints[slot], question.epoch, &mut packed);
            }
            with.out.push(Control::Compared(Compared {
                epoch: question.epoch,
                standing: standing(node),
                verdict: Verdict::Different,
                groups: groups.iter().map(|&group| group as u8).collect(),
                prints: packed,
                goes_on: at + 1 < count,
            }));
        }
        self.phase = Phase::Answering(round, Answer::begin(question.epoch, prints));
    }

    /// The other side has answered.
    pub(super) fn hear_answer(
        &mut self,
        answer: &Compared,
        with: &Surroundings<'_>,
    ) -> Result<(), OutOfTurn> {
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
                question.compare_slots(answer, with.shortened())?;
                if !answer.goes_on {
                    self.phase = question.descend(with.has_sketches);
                }
            }
        }
        Ok(())
    }

    /// The end of the epoch whose slots are being repaired.
    pub(super) fn repairs(&self) -> Option<Stamp> {
        match &self.phase {
            Phase::Asking(round, _) | Phase::Answering(round, _) | Phase::Counting(round) => {
                Some(end_of(round.epoch))
            }
            Phase::Idle | Phase::Asked(_) => None,
        }
    }

    /// The half that asks, while slots are repaired.
    pub(super) fn asking(&mut self) -> Result<&mut Descent, OutOfTurn> {
        match &mut self.phase {
            Phase::Asking(_, descent) => Ok(descent),
            Phase::Idle | Phase::Asked(_) | Phase::Answering(..) | Phase::Counting(_) => {
                Err(OutOfTurn)
            }
        }
    }

    /// The half that answers, while slots are repaired.
    pub(super) fn answering(&mut self) -> Result<&mut Answer, OutOfTurn> {
        match &mut self.phase {
            Phase::Answering(_, answer) => Ok(answer),
            Phase::Idle | Phase::Asked(_) | Phase::Asking(..) | Phase::Counting(_) => {
                Err(OutOfTurn)
            }
        }
    }

    /// The repair has ended at the other side, which had so many entries changed.
    pub(super) fn hear_repaired(
        &mut self,
        changed_there: u64,
        with: &mut Surroundings<'_>,
    ) -> Result<(), OutOfTurn> {
        let round = match std::mem::take(&mut self.phase) {
            Phase::Counting(round) => round,
            Phase::Answering(mut round, answer) => {
                let missed = u64::from(answer.has_missed_something());
                round.changed_here = with.found - round.found_before + missed;
                with.out.push(Control::Repaired(round.changed_here));
                round
            }
            Phase::Idle | Phase::Asked(_) | Phase::Asking(..) => return Err(OutOfTurn),
        };
        self.conclude(&round, round.changed_here.saturating_add(changed_there));
        Ok(())
    }

    fn conclude(&mut self, round: &Round, changed: u64) {
        self.ended = Some(round.epoch);
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
    fn compare_slots(&mut self, answer: &Compared, shortened: Shortened) -> Result<(), OutOfTurn> {
        let groups = || answer.groups.iter().map(|&group| usize::from(group));
        let theirs = answer.prints.chunks(shortened.bytes());
        let bytes = answer.groups.len() * GROUP_SLOTS * shortened.bytes();
        if answer.prints.len() != bytes || groups().any(|group| group >= GROUPS) {
            return Err(OutOfTurn);
        }
        for (slot, theirs) in groups().flat_map(slots_of).zip(theirs) {
            let mut ours = Vec::with_capacity(theirs.len());
            shortened.put(self.prints[slot], answer.epoch, &mut ours);
            if ours != theirs {
                self.differing.push(slot);
            }
        }
        Ok(())
    }

    /// Goes on with the slots that differ.
    fn descend(&mut self, has_sketches: bool) -> Phase {
        let mut round = self.round.clone();
        // Groups do differ. Where no slot seems to, something was missed.
        round.changed_here = u64::from(self.differing.is_empty());
        for slot in &self.differing {
            self.prints[*slot] = 0;
        }
        let slots = self.differing.iter().copied();
        let rest = groups::all(&self.prints);
        let descent = Descent::begin(round.epoch, has_sketches, slots, rest);
        Phase::Asking(round, descent)
    }
}

impl Surroundings<'_> {
    /// How fingerprints of slots cross.
    fn shortened(&self) -> Shortened {
        match self.has_sketches {
            true => Shortened::Two,
            false => Shortened::Four,
        }
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
