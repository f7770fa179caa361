//! Records whose keys are too large to keep others company. They wait here, out of the order of the log, and each travels
//! in a batch of its own when there is room for it; what was written after them goes on meanwhile.

use std::collections::VecDeque;

use crate::wire::batch::Range;

/// Records that may wait. Each is a gap in what the peer has, and beyond it everything waits.
const RECORDS_MAX: usize = 4096;

/// A record that was read, and left out of the batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Apart {
    /// What it is of the log.
    pub(super) range: Range,
    /// The keys that it names. Their state is looked up when they travel.
    pub(super) keys: Vec<Box<[u8]>>,
}

/// Keys that wait, with the records that their state will cover.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) ranges: Vec<Range>,
    pub(super) keys: Vec<Box<[u8]>>,
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
            it.keys == apart.keys && it.ranges.len() < RANGES_MAX
        });
        match same {
            Some(waiting) => waiting.ranges.push(apart.range),
            None => self.waiting.push_back(Waiting {
                ranges: vec![apart.range],
                keys: apart.keys.clone(),
            }),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let next = self.waiting.pop_front()?;
        self.records -= next.ranges.len();
        Some(next)
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
