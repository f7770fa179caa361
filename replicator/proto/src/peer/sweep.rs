//! A walk over the whole keyspace, for a peer that lacks what the log cannot tell it: it started empty, or the log dropped
//! records that it had not read.
//!
//! The walk goes around: where the log drops more while it is under way, it goes on from where it stands until it is there
//! again, so what was sent is not sent once more from the start. A link that is lost costs what was in flight on it.

use std::mem;

use super::send::Part;
use crate::{hlc::Version, lives::Known, store::Store, wire::batch, wire::batch::Range};

/// A walk under way.
#[derive(Debug)]
pub(super) struct Sweep {
    /// Where the walk stands; `None` when it has been everywhere.
    position: Option<u64>,
    /// Where it began, and where it ends.
    origin: u64,
    /// Whether it has come around.
    is_around: bool,
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

/// Where a part of a sweep was, to go back there when it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    position: u64,
    is_around: bool,
    has_flush: bool,
}

/// What comes next of a sweep.
pub(super) struct Piece {
    pub(super) part: Part,
    pub(super) items: Vec<u8>,
    pub(super) ranges: Vec<Range>,
    pub(super) updates: u64,
}

impl Sweep {
    /// A walk that stands for the records in `covers`, begun when this node knew of `known` lives.
    pub(super) fn begin(covers: Vec<Range>, known: Known) -> Self {
        Self {
            position: Some(0),
            origin: 0,
            is_around: false,
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
        self.covers = covers;
        self.lap += 1;
    }

    /// Whether there is something to send.
    pub(super) fn is_due(&self) -> bool {
        self.position.is_some() || self.batches_in_flight == 0
    }

    /// The last number of a lane that it covers.
    pub(super) fn covers_up_to(&self, lane: usize) -> u64 {
        let of_lane = self.covers.iter().filter(|range| range.lane == lane);
        of_lane.map(|range| range.up_to).max().unwrap_or(0)
    }

    /// What comes next, if something is to be sent: a piece of about `bytes`, or the end once all pieces have arrived.
    pub(super) fn next<S: Store>(&mut self, store: &S, bytes: usize) -> Option<Piece> {
        let Some(position) = self.position else {
            return (self.batches_in_flight == 0).then(|| self.end());
        };
        let place = Place {
            position,
            is_around: self.is_around,
            has_flush: mem::take(&mut self.owes_flush),
        };
        let (mut items, mut updates) = (Vec::new(), 0);
        if place.has_flush && store.flushed() > Version::ZERO {
            batch::put_flush(store.flushed(), &mut items);
        }
        let next = store.sweep(position, bytes, &mut |entry| {
            batch::put_entry(entry, &mut items);
            updates += 1;
        });
        self.move_to(next);
        self.batches_in_flight += 1;
        Some(Piece {
            part: Part::Sweep(place),
            items,
            ranges: Vec::new(),
            updates,
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
            items: Vec::new(),
            ranges: self.covers.clone(),
            updates: 0,
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
        if let Some(place) = lost {
            self.position = Some(place.position);
            self.is_around = place.is_around;
            self.owes_flush |= place.has_flush;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        entry::{EntryRef, layout},
        store::stub::Stub,
    };

    /// A keyspace of ten keys at ten positions.
    fn ten() -> impl Store {
        Stub {
            export: |_: &[&[u8]], _: &mut dyn FnMut(&[u8])| {},
            sweep: |position, visit: &mut dyn FnMut(&[u8])| {
                visit(&layout::to_box(&EntryRef::absent(b"key", Version::ZERO)));
                (position < 9).then_some(position + 1)
            },
        }
    }

    fn places(sweep: &mut Sweep, count: usize) -> Vec<Place> {
        let mut next = || match sweep.next(&ten(), 1)?.part {
            Part::Sweep(place) => Some(place),
            Part::Log | Part::Apart | Part::SweepEnd(_) | Part::Push => None,
        };
        (0..count).map_while(|_| next()).collect()
    }

    fn positions(sweep: &mut Sweep, count: usize) -> Vec<u64> {
        let places = places(sweep, count);
        places.iter().map(|place| place.position).collect()
    }

    #[test]
    fn goes_everywhere_once_and_ends_when_all_has_arrived() {
        let mut sweep = Sweep::begin(Vec::new(), Known::default());
        assert_eq!(positions(&mut sweep, 99), (0..10).collect::<Vec<_>>());
        assert!(sweep.next(&ten(), 1).is_none(), "nothing has arrived yet");
        (0..10).for_each(|_| sweep.acknowledge());
        assert!(sweep.is_due());
        let end = sweep.next(&ten(), 1).map(|piece| piece.part);
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
        assert!(sweep.next(&ten(), 1).is_some());
        sweep.extend(Vec::new());
        positions(&mut sweep, 99);
        (0..10).for_each(|_| sweep.acknowledge());
        assert!(!sweep.acknowledge_end(0));
        assert!(sweep.next(&ten(), 1).is_some());
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
