//! Regions whose own link is broken are equal when both are equal to a third one: they do not compare with each other.
//!
//! What the third region lacked when it compared itself with one of them may have come to it from the other since. So each
//! must have been found equal to it twice: once after the question, and again after both were seen to have been. What one end
//! held at the question is then in the third region by the first time, and at the other end by the second.
//!
//! ```text
//!  asked ──▶ a and b equal, b and c equal ──▶ seen: asked anew ──▶ a and b equal, b and c equal ──▶ a and c are, via b
//! ```

use std::collections::BTreeMap;

use super::pairs::Pair;

/// Names of two regions, in their order.
type Ends<'a> = [&'a str; 2];

/// What was seen of the ways around broken links so far.
#[derive(Debug, Default)]
pub(super) struct Detours {
    /// When both ends of a link had been found equal to a third region, in milliseconds since the Unix epoch.
    met_at_ms: BTreeMap<[String; 3], u64>,
}

impl Detours {
    /// Takes in what regions say at `now_ms`, and marks those as equal that are so by way of a third one.
    pub(super) fn look(&mut self, pairs: &mut [Pair], asked_at_ms: u64, now_ms: u64) {
        let mut found = BTreeMap::new();
        let direct = equalities(pairs);
        for pair in pairs.iter().filter(|pair| pair.is_broken && !pair.equal) {
            let ends = ends(&pair.region, &pair.peer);
            if let Some(way) = self.way(ends, &direct, asked_at_ms, now_ms) {
                found.insert(ends.map(str::to_owned), way);
            }
        }
        for pair in pairs.iter_mut().filter(|pair| !pair.equal) {
            let ends = ends(&pair.region, &pair.peer).map(str::to_owned);
            if let Some((as_of_ms, third)) = found.get(&ends) {
                pair.reach(third, *as_of_ms);
            }
        }
    }

    /// Up to when both ends held what a third region did, and which: the one that reaches furthest.
    fn way(
        &mut self,
        [one, other]: Ends<'_>,
        direct: &BTreeMap<Ends<'_>, u64>,
        asked_at_ms: u64,
        now_ms: u64,
    ) -> Option<(u64, String)> {
        let regions = direct.keys().flatten().copied();
        let thirds = regions.filter(|third| ![one, other].contains(third));
        let mut best = None;
        for third in thirds {
            let legs = [one, other].map(|end| direct.get(&ends(end, third)));
            let [Some(first), Some(second)] = legs else {
                continue;
            };
            if first.min(second) < &asked_at_ms {
                continue;
            }
            let way = [one, other, third].map(str::to_owned);
            // A comparison of a later epoch has ended later, whatever the clock here says.
            let met = self.met_at_ms.entry(way);
            let met_at_ms = *met.or_insert_with(|| now_ms.max(*first).max(*second));
            if *first.min(second) > met_at_ms {
                best = best.max(Some((*first.min(second), third.to_owned())));
            }
        }
        best
    }
}

/// Up to when regions have found each other equal, whichever of the two has said so.
fn equalities(pairs: &[Pair]) -> BTreeMap<Ends<'_>, u64> {
    let mut direct = BTreeMap::new();
    for pair in pairs {
        if let Some(as_of_ms) = pair.equal_as_of_ms {
            let known = direct.entry(ends(&pair.region, &pair.peer)).or_default();
            *known = as_of_ms.max(*known);
        }
    }
    direct
}

fn ends<'a>(one: &'a str, other: &'a str) -> Ends<'a> {
    [one.min(other), one.max(other)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: u64 = 1_000;

    /// What three regions say of which the first and the last have no link.
    fn said(a_b: u64, b_c: u64) -> Vec<Pair> {
        let pair = |region: &str, peer: &str, as_of: Option<u64>| Pair {
            region: region.into(),
            peer: peer.into(),
            equal: as_of.is_some_and(|as_of| as_of >= ASKED),
            equal_as_of_ms: as_of,
            is_broken: as_of.is_none(),
            hindrance: as_of.is_none().then(|| "the link is down".into()),
            ..Pair::default()
        };
        vec![
            pair("a", "b", Some(a_b)),
            pair("a", "c", None),
            pair("b", "c", Some(b_c)),
        ]
    }

    fn via(detours: &mut Detours, mut pairs: Vec<Pair>, now_ms: u64) -> Option<(String, u64)> {
        detours.look(&mut pairs, ASKED, now_ms);
        let found = pairs.remove(1);
        assert_eq!(
            (found.equal, found.hindrance.is_none()),
            (found.via.is_some(), found.via.is_some())
        );
        found.via.zip(found.equal_as_of_ms)
    }

    #[test]
    fn both_ends_are_equal_as_of_the_earlier_of_two_equalities() {
        let mut detours = Detours::default();
        assert_eq!(
            via(&mut detours, said(2_000, 3_000), 3_500),
            None,
            "seen once"
        );
        assert_eq!(
            via(&mut detours, said(5_000, 4_000), 5_500),
            Some(("b".into(), 4_000))
        );
    }

    /// What came to b from a after it had compared itself with c is not in c.
    #[test]
    fn a_leg_that_was_found_equal_only_before_both_had_been_does_not_count() {
        let mut detours = Detours::default();
        assert_eq!(via(&mut detours, said(999, 2_000), 2_500), None);
        for (a_b, b_c) in [(3_000, 2_000), (9_000, 2_000), (9_000, 3_000)] {
            assert_eq!(via(&mut detours, said(a_b, b_c), 3_500), None);
        }
        let way = Some(("b".into(), 4_000));
        assert_eq!(via(&mut detours, said(9_000, 4_000), 9_500), way);
    }

    #[test]
    fn a_clock_that_is_behind_those_of_the_nodes_takes_nothing_for_newer() {
        let mut detours = Detours::default();
        for (a_b, b_c) in [(5_000, 4_000), (5_000, 9_000)] {
            assert_eq!(via(&mut detours, said(a_b, b_c), 0), None);
        }
        let way = Some(("b".into(), 6_000));
        assert_eq!(via(&mut detours, said(6_000, 9_000), 0), way);
    }

    #[test]
    fn a_link_that_is_up_is_compared_over_itself() {
        let mut detours = Detours::default();
        for as_of in [2_000, 5_000] {
            let mut pairs = said(as_of, as_of);
            pairs[1].is_broken = false;
            assert_eq!(via(&mut detours, pairs, as_of + 500), None);
        }
    }
}
