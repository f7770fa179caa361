//! A walk over the whole keyspace, for a peer that lacks what the log cannot tell it: it started empty, or the log dropped
//! records that it had not read.
//!
//! The walk goes around: where the log drops more while it is under way, it goes on from where it stands until it is there
//! again, so what was sent is not sent once more from the start. A link that is lost costs what was in flight on it.
//!
//! What goes with a key ([`Found`]) goes before its turn, so that the peer, which may serve clients, never shows a part of
//! a unit that is still remembered.

use std::mem;

use super::{
    build::{Built, Found},
    send::Part,
};
use crate::{
    hlc::Version,
    lives::Known,
    log::Units,
    store::Store,
    wire::batch::{self, Range},
};

/// A walk under way.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Where the walk stands; `None` when it has been everywhere.
    position: Option<u64>,
    /// Where it began, and where it ends.
    origin: u64,
    /// Whether it has come around.
    is_around: bool,
    /// Keys of the last step that were not sent with it, and where that step began.
    found: Found,
    step: Step,
    /// Whether the newest flush has still to be told.
    owes_flush: bool,
    /// What the log held when it began.
    covers: Vec<Range>,
    /// The lives that this node knew then.
    known: Known,
    batches_in_flight: usize,
    /// How often it was extended.
    lap: u32,
}

/// Where the walk was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step {
    position: u64,
    is_around: bool,
}

/// Where a part of a sweep was, to go back there when it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    step: Step,
    has_flush: bool,
}

/// What comes next of a sweep or of a repair.
pub(super) struct Piece {
    pub(super) part: Part,
    pub(super) built: Built,
}

impl Sweep {
    /// A walk that stands for the records in `covers`, begun when this node knew of `known` lives.
    pub(super) fn begin(covers: Vec<Range>, known: Known) -> Self {
        Self {
            position: Some(0),
            origin: 0,
            is_around: false,
            found: Found::default(),
            step: Step::default(),
            owes_flush: true,
            covers,
            known,
            batches_in_flight: 0,
            lap: 0,
        }
    }

    /// Stands for other records, too: goes on until it is where it stands now.
    pub(super) fn extend(&mut self, covers: Vec<Range>) {
        let here = self.position.unwrap_or(0);
        (self.position, self.origin) = (Some(here), here);
        (self.is_around, self.owes_flush) = (false, true);
        self.found.renew();
        self.covers = covers;
        self.lap += 1;
    }

    /// Whether there is something to send.
    pub(super) fn is_due(&self) -> bool {
        self.position.is_some() || self.found.is_waiting() || self.batches_in_flight == 0
    }

    /// The last number of a lane that it covers.
    pub(super) fn covers_up_to(&self, lane: usize) -> u64 {
        let of_lane = self.covers.iter().filter(|range| range.lane == lane);
        of_lane.map(|range| range.up_to).max().unwrap_or(0)
    }

    /// What comes next, if something is to be sent: a piece of about `bytes`, or the end once all pieces have arrived.
    pub(super) fn next<S: Store>(
        &mut self,
        (units, store): (&Units, &S),
        bytes: usize,
    ) -> Option<Piece> {
        let step = match self.here() {
            _ if self.found.is_waiting() => self.step,
            Some(here) => here,
            None => return (self.batches_in_flight == 0).then(|| self.end()),
        };
        let place = Place {
            step,
            has_flush: mem::take(&mut self.owes_flush),
        };
        let mut built = Built::default();
        if place.has_flush && store.flushed() > Version::ZERO {
            batch::put_flush(store.flushed(), &mut built.items);
        }
        let mut found = mem::take(&mut self.found);
        found.collect((units, store), bytes, &mut built, &mut |bytes, visit| {
            let Some(here) = self.here() else {
                return false;
            };
            self.step = here;
            self.move_to(store.sweep(here.position, bytes, visit));
            true
        });
        self.found = found;
        self.batches_in_flight += 1;
        Some(Piece {
            part: Part::Sweep(place),
            built,
        })
    }

    /// Where the walk stands.
    fn here(&self) -> Option<Step> {
        let is_around = self.is_around;
        self.position.map(|position| Step {
            position,
            is_around,
        })
    }

    fn move_to(&mut self, next: Option<u64>) {
        self.position = match next {
            Some(next) => Some(next),
            None if self.is_around || self.origin == 0 => None,
            None => {
                self.is_around = true;
                Some(0)
            }
        };
        if self.is_around
            && self
                .position
                .is_some_and(|position| position >= self.origin)
        {
            self.position = None;
        }
    }

    /// Everything swept has arrived: what the log held before counts as delivered.
    fn end(&mut self) -> Piece {
        self.batches_in_flight += 1;
        Piece {
            part: Part::SweepEnd(self.lap),
            built: Built {
                ranges: self.covers.clone(),
                ..Built::default()
            },
        }
    }

