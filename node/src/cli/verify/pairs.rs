//! What every two regions say of each other, as far as it answers the question.

use serde::Serialize;

use crate::cli::nodes::Answer;
use crate::status::{DifferingKey, Link, LinkState};

/// What a region says of another.
#[derive(Debug, Default, Serialize)]
pub(super) struct Pair {
    pub(super) region: String,
    pub(super) peer: String,
    /// Whether they held the same of everything that was written before the question.
    pub(super) equal: bool,
    /// Up to when they held the same, in milliseconds since the Unix epoch.
    pub(super) equal_as_of_ms: Option<u64>,
    /// The region to which both are equal, where they have not compared with each other.
    pub(super) via: Option<String>,
    /// Comparisons that found something missing since the start of the node, and entries that were repaired.
    pub(super) different: u64,
    pub(super) repaired: u64,
    /// Keys that the region was repaired in from the peer, the oldest first, as far as it remembers them.
    pub(super) keys: Vec<DifferingKey>,
    /// How many it remembers beside those that took this way because the link to the region that wrote them is broken.
    pub(super) relayed_keys: usize,
    /// Why there is no comparison.
    pub(super) hindrance: Option<String>,
    /// Whether nothing arrives over the link.
    #[serde(skip)]
    pub(super) is_broken: bool,
}

impl Pair {
    /// They are equal by way of a third region.
    pub(super) fn reach(&mut self, third: &str, as_of_ms: u64) {
        self.equal = true;
        self.equal_as_of_ms = Some(as_of_ms);
        self.via = Some(third.to_owned());
        self.hindrance = None;
    }
}

/// What every region that answers says of every other one.
pub(super) fn pairs(answers: &[Answer], asked_at_ms: u64) -> Vec<Pair> {
    let statuses = answers.iter().filter_map(|answer| answer.status.as_ref());
    statuses
        .flat_map(|status| {
            let links = status.links.iter();
            links.map(|link| pair(&status.region, link, &status.links, asked_at_ms))
        })
        .collect()
}

fn pair(region: &str, link: &Link, links: &[Link], asked_at_ms: u64) -> Pair {
    let equal_as_of_ms = link.compared.equal_as_of_ms;
    let equal = equal_as_of_ms.is_some_and(|as_of| as_of >= asked_at_ms);
    let hindrance = match link.state {
        _ if equal => None,
        LinkState::Up if link.silent => Some("the link is silent".to_owned()),
        LinkState::Up if link.sweeping => Some("the peer is sent everything".to_owned()),
        LinkState::Up => None,
        state @ (LinkState::Connecting
        | LinkState::Handshaking
        | LinkState::Refused
        | LinkState::Down) => {
            let reason = link.reason.as_ref().map(|reason| format!(": {reason}"));
            let state = state.name();
            Some(format!("the link is {state}{}", reason.unwrap_or_default()))
        }
    };
    let keys = link.compared.keys.iter().cloned();
    let (relayed, keys): (Vec<_>, Vec<_>) = keys.partition(|key| is_relayed(key, link, links));
    Pair {
        region: region.to_owned(),
        peer: link.region.clone(),
        equal,
        equal_as_of_ms,
        via: None,
        different: link.compared.different,
        repaired: link.compared.repaired,
        keys,
        relayed_keys: relayed.len(),
        hindrance,
        is_broken: is_broken(link),
    }
}

fn is_broken(link: &Link) -> bool {
    link.state != LinkState::Up || link.silent
}

/// Whether a key came over `link` because the one to the region that wrote it last is broken.
fn is_relayed(key: &DifferingKey, link: &Link, links: &[Link]) -> bool {
    // A node of the release before says only who wrote the value.
    let author = match key.there.changed_by {
        0 => key.there.by,
        author => author,
    };
    let others = links.iter().filter(|other| other.id != link.id);
    others
        .filter(|other| is_broken(other))
        .any(|other| other.id == author)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Compared, HeldKey, Status};

    fn link(id: u8, state: LinkState) -> Link {
        Link {
            id,
            state,
            ..Link::default()
        }
    }

    fn of_links(links: Vec<Link>) -> Vec<Pair> {
        let status = Status {
            links,
            ..Status::default()
        };
        let answer = Answer {
            region: None,
            admin: String::new(),
            status: Some(status),
            error: None,
        };
        pairs(&[answer], 1_000)
    }

    #[test]
    fn only_what_was_compared_after_the_question_counts() {
        let is_equal = |equal_as_of_ms| {
            let mut link = link(2, LinkState::Up);
            link.compared.equal_as_of_ms = equal_as_of_ms;
            of_links(vec![link])[0].equal
        };
        assert!(!is_equal(None));
        assert!(!is_equal(Some(999)));
        assert!(is_equal(Some(1_000)));
    }

    #[test]
    fn what_takes_the_way_around_a_broken_link_did_not_differ() {
        let key = |by: u8, changed_by: u8| DifferingKey {
            there: HeldKey {
                by,
                changed_by,
                ..HeldKey::default()
            },
            ..DifferingKey::default()
        };
        let mut second = link(2, LinkState::Up);
        // Of these three, the second alone was written last by the third region, and so was the fourth, as an older node says.
        second.compared = Compared {
            keys: vec![key(3, 2), key(2, 3), key(2, 1), key(3, 0)],
            ..Compared::default()
        };
        let relayed = |third: Link| {
            let found = of_links(vec![second.clone(), third]);
            (found[0].keys.len(), found[0].relayed_keys)
        };
        let mut silent = link(3, LinkState::Up);
        assert_eq!(relayed(silent.clone()), (4, 0));
        silent.silent = true;
        assert_eq!(relayed(silent), (2, 2));
        assert_eq!(relayed(link(3, LinkState::Down)), (2, 2));
    }
}
