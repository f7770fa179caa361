//! Regions for people.

use super::super::status::fetch::FetchError;
use super::super::status::table;
use super::ask::Confirmation;
use crate::regions::{Other, Regions};

/// What became of a change.
pub(super) fn outcome(region: &str, done: &str, reached: &Confirmation) -> String {
    let confirmed = reached.confirmed.join(", ");
    if reached.is_everywhere() {
        return match done {
            "removed" => format!("{region} is removed; confirmed by {confirmed}.\n"),
            _ => format!("{region} is known to {confirmed}.\n"),
        };
    }
    let confirmed = match reached.confirmed.is_empty() {
        true => "nobody".to_owned(),
        false => confirmed,
    };
    let mut text = format!("{region} is {done} to some regions only. Confirmed by {confirmed}.\n");
    if done == "removed" {
        text = format!("{region} is not removed everywhere. Confirmed by {confirmed}.\n");
    }
    for missing in &reached.missing {
        text += &format!("{} has not confirmed: {}\n", missing.region, missing.why);
    }
    text += match done {
        "removed" => {
            "They hear of it as soon as they have a link. Give the command again to see whether they have.\n"
        }
        _ => {
            "Do not start its node yet: give the command again until all have confirmed. Those without a link hear of it as soon as they have one.\n"
        }
    };
    text
}

/// The regions as every node knows them.
pub(super) fn regions(answers: &[(String, Result<Regions, FetchError>)]) -> String {
    let mut rows = table(&[
        "asked",
        "region",
        "id",
        "address",
        "state",
        "known from",
        "link",
    ]);
    let mut silent = String::new();
    for (admin, answer) in answers {
        let regions = match answer {
            Ok(regions) => regions,
            Err(error) => {
                silent += &format!("{admin} does not answer: {error}\n");
                continue;
            }
        };
        let own = regions.address.as_deref().unwrap_or("-");
        rows.add_row([
            regions.region.as_str(),
            &regions.region,
            &regions.id.to_string(),
            own,
            "present",
            "itself",
            "-",
        ]);
        for other in &regions.others {
            rows.add_row(row(&regions.region, other));
        }
    }
    format!("{rows}\n{silent}")
}

fn row(asked: &str, other: &Other) -> [String; 7] {
    let state = if other.removed { "removed" } else { "present" };
    let source = if other.by_command { "command" } else { "file" };
    let link = match (other.link, other.informed) {
        (None, _) => "-".to_owned(),
        (Some(state), true) => state.name().to_owned(),
        (Some(state), false) => format!("{}, has not confirmed", state.name()),
    };
    [
        asked.to_owned(),
        other.region.clone(),
        other.id.to_string(),
        other.address.clone(),
        state.to_owned(),
        source.to_owned(),
        link,
    ]
}