    /// A piece has arrived.
    pub(super) fn acknowledge(&mut self) {
        self.batches_in_flight -= 1;
    }

    /// The end of a lap has arrived. Returns whether nothing was added behind it.
    pub(super) fn acknowledge_end(&mut self, lap: u32) -> bool {
        self.batches_in_flight -= 1;
        lap == self.lap
    }

    /// Tells which lives were known when it began.
    pub(super) fn finish(self) -> Known {
        self.known
    }

    /// The link is gone, and with it what was in flight: goes back to the first piece of `lost`.
    pub(super) fn go_back(&mut self, lost: Option<Place>) {
        self.batches_in_flight = 0;
        let place = lost.or_else(|| {
            // What waits was found by a step that has arrived otherwise.
            let is_waiting = self.found.is_waiting();
            is_waiting.then_some(Place {
                step: self.step,
                has_flush: false,
            })
        });
        self.found.start_over();
        if let Some(Place { step, has_flush }) = place {
            self.position = Some(step.position);
            self.is_around = step.is_around;
            self.owes_flush |= has_flush;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        entry::{EntryRef, layout},
        hlc::Clock,
        log::Log,
        slots::KeyHash,
        store::stub::Stub,
    };

    /// A keyspace of ten keys at ten positions.
    fn ten() -> impl Store {
        Stub {
            export: |keys: &[&[u8]], visit: &mut dyn FnMut(&[u8])| visit(&absent(keys[0])),
            sweep: |position: u64, visit: &mut dyn FnMut(&[u8])| {
                visit(&absent(&position.to_le_bytes()));
                (position < 9).then_some(position + 1)
            },
            list: |_, _: &mut dyn FnMut(KeyHash, &[u8])| {},
        }
    }

    fn absent(key: &[u8]) -> Box<[u8]> {
        layout::to_box(&EntryRef::absent(key, Version::ZERO))
    }

    fn next(sweep: &mut Sweep) -> Option<Piece> {
        let units = Log::new(Clock::new(Duration::ZERO), 0, 0);
        sweep.next((units.units(), &ten()), 1)
    }

    fn places(sweep: &mut Sweep, count: usize) -> Vec<Place> {
        let mut next = || match next(sweep)?.part {
            Part::Sweep(place) => Some(place),
            Part::Log | Part::Apart | Part::SweepEnd(_) | Part::Push => None,
        };
        (0..count).map_while(|_| next()).collect()
    }

    fn positions(sweep: &mut Sweep, count: usize) -> Vec<u64> {
        let places = places(sweep, count);
        places.iter().map(|place| place.step.position).collect()
    }

    #[test]
    fn goes_everywhere_once_and_ends_when_all_has_arrived() {
        let mut sweep = Sweep::begin(Vec::new(), Known::default());
        assert_eq!(positions(&mut sweep, 99), (0..10).collect::<Vec<_>>());
        assert!(next(&mut sweep).is_none(), "nothing has arrived yet");
        (0..10).for_each(|_| sweep.acknowledge());
        assert!(sweep.is_due());
        let end = next(&mut sweep).map(|piece| piece.part);
        assert_eq!(end, Some(Part::SweepEnd(0)));
        assert!(!sweep.is_due(), "once");
    }

    #[test]
    fn goes_around_from_where_it_stood_when_the_log_dropped_more() {
        let mut sweep = Sweep::begin(Vec::new(), Known::default());
        positions(&mut sweep, 4);
        sweep.extend(Vec::new());
        let around: Vec<u64> = (4..10).chain(0..4).collect();
        assert_eq!(positions(&mut sweep, 99), around);
    }

    #[test]
    fn the_end_of_an_earlier_lap_is_no_end() {
        let mut sweep = Sweep::begin(Vec::new(), Known::default());
        positions(&mut sweep, 99);
        (0..10).for_each(|_| sweep.acknowledge());
        assert!(next(&mut sweep).is_some());
        sweep.extend(Vec::new());
        positions(&mut sweep, 99);
        (0..10).for_each(|_| sweep.acknowledge());
        assert!(!sweep.acknowledge_end(0));
        assert!(next(&mut sweep).is_some());
        assert!(sweep.acknowledge_end(1));
    }

    #[test]
    fn goes_back_to_what_was_lost_and_no_further() {
        let mut sweep = Sweep::begin(Vec::new(), Known::default());
        let sent = places(&mut sweep, 6);
        (0..4).for_each(|_| sweep.acknowledge());
        sweep.go_back(Some(sent[4]));
        assert_eq!(positions(&mut sweep, 99), (4..10).collect::<Vec<_>>());
    }
}
