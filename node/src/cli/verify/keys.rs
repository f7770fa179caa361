//! The keys in which regions differed, for people: who held what.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use crate::cli::nodes::Answer;
use crate::status::{DifferingKey, HeldKey};

/// Keys that are shown of two regions; `--json` shows all that are remembered.
const SHOWN_MAX: usize = 20;

/// The names of regions by their numbers.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<u8, String>);

impl Names {
    pub(super) fn of(answers: &[Answer]) -> Self {
        let mut names = BTreeMap::new();
        for status in answers.iter().filter_map(|answer| answer.status.as_ref()) {
            names.insert(status.id, status.region.clone());
            let others = status.links.iter();
            names.extend(others.map(|link| (link.id, link.region.clone())));
        }
        Self(names)
    }

    fn name(&self, id: u8) -> String {
        match self.0.get(&id) {
            Some(name) => name.clone(),
            // What begins when a deadline has passed is nobody's.
            None if id == 0 => "expiry".to_owned(),
            None => format!("region {id}"),
        }
    }
}

/// What `region` held of keys, the newest first, and what `peer` had, from which it was repaired.
pub(super) fn render(region: &str, peer: &str, keys: &[&DifferingKey], names: &Names) -> String {
    let count = match keys.len() {
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    };
    let mut text = format!("{region} and {peer} differed: {count}, repaired in {region}\n");
    let shown = keys.len().min(SHOWN_MAX);
    let width = keys.iter().take(shown).map(|key| key.key.len()).max();
    for key in keys.iter().take(shown) {
        let here = key.here.as_ref().map(|held| state(held, names));
        let _ = writeln!(
            text,
            "  {:width$}  {region} {}  {peer} {}",
            key.key,
            here.as_deref().unwrap_or("-"),
            state(&key.there, names),
            width = width.unwrap_or_default(),
        );
    }
    if shown < keys.len() {
        let _ = writeln!(text, "  and {} more: --json shows them", keys.len() - shown);
    }
    text
}

fn state(held: &HeldKey, names: &Names) -> String {
    let by = names.name(held.by);
    let mut text = format!("{} by {by}", time(held.written_at_ms, held.written_tick));
    if held.deleted {
        text.push_str(", deleted");
    }
    if held.counter {
        text.push_str(", a counter");
    }
    for (at, count) in held.counts.iter().enumerate() {
        let before = if at == 0 { ":" } else { "," };
        let by = names.name(count.by);
        let _ = write!(text, "{before} {} by {by}", count.total);
    }
    let written = (held.written_at_ms, held.written_tick);
    let changed = (held.changed_at_ms, held.changed_tick);
    if changed != written {
        let _ = write!(text, ", changed {}", time(changed.0, changed.1));
        if held.changed_by != 0 {
            let _ = write!(text, " by {}", names.name(held.changed_by));
        }
    }
    if let Some(at_ms) = held.deadline_ms {
        let _ = write!(text, ", until {}", time(at_ms, 0));
    }
    text
}

/// A time, and how many stamps of the same millisecond came before.
fn time(at_ms: u64, tick: u16) -> String {
    let mut text = match UNIX_EPOCH.checked_add(Duration::from_millis(at_ms)) {
        Some(at) if at_ms < MS_OF_YEAR_9999 => humantime::format_rfc3339_millis(at).to_string(),
        _ => format!("{at_ms} ms"),
    };
    if tick > 0 {
        let _ = write!(text, "+{tick}");
    }
    text
}

/// Beyond this, a time is not written as a date.
const MS_OF_YEAR_9999: u64 = 253_370_764_800_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Count;

    const AT_MS: u64 = 1_800_000_000_123;

    fn held(by: u8) -> HeldKey {
        HeldKey {
            written_at_ms: AT_MS,
            changed_at_ms: AT_MS,
            by,
            ..HeldKey::default()
        }
    }

    fn names() -> Names {
        Names(BTreeMap::from([(1, "us-east".to_owned())]))
    }

    #[test]
    fn a_key_is_shown_with_both_versions() {
        let key = DifferingKey {
            key: "\"cart:17\"".into(),
            here: None,
            there: held(1),
            ..DifferingKey::default()
        };
        let text = render("eu-west", "us-east", &[&key], &names());
        assert_eq!(
            text,
            "eu-west and us-east differed: 1 key, repaired in eu-west\n  \
             \"cart:17\"  eu-west -  us-east 2027-01-15T08:00:00.123Z by us-east\n"
        );
        let many: Vec<&DifferingKey> = vec![&key; SHOWN_MAX + 3];
        let text = render("eu-west", "us-east", &many, &names());
        assert!(
            text.ends_with("  and 3 more: --json shows them\n"),
            "{text}"
        );
    }

    #[test]
    fn versions_that_differ_are_told_apart() {
        let counter = |totals: [&str; 2]| HeldKey {
            counter: true,
            changed_at_ms: AT_MS + 9,
            changed_by: 1,
            counts: [1, 7]
                .into_iter()
                .zip(totals)
                .map(|(by, total)| Count {
                    by,
                    total: total.into(),
                })
                .collect(),
            ..held(1)
        };
        let (one, other) = (counter(["5", "-2"]), counter(["5", "-3"]));
        assert_eq!(
            state(&one, &names()),
            "2027-01-15T08:00:00.123Z by us-east, a counter: 5 by us-east, -2 by region 7, \
             changed 2027-01-15T08:00:00.132Z by us-east"
        );
        let within_a_millisecond = HeldKey {
            written_tick: 2,
            changed_tick: 2,
            ..held(1)
        };
        assert_eq!(
            state(&within_a_millisecond, &names()),
            "2027-01-15T08:00:00.123Z+2 by us-east"
        );
        for (one, other) in [(one, other), (within_a_millisecond, held(1))] {
            assert_ne!(state(&one, &names()), state(&other, &names()));
        }
    }

    #[test]
    fn a_state_says_what_is_not_usual() {
        let deleted = HeldKey {
            deleted: true,
            deadline_ms: Some(u64::MAX),
            changed_at_ms: AT_MS + 1,
            ..held(7)
        };
        let text = state(&deleted, &names());
        let expected = "2027-01-15T08:00:00.123Z by region 7, deleted, \
             changed 2027-01-15T08:00:00.124Z, until 18446744073709551615 ms";
        assert_eq!(text, expected);
    }
}
