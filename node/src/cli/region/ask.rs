//! What nodes are asked about regions, and what their answers amount to.

use std::collections::BTreeMap;

use anyhow::bail;
use serde::Serialize;

use super::super::nodes::Nodes;
use super::super::status::fetch::{FetchError, fetch_json, post_json};
use crate::regions::{Other, Regions};
use crate::status::LinkState;

/// Who knows of a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Confirmation {
    /// Regions that know.
    pub(super) confirmed: Vec<String>,
    /// Regions that have not said so.
    pub(super) missing: Vec<Missing>,
}

/// A region that has not confirmed, and what is known of the way to it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Missing {
    pub(super) region: String,
    pub(super) why: String,
}

impl Confirmation {
    pub(super) fn is_everywhere(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Tells the first node that answers, but for that of the region itself.
pub(super) fn tell(
    nodes: &Nodes,
    what: &str,
    change: &impl Serialize,
    region: &str,
) -> anyhow::Result<Regions> {
    let mut failures = Vec::new();
    for (name, admin) in nodes.targets() {
        if name.as_deref() == Some(region) {
            continue;
        }
        match post_json(admin, &format!("/regions/{what}"), nodes.token(), change) {
            Ok(regions) => return Ok(regions),
            Err(FetchError::Conflict(reason)) => bail!("{}", reason.trim_end()),
            Err(error) => failures.push(format!("{admin}: {error}")),
        }
    }
    bail!(
        "no node could be told ({}): start one, or name others with --admin HOST:PORT",
        failures.join("; ")
    )
}

/// Asks all nodes; each with its admin address.
pub(super) fn regions_of_all(nodes: &Nodes) -> Vec<(String, Result<Regions, FetchError>)> {
    let ask = |admin: &str| fetch_json(admin, "/regions", nodes.token());
    nodes.each(|_, admin| (admin.to_owned(), ask(admin)))
}

/// Which regions know of `region` what `told` does: nodes that say so themselves, and those that have confirmed it to one
/// that does.
pub(super) fn confirmation<'a>(
    region: &str,
    told: &Regions,
    answers: impl Iterator<Item = &'a Regions>,
) -> Confirmation {
    let goal = view(told, region);
    let knowing: Vec<&Regions> = answers.filter(|one| view(one, region) == goal).collect();
    let said = || knowing.iter().flat_map(|one| &one.others);
    let concerned = |other: &&Other| !other.removed && other.region != region;
    let known_of = told.others.iter().chain(said()).filter(concerned);
    let mut asked: BTreeMap<&str, String> = BTreeMap::new();
    asked.insert(
        &told.region,
        "it was told, and does not answer any more".to_owned(),
    );
    for other in known_of {
        asked.entry(&other.region).or_insert_with(|| why(other));
    }
    let mut reached = Confirmation::default();
    for (name, why) in asked {
        let is_first_hand = knowing.iter().any(|one| one.region == name);
        let is_confirmed = said().any(|other| other.region == name && other.informed);
        let region = name.to_owned();
        match is_first_hand || is_confirmed {
            true => reached.confirmed.push(region),
            false => reached.missing.push(Missing { region, why }),
        }
    }
    reached
}

/// What a node knows of a region.
fn view<'a>(regions: &'a Regions, region: &str) -> Option<(u8, &'a str, bool)> {
    let of_name = |other: &&Other| other.region == region;
    let present = regions
        .others
        .iter()
        .filter(of_name)
        .find(|other| !other.removed);
    let held = present.or_else(|| regions.others.iter().find(of_name));
    held.map(|other| (other.id, other.address.as_str(), other.removed))
}

fn why(other: &Other) -> String {
    match (&other.reason, other.link) {
        (Some(reason), _) => reason.clone(),
        (None, Some(LinkState::Up)) => {
            "it has not confirmed; a node of an older release cannot: upgrade it".to_owned()
        }
        (None, Some(state)) => format!("its link is {}", state.name()),
        (None, None) => "it has no link".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(region: &str, informed: bool) -> Other {
        Other {
            region: region.into(),
            id: 9,
            address: format!("{region}:1"),
            removed: false,
            by_command: false,
            informed,
            link: Some(LinkState::Down),
            reason: None,
        }
    }

    fn node(region: &str, others: &[(&str, bool)]) -> Regions {
        Regions {
            region: region.into(),
            others: others
                .iter()
                .map(|(name, informed)| other(name, *informed))
                .collect(),
            ..Regions::default()
        }
    }

    #[test]
    fn a_change_is_done_once_every_region_knows_from_whoever_does() {
        let told = node("a", &[("b", false), ("c", false), ("new", false)]);
        let check = |answers: &[Regions]| {
            let reached = confirmation("new", &told, answers.iter());
            let missing = reached.missing.into_iter();
            missing.map(|missing| missing.region).collect::<Vec<_>>()
        };
        assert_eq!(check(std::slice::from_ref(&told)), ["b", "c"]);
        let b = node("b", &[("a", true), ("c", true), ("new", false)]);
        assert_eq!(
            check(&[told.clone(), b.clone()]),
            [""; 0],
            "b knows, and heard it of c"
        );
        assert_eq!(check(&[b]), [""; 0], "b heard it of a as well");
        let ignorant = node("b", &[("a", true), ("c", true)]);
        assert_eq!(check(&[told.clone(), ignorant]), ["b", "c"]);
        let silent: [Regions; 0] = [];
        assert_eq!(check(&silent), ["a", "b", "c"]);
    }
}
