//! Sketches: what two sets of names have not in common, in four bytes for each such name, however large the sets are.
//!
//! A sketch of capacity `c` is the sums of the names to the powers 1, 3, 5 … 2c − 1, as elements of a [field](super::field).
//! What both sides have cancels out when two sketches are added. Of what is left, fewer than `c` names, the sums say which
//! polynomial has exactly these names as its roots: the *locator*. A side finds its own names among them by trying them,
//! and what is left when these are divided out has the other side's names as its roots, so that it can be sent to there in
//! place of names. (Dodis et al., "Fuzzy extractors", 2008, PinSketch; the locator is found as in a BCH code, after Berlekamp
//! and Massey.)
//!
//! Of a set that is not smaller than the capacity, a list is as short, and cheaper.

use super::field::{Factor, invert, multiply, square};

/// The largest capacity of a sketch: reading one takes a time that grows with its square.
pub(super) const CAPACITY_MAX: usize = 64;

/// The sketch of a set of names, no two of which are equal. A name of zero does not show.
pub(super) fn sketch(names: &[u32], capacity: usize) -> Vec<u32> {
    let squares: Vec<Factor> = names
        .iter()
        .map(|name| Factor::new(square(*name)))
        .collect();
    let mut powers = names.to_vec();
    let mut sums = Vec::with_capacity(capacity);
    for _ in 0..capacity {
        let mut sum = 0;
        // One name after the other, so that the processor need not wait for a product before it begins the next.
        for (power, square) in powers.iter_mut().zip(&squares) {
            sum ^= *power;
            *power = square.times(*power);
        }
        sums.push(sum);
    }
    sums
}

/// A polynomial whose roots are names, without its highest term; the lowest comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Locator(Vec<u32>);

impl Locator {
    /// As it was sent.
    pub(super) fn from_terms(terms: Vec<u32>) -> Self {
        Self(terms)
    }

    pub(super) fn terms(&self) -> &[u32] {
        &self.0
    }

    /// The locator of the names that only one of two sets has, of the sum of their sketches. `None` when these are not
    /// fewer than the sketches' capacity.
    pub(super) fn find(sums: &[u32]) -> Option<Self> {
        let mut found = Recurrence::default();
        for sum in sums {
            found.learn(*sum);
        }
        // What is no sum of few names takes all that the capacity allows, as a rule: nothing is made of that.
        (found.length < sums.len()).then(|| found.locator())?
    }

    /// How many roots it has.
    pub(super) fn degree(&self) -> usize {
        self.0.len()
    }

    /// Whether a name is one of its roots.
    #[inline]
    pub(super) fn has_root(&self, name: u32) -> bool {
        let name = Factor::new(name);
        let value = self
            .0
            .iter()
            .rev()
            .fold(1, |value, term| name.times(value) ^ term);
        value == 0
    }

    /// Divides out those of `names` that are roots, and returns them.
    pub(super) fn take_roots(&mut self, names: &[u32]) -> Vec<u32> {
        let mut taken = Vec::new();
        for name in names {
            if self.has_root(*name) {
                self.divide(*name);
                taken.push(*name);
            }
        }
        taken
    }

    /// Divides by the difference to a root.
    fn divide(&mut self, root: u32) {
        let root = Factor::new(root);
        let mut carried = 1;
        for term in self.0.iter_mut().rev() {
            carried = *term ^ root.times(carried);
            *term = carried;
        }
        // What is left over, which is zero.
        self.0.remove(0);
    }
}

/// The shortest recurrence that sums of powers follow, as far as they were looked at.
#[derive(Debug)]
struct Recurrence {
    /// The sums of all powers, from the first on: those of even powers are squares.
    sums: Vec<u32>,
    /// Its factors, up to one that all have in common.
    terms: Vec<u32>,
    /// How many earlier sums it takes to say the next.
    length: usize,
    /// The terms before `length` last grew, what they missed then, and how many sums ago that was.
    before: (Vec<u32>, u32, usize),
}

impl Default for Recurrence {
    fn default() -> Self {
        Self {
            sums: Vec::new(),
            terms: vec![1],
            length: 0,
            before: (vec![1], 1, 1),
        }
    }
}

