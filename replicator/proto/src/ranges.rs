//! A set of sequence numbers that grows mostly in order: everything up to a cumulative number, and runs beyond it.

use std::collections::BTreeMap;

/// Sequence numbers that arrived. Memory grows with the number of gaps, not of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    cumulative: u64,
    /// Runs beyond the cumulative number, as (after, up to): disjoint, not adjacent.
    runs: BTreeMap<u64, u64>,
}

impl Ranges {
    /// Everything up to and including `cumulative`.
    #[must_use]
    pub const fn up_to(cumulative: u64) -> Self {
        Self {
            cumulative,
            runs: BTreeMap::new(),
        }
    }

    /// Everything up to here has arrived.
    #[must_use]
    pub const fn cumulative(&self) -> u64 {
        self.cumulative
    }

    /// The number of runs beyond the cumulative number.
    #[must_use]
    pub fn gaps(&self) -> usize {
        self.runs.len()
    }

    /// Whether every number in `after + 1 ..= up_to` has arrived.
    #[must_use]
    pub fn contains(&self, after: u64, up_to: u64) -> bool {
        let after = after.max(self.cumulative);
        after >= up_to
            || self
                .runs
                .range(..=after)
                .next_back()
                .is_some_and(|(_, &end)| end >= up_to)
    }

    /// Adds `after + 1 ..= up_to`.
    pub fn insert(&mut self, after: u64, up_to: u64) {
        let (mut after, mut up_to) = (after.max(self.cumulative), up_to);
        if after >= up_to {
            return;
        }
        if let Some((&start, &end)) = self.runs.range(..=after).next_back()
            && end >= after
        {
            self.runs.remove(&start);
            (after, up_to) = (start, up_to.max(end));
        }
        while let Some((&start, &end)) = self.runs.range(after..=up_to).next() {
            self.runs.remove(&start);
            up_to = up_to.max(end);
        }
        if after <= self.cumulative {
            self.cumulative = up_to;
        } else {
            self.runs.insert(after, up_to);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set(inserts in prop::collection::vec((0u64..60, 0u64..8), 0..40), probe in (0u64..60, 0u64..8)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (after, len) in inserts {
                ranges.insert(after, after + len);
                set.extend(after + 1..=after + len);
            }
            let cumulative = (1..).take_while(|seq| set.contains(seq)).last().unwrap_or(0);
            prop_assert_eq!(ranges.cumulative(), cumulative);
            let (after, up_to) = (probe.0, probe.0 + probe.1);
            let expected = (after + 1..=up_to).all(|seq| set.contains(&seq));
            prop_assert_eq!(ranges.contains(after, up_to), expected);
        }
    }
}
