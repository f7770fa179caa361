//! Records whose keys are too large to keep others company. They wait here, out of the order of the log, and each travels
//! in a batch of its own when there is room for it; what was written after them goes on meanwhile.

use std::collections::VecDeque;

use crate::{hlc::Stamp, wire::batch::Range};

/// Records that may wait. Each is a gap in what the peer has, and beyond it everything waits.
const RECORDS_MAX: usize = 4096;

/// A record that was read, and left out of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Apart {
    /// What it is of the log: a number for each key.
    pub(super) range: Range,
    /// When the keys changed.
    pub(super) stamp: Stamp,
    /// The keys that it names. Their state is looked up when they travel.
    pub(super) keys: Vec<Box<[u8]>>,
}

/// Keys that wait, with the records that their state will cover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) ranges: Vec<Range>,
    /// When the keys changed first.
    since: Stamp,
    pub(super) keys: Vec<Box<[u8]>>,
    /// Whether they fit into no batch together.
    is_split: bool,
}

impl Waiting {
    pub(super) fn is_split(&self) -> bool {
        self.is_split
    }

    /// The first key by itself with its number of each record, and the others, which wait on.
    pub(super) fn split(mut self) -> (Self, Option<Self>) {
        self.is_split = true;
        let rest = self.keys.split_off(self.keys.len().min(1));
        let others = |range: &Range| Range {
            after: range.after + 1,
            ..*range
        };
        let rest = (!rest.is_empty()).then(|| Self {
            ranges: self.ranges.iter().map(others).collect(),
            keys: rest,
            ..self.clone()
        });
        for range in &mut self.ranges {
            range.up_to = range.after + 1;
        }
        (self, rest)
    }
}

/// What waits for one peer, each key or unit once.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    records: usize,
}

impl Queue {
    pub(super) fn has_room(&self) -> bool {
        self.records < RECORDS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn push(&mut self, apart: &Apart) {
        self.records += 1;
        let same = self.waiting.iter_mut().find(|it| {
            // A batch has a limit of ranges, too.
            it.keys == apart.keys && !it.is_split && it.ranges.len() < RANGES_MAX
        });
        match same {
            Some(waiting) => waiting.ranges.push(apart.range),
            None => self.waiting.push_back(Waiting {
                ranges: vec![apart.range],
                since: apart.stamp,
                keys: apart.keys.clone(),
                is_split: false,
            }),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front()?;
        self.records -= next.ranges.len();
        Some(next)
    }

    pub(super) fn next_is_split(&self) -> bool {
        self.waiting.front().is_some_and(Waiting::is_split)
    }

    /// Takes the next one out with what `build` makes of it, or of its first key where it makes nothing of all together.
    pub(super) fn send_next<B>(
        &mut self,
        build: &mut dyn FnMut(&Waiting) -> Option<B>,
    ) -> Option<(Waiting, B)> {
        let next = self.pop()?;
        if !next.is_split
            && let Some(built) = build(&next)
        {
            return Some((next, built));
        }
        let (part, rest) = next.split();
        rest.into_iter().for_each(|rest| self.put_back(rest));
        let built = build(&part)?;
        Some((part, built))
    }

    /// It goes on waiting, as the next one.
    fn put_back(&mut self, waiting: Waiting) {
        self.records += waiting.ranges.len();
        self.waiting.push_front(waiting);
    }

    /// When the first of the keys changed that wait.
    pub(super) fn since(&self) -> Option<Stamp> {
        self.waiting.iter().map(|waiting| waiting.since).min()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Records that one batch leaves out or makes up for: the number of its ranges is a byte.
pub(super) const RANGES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(seq: u64, key: &[u8]) -> Apart {
        Apart {
            range: Range {
                lane: 3,
                after: seq - 1,
                up_to: seq,
            },
            stamp: Stamp(seq),
            keys: vec![key.into()],
        }
    }

    #[test]
    fn a_key_that_changed_again_travels_once_for_all_of_its_records() {
        let mut queue = Queue::default();
        for (seq, key) in [(1, b"a"), (2, b"b"), (5, b"a")] {
            queue.push(&apart(seq, key));
        }
        let first = queue.pop().unwrap();
        let records: Vec<u64> = first.ranges.iter().map(|range| range.up_to).collect();
        assert_eq!((records, &first.keys[0][..]), (vec![1, 5], &b"a"[..]));
        assert_eq!(queue.pop().unwrap().ranges.len(), 1);
        assert!(queue.is_empty() && queue.pop().is_none());
    }

    #[test]
    fn what_fits_into_no_batch_is_split_into_its_keys() {
        let mut queue = Queue::default();
        for after in [10, 20] {
            let range = Range {
                lane: 3,
                after,
                up_to: after + 2,
            };
            let keys = [b"a", b"b"].map(|key| key.as_slice().into()).to_vec();
            let stamp = Stamp(after);
            queue.push(&Apart { range, stamp, keys });
        }
        let numbers = |waiting: &Waiting| -> Vec<_> {
            let ranges = waiting.ranges.iter();
            ranges.map(|range| (range.after, range.up_to)).collect()
        };
        let (first, rest) = queue.pop().unwrap().split();
        queue.put_back(rest.unwrap());
        assert_eq!(numbers(&first), [(10, 11), (20, 21)]);
        assert_eq!(
            (&first.keys[0][..], queue.since()),
            (&b"a"[..], Some(Stamp(10)))
        );
        let (last, rest) = queue.pop().unwrap().split();
        assert_eq!(numbers(&last), [(11, 12), (21, 22)]);
        assert_eq!((&last.keys[0][..], rest), (&b"b"[..], None));
        assert!(queue.is_empty() && queue.has_room());
    }

    #[test]
    fn records_that_wait_are_few_and_so_are_those_of_one_batch() {
        let mut queue = Queue::default();
        let mut seq = 0;
        while queue.has_room() {
            seq += 1;
            queue.push(&apart(seq, b"hot"));
        }
        assert_eq!(seq, RECORDS_MAX as u64);
        while let Some(next) = queue.pop() {
            assert!(next.ranges.len() <= RANGES_MAX);
            assert!(queue.has_room());
        }
    }
}