impl Recurrence {
    /// Looks at the sum of the next odd power.
    fn learn(&mut self, sum: u32) {
        if let Some(last) = self.sums.len().checked_sub(1) {
            // Of the even power in between, the square of its half's, nothing is missed.
            self.sums.push(square(self.sums[last / 2]));
            self.before.2 += 1;
        }
        self.sums.push(sum);
        let missed = self.missed();
        if missed != 0 {
            self.correct(missed);
        }
        self.before.2 += usize::from(missed == 0);
    }

    /// What the last sum is off from what the recurrence says of it.
    fn missed(&self) -> u32 {
        let pairs = self.terms.iter().zip(self.sums.iter().rev());
        pairs.fold(0, |all, (term, sum)| all ^ multiply(*term, *sum))
    }

    fn correct(&mut self, missed: u32) {
        let (old, old_missed, ago) = &self.before;
        let (missed_factor, old_factor) = (Factor::new(missed), Factor::new(*old_missed));
        let mut terms: Vec<u32> = self
            .terms
            .iter()
            .map(|term| old_factor.times(*term))
            .collect();
        terms.resize(terms.len().max(old.len() + ago), 0);
        for (term, old) in terms[*ago..].iter_mut().zip(old) {
            *term ^= missed_factor.times(*old);
        }
        let terms = std::mem::replace(&mut self.terms, terms);
        let seen = self.sums.len();
        if 2 * self.length < seen {
            self.length = seen - self.length;
            self.before = (terms, missed, 1);
        } else {
            self.before.2 += 1;
        }
    }

    /// The polynomial that has the names as its roots, if there can be such.
    fn locator(mut self) -> Option<Locator> {
        self.terms.resize(self.length + 1, 0);
        // A root of zero is no name.
        let is_sound = self.terms[self.length] != 0;
        let normal = Factor::new(invert(self.terms[0]));
        let terms = self.terms[1..].iter().rev();
        is_sound.then(|| Locator(terms.map(|term| normal.times(*term)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn sum(a: &[u32], b: &[u32]) -> Vec<u32> {
        a.iter().zip(b).map(|(a, b)| a ^ b).collect()
    }

    /// What only one of two sets has: found by the second, of the first's sketch.
    fn compare(first: &[u32], second: &[u32], capacity: usize) -> Option<(Locator, Vec<u32>)> {
        let mut locator = Locator::find(&sum(&sketch(first, capacity), &sketch(second, capacity)))?;
        let found = locator.take_roots(second);
        Some((locator, found))
    }

    fn names(count: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<u32>> {
        let set = prop::collection::btree_set(1..=u32::MAX, count);
        set.prop_map(|set: BTreeSet<u32>| set.into_iter().collect())
    }

    proptest! {
        #[test]
        fn a_sketch_tells_what_either_side_alone_has(
            all in names(0..120),
            split in any::<(prop::sample::Index, prop::sample::Index)>(),
            spare in 1..10_usize,
        ) {
            let one = split.0.index(all.len() + 1).min(CAPACITY_MAX / 2);
            let two = one + split.1.index(all.len() - one + 1).min(CAPACITY_MAX / 2 - 1);
            let (mine, theirs, both) = (&all[..one], &all[one..two], &all[two..]);
            let (first, second) = ([mine, both].concat(), [both, theirs].concat());
            let (locator, found) = compare(&first, &second, two + spare).unwrap();
            prop_assert_eq!(found, theirs);
            prop_assert_eq!(locator.degree(), mine.len());
            let roots = first.iter().copied().filter(|name| locator.has_root(*name));
            prop_assert_eq!(roots.collect::<Vec<_>>(), mine);
            prop_assert!(!second.iter().any(|name| locator.has_root(*name)));
        }

        #[test]
        fn of_more_than_fits_nothing_is_found(all in names(3..200), capacity in 1..CAPACITY_MAX) {
            let capacity = capacity.min(all.len());
            prop_assert_eq!(compare(&all, &[], capacity), None);
        }

        #[test]
        fn garbage_has_an_end(sums in prop::collection::vec(any::<u32>(), 0..=CAPACITY_MAX), own in names(0..50)) {
            if let Some(mut locator) = Locator::find(&sums) {
                let degree = locator.degree();
                let found = locator.take_roots(&own);
                prop_assert!(degree < sums.len() && found.len() + locator.degree() == degree);
            }
        }
    }

    #[test]
    fn sets_that_are_equal_have_a_locator_without_roots() {
        let (locator, found) = compare(&[3, 7], &[7, 3], 1).unwrap();
        assert_eq!((locator.degree(), found), (0, vec![]));
    }
}
