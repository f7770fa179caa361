//! Which regions were added to a cluster, and removed from it, while it ran: a small register that nodes tell each other.
//!
//! What nodes were configured with at their start is not in it. Of two records of a region the one that knows of more
//! removals wins, then the later one: so a removal is not undone by somebody who had not heard of it. Joining is
//! commutative, associative and idempotent, so any node may be told, in any order, and all come to agree.
//!
//! It does not know what becomes of a region's link: that is [`crate::roster`].

use serde::{Deserialize, Serialize};

use crate::hlc::{Origin, Stamp};

/// The longest name of a region, in bytes.
const NAME_BYTES_MAX: usize = 63;
/// The longest address: a host name of 253 bytes, and a port.
const ADDRESS_BYTES_MAX: usize = 253 + 1 + 5;
/// More removals of one region than that are a mistake; they share a number with an incarnation.
pub(crate) const REMOVALS_MAX: u16 = u16::MAX - 1;

/// What was decided of one region last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// How often the region was removed.
    pub removals: u16,
    /// When this was decided.
    pub stamp: Stamp,
    /// Its number.
    pub id: u8,
    /// Its name.
    pub region: String,
    /// Where its replication port is, as host:port; none once it was removed.
    pub address: Option<String>,
    /// A node of it that began before this does not belong to the cluster: what it holds may have been deleted, and the
    /// deletion forgotten, when it was not waited for.
    pub since: Stamp,
}

/// A register of members that no node makes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("members: {0}")]
pub struct BadMembers(&'static str);

/// The register: at most one record a region, in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Members(Vec<Member>);

impl Members {
    /// All records.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.0.iter()
    }

    /// Whether nothing was decided.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was decided of a region.
    #[must_use]
    pub fn of(&self, origin: Origin) -> Option<&Member> {
        let place = self.0.binary_search_by_key(&origin.0, |member| member.id);
        place.ok().map(|at| &self.0[at])
    }

    /// Takes in a record. Returns whether that changed anything.
    pub fn put(&mut self, member: Member) -> bool {
        match self.0.binary_search_by_key(&member.id, |held| held.id) {
            Ok(at) if self.0[at] >= member => false,
            Ok(at) => {
                self.0[at] = member;
                true
            }
            Err(at) => {
                self.0.insert(at, member);
                true
            }
        }
    }

    /// Whether `other` tells nothing that is not known here.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let is_known = |theirs: &Member| {
            self.of(Origin(theirs.id))
                .is_some_and(|ours| ours >= theirs)
        };
        other.iter().all(is_known)
    }

    /// The latest time in any record.
    #[must_use]
    pub fn newest(&self) -> Stamp {
        let stamps = self.iter().map(|member| member.stamp.max(member.since));
        stamps.max().unwrap_or(Stamp::ZERO)
    }

    /// Checks what came from somewhere else.
    ///
    /// # Errors
    /// [`BadMembers`] when a record is out of bounds or out of order.
    pub fn check(&self) -> Result<(), BadMembers> {
        let is_ordered = self.0.windows(2).all(|two| two[0].id < two[1].id);
        let checks: [(bool, &'static str); 2] = [
            (is_ordered, "records are out of order"),
            (
                self.iter().all(Member::is_sound),
                "a record is out of bounds",
            ),
        ];
        let failed = checks.into_iter().find(|(holds, _)| !holds);
        failed.map_or(Ok(()), |(_, problem)| Err(BadMembers(problem)))
    }
}

impl Member {
    /// Whether a node could have made it.
    fn is_sound(&self) -> bool {
        (1..=Origin::MAX).contains(&self.id)
            && is_name(&self.region)
            && self.address.as_deref().is_none_or(is_address)
            && self.removals <= REMOVALS_MAX
    }
}

/// Whether a text may name a region.
pub(crate) fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_letter)
}

/// Whether a text may be a host and a port.
pub(crate) fn is_address(text: &str) -> bool {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    let parts = text.rsplit_once(':');
    let is_whole = parts.is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    is_visible && is_whole && text.len() <= ADDRESS_BYTES_MAX
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn member() -> impl Strategy<Value = Member> {
        (1u8..4, 0u16..3, 0u64..4, any::<bool>(), 0u64..2).prop_map(
            |(id, removals, stamp, is_present, since)| Member {
                removals,
                stamp: Stamp(stamp),
                id,
                region: format!("r{id}"),
                address: is_present.then(|| "r.example:1".to_owned()),
                since: Stamp(since),
            },
        )
    }

    fn members() -> impl Strategy<Value = Members> {
        prop::collection::vec(member(), 0..6).prop_map(|all| {
            let mut members = Members::default();
            all.into_iter().for_each(|one| {
                members.put(one);
            });
            members
        })
    }

    fn join(a: &Members, b: &Members) -> Members {
        let mut joined = a.clone();
        b.iter().for_each(|member| {
            joined.put(member.clone());
        });
        joined
    }

    proptest! {
        #[test]
        fn joining_is_commutative_associative_and_idempotent(a in members(), b in members(), c in members()) {
            prop_assert_eq!(join(&a, &b), join(&b, &a));
            prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
            prop_assert_eq!(join(&a, &a), a.clone());
            prop_assert!(join(&a, &b).includes(&a) && join(&a, &b).includes(&b));
            prop_assert_eq!(a.includes(&b), join(&a, &b) == a);
            prop_assert!(join(&a, &b).check().is_ok());
        }
    }

    fn removed(removals: u16, stamp: u64) -> Member {
        Member {
            removals,
            stamp: Stamp(stamp),
            id: 3,
            region: "ap-south".to_owned(),
            address: None,
            since: Stamp::ZERO,
        }
    }

    #[test]
    fn a_removal_is_not_undone_by_who_had_not_heard_of_it() {
        let moved = Member {
            address: Some("new.example:1".to_owned()),
            ..removed(0, 9)
        };
        let back = Member {
            address: Some("new.example:1".to_owned()),
            ..removed(1, 9)
        };
        let mut members = Members::default();
        assert!(members.put(removed(1, 5)));
        assert!(!members.put(moved), "of an address, later, in ignorance");
        assert!(members.put(back), "it was added after it was removed");
    }

    #[test]
    fn what_no_node_makes_is_refused() {
        let bad = |change: &dyn Fn(&mut Member)| {
            let mut member = removed(1, 5);
            change(&mut member);
            Members(vec![member]).check().is_err()
        };
        assert!(!bad(&|_| {}));
        assert!(bad(&|member| member.id = 0));
        assert!(bad(&|member| member.id = Origin::MAX + 1));
        assert!(bad(&|member| member.region = "a".repeat(64)));
        assert!(bad(&|member| member.region = "a b".to_owned()));
        assert!(bad(&|member| member.address = Some("no-port".to_owned())));
        assert!(bad(
            &|member| member.address = Some(format!("{}:1", "a".repeat(300)))
        ));
        assert!(bad(&|member| member.removals = u16::MAX));
        let twice = Members(vec![removed(1, 5), removed(1, 6)]);
        assert!(twice.check().is_err());
    }
}
