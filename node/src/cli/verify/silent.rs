//! Regions that do not answer: which, and why.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use serde::Serialize;

use crate::cli::nodes::Answer;

/// A node that was asked in vain.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Silent {
    /// Names that its region may have: one, unless several regions that others know of have not answered.
    regions: Vec<String>,
    admin: String,
    reason: String,
}

impl Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.regions {
            [] => write!(f, "the node on {} does not answer", self.admin)?,
            names => write!(
                f,
                "{} does not answer on {}",
                names.join(" or "),
                self.admin
            )?,
        }
        write!(f, ": {}", self.reason)
    }
}

/// Those that do not answer. Of one that was named by its address alone the others know the region.
pub(super) fn silent(answers: &[Answer]) -> Vec<Silent> {
    let statuses = || answers.iter().filter_map(|answer| answer.status.as_ref());
    let linked = statuses().flat_map(|status| status.links.iter().map(|link| &link.region));
    let mut unheard: BTreeSet<&String> = linked.collect();
    for heard in statuses().map(|status| &status.region) {
        unheard.remove(heard);
    }
    for named in answers.iter().filter_map(|answer| answer.region.as_ref()) {
        unheard.remove(named);
    }
    let in_vain = answers.iter().filter(|answer| answer.status.is_none());
    let silent = in_vain.map(|answer| Silent {
        regions: match &answer.region {
            Some(name) => vec![name.clone()],
            None => unheard.iter().copied().cloned().collect(),
        },
        admin: answer.admin.clone(),
        reason: answer.error.clone().unwrap_or_default(),
    });
    silent.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Link, Status};

    fn heard(region: &str, others: &[&str]) -> Answer {
        let link = |other: &&str| Link {
            region: (*other).to_owned(),
            ..Link::default()
        };
        Answer {
            status: Some(Status {
                region: region.into(),
                links: others.iter().map(link).collect(),
                ..Status::default()
            }),
            ..in_vain(None)
        }
    }

    fn in_vain(region: Option<&str>) -> Answer {
        Answer {
            region: region.map(str::to_owned),
            admin: "127.0.0.1:9403".into(),
            status: None,
            error: Some("nothing came in time".into()),
        }
    }

    #[test]
    fn a_region_that_does_not_answer_is_named() {
        let said = |answers: &[Answer]| {
            let all = silent(answers);
            all.iter().map(Silent::to_string).collect::<Vec<_>>()
        };
        let (a, b) = (heard("a", &["b", "c"]), heard("b", &["a", "c"]));
        let line = "c does not answer on 127.0.0.1:9403: nothing came in time";
        assert_eq!(said(&[a, b, in_vain(None)]), [line]);
        assert_eq!(said(&[in_vain(Some("c"))]), [line]);
        let a = heard("a", &["b", "c"]);
        assert!(said(&[a, in_vain(None)])[0].starts_with("b or c does not answer"));
        assert!(said(&[in_vain(None)])[0].starts_with("the node on 127.0.0.1:9403 does not"));
    }
}
