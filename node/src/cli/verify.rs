//! `greenwich verify`: whether all regions hold the same.
//!
//! The nodes compare themselves all the time; this waits until they have compared what was written before it was asked. It
//! shows the keys in which they differed, as far as they remember them.

mod detours;
mod keys;
mod pairs;
mod silent;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use super::nodes::{Answer, Nodes, NodesArgs};
use super::status::table;
use super::{complain, say};
use crate::config::Period;
use crate::server::process::wall;
use crate::status::DifferingKey;
use detours::Detours;
use keys::Names;
use pairs::{Pair, pairs};
use serde::Serialize;
use silent::{Silent, silent};

const ASK_INTERVAL: Duration = Duration::from_millis(200);

/// The exit code when regions could not be asked.
const CANNOT_TELL: u8 = 2;

/// The answer to the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// All regions held the same.
    Equal,
    /// All regions answer, and were not found equal in time.
    NotEqual,
    /// A region does not answer.
    Unknown,
}

impl Outcome {
    fn of(pairs: &[Pair], silent: &[Silent]) -> Self {
        match silent.is_empty() {
            false => Self::Unknown,
            true if pairs.iter().all(|pair| pair.equal) => Self::Equal,
            true => Self::NotEqual,
        }
    }

    fn code(self) -> ExitCode {
        match self {
            Self::Equal => ExitCode::SUCCESS,
            Self::NotEqual => ExitCode::FAILURE,
            Self::Unknown => ExitCode::from(CANNOT_TELL),
        }
    }
}

/// Wait until every two regions have found that they hold the same of everything written so far.
///
/// Two regions whose own link is broken are equal when both have been found equal to a third one, twice in a row; that is shown
/// as `via`. What takes such a way is not shown as different.
///
/// Keys with a deadline are compared like all others, with the deadline, up to the end of the second before that of the deadline.
/// Keys that are deleted or have ended are left out: regions stop holding them at different times, and no client sees them.
///
/// Shows the keys that were found different and repaired meanwhile, with what each region held of them; where regions were
/// not found equal, those that were repaired before, too.
///
/// Ends with 0 when they have, with 1 when one has not within the time, and with 2 when that could not be told: a region does not
/// answer, which is named with the reason, or no node could be asked.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// How long to wait.
    #[arg(long, default_value = "30s", value_name = "TIME")]
    timeout: Period,
    #[command(flatten)]
    nodes: NodesArgs,
}

pub(super) fn run(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    compare(args).or_else(|error| {
        // Whoever looks at the code alone must not take this for regions that differ.
        complain(&format!("error: {error:#}"));
        Ok(ExitCode::from(CANNOT_TELL))
    })
}

fn compare(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let nodes = Nodes::find(&args.nodes)?;
    let asked_at_ms = wall().0;
    let deadline = Instant::now() + args.timeout.0;
    let mut detours = Detours::default();
    loop {
        let answers = of_the_cluster(nodes.ask());
        let mut pairs = pairs(&answers, asked_at_ms);
        detours.look(&mut pairs, asked_at_ms, wall().0);
        let silent = silent(&answers);
        let outcome = Outcome::of(&pairs, &silent);
        if outcome != Outcome::Equal && Instant::now() < deadline {
            thread::sleep(ASK_INTERVAL);
            continue;
        }
        if pairs.is_empty() && silent.is_empty() {
            bail!("there is nothing to compare: the region has no peers");
        }
        if args.json {
            let all = serde_json::json!({
                "outcome": outcome,
                "equal": outcome == Outcome::Equal,
                "asked_at_ms": asked_at_ms,
                "silent": silent,
                "links": pairs,
            });
            say(&format!("{}\n", serde_json::to_string_pretty(&all)?));
        } else {
            say(&render(&pairs, &silent, asked_at_ms, args.timeout));
            let names = Names::of(&answers);
            let is_equal = outcome == Outcome::Equal;
            say(&differences(&pairs, asked_at_ms, is_equal, &names));
        }
        return Ok(outcome.code());
    }
}

/// Without nodes of regions that were removed: nobody compares with them.
fn of_the_cluster(mut answers: Vec<Answer>) -> Vec<Answer> {
    answers.retain(|answer| !answer.status.as_ref().is_some_and(|status| status.removed));
    answers
}

fn render(pairs: &[Pair], silent: &[Silent], asked_at_ms: u64, timeout: Period) -> String {
    let mut rows = table(&[
        "regions",
        "verdict",
        "equal as of",
        "found different",
        "repaired",
    ]);
    for pair in pairs {
        rows.add_row([
            format!("{} and {}", pair.region, pair.peer),
            verdict(pair),
            pair.equal_as_of_ms
                .map_or_else(|| "never".into(), |as_of| since(as_of, asked_at_ms)),
            format!("{} times", pair.different),
            format!("{} entries", pair.repaired),
        ]);
    }
    let answer = match Outcome::of(pairs, silent) {
        Outcome::Equal => {
            "All regions held the same of everything that was written before the question.\n"
                .to_owned()
        }
        Outcome::NotEqual => format!("Not all regions were found equal within {timeout}.\n"),
        Outcome::Unknown => silent
            .iter()
            .map(|one| format!("It cannot be told whether all regions are equal: {one}.\n"))
            .collect(),
    };
    format!("{rows}\n{answer}")
}

fn verdict(pair: &Pair) -> String {
    match (&pair.hindrance, &pair.via) {
        (_, Some(third)) => format!("equal via {third}"),
        (_, None) if pair.equal => "equal".to_owned(),
        (Some(why), None) => format!("not compared: {why}"),
        (None, None) => "not proved equal".to_owned(),
    }
}

/// The keys that were repaired since the question, or ever, if regions may still differ.
fn differences(pairs: &[Pair], asked_at_ms: u64, is_equal: bool, names: &Names) -> String {
    let of_pair = |pair: &Pair| {
        let is_wanted = |key: &&DifferingKey| !is_equal || key.at_ms >= asked_at_ms;
        let keys: Vec<_> = pair.keys.iter().rev().filter(is_wanted).collect();
        match keys.is_empty() {
            true => String::new(),
            false => keys::render(&pair.region, &pair.peer, &keys, names),
        }
    };
    pairs.iter().map(of_pair).collect()
}

/// A time beside that of the question.
fn since(as_of_ms: u64, asked_at_ms: u64) -> String {
    let seconds = |ms: u64| ms as f64 / 1e3;
    if as_of_ms >= asked_at_ms {
        format!(
            "{:.1} s after the question",
            seconds(as_of_ms - asked_at_ms)
        )
    } else {
        format!(
            "{:.1} s before the question",
            seconds(asked_at_ms - as_of_ms)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Compared, Link, LinkState, Status};

    fn answer(equal_as_of_ms: Option<u64>) -> Answer {
        let link = Link {
            region: "eu-west".into(),
            state: LinkState::Up,
            compared: Compared {
                equal_as_of_ms,
                ..Compared::default()
            },
            ..Link::default()
        };
        let status = Status {
            region: "us-east".into(),
            links: vec![link],
            ..Status::default()
        };
        Answer {
            region: None,
            admin: "127.0.0.1:9401".into(),
            status: Some(status),
            error: None,
        }
    }

    #[test]
    fn keys_of_before_the_question_are_shown_only_where_regions_may_differ() {
        let mut found = pairs(&[answer(Some(500))], 1_000);
        let key = |at_ms, key: &str| DifferingKey {
            at_ms,
            key: key.into(),
            ..DifferingKey::default()
        };
        found[0].keys = vec![key(900, "early"), key(1_000, "late")];
        let shown = |is_equal| differences(&found, 1_000, is_equal, &Names::default());
        assert!(shown(true).contains("late") && !shown(true).contains("early"));
        assert!(shown(false).contains("late") && shown(false).contains("early"));
    }

    #[test]
    fn the_table_says_what_is_not_proved() {
        let found = pairs(&[answer(Some(500))], 1_000);
        let text = render(&found, &[], 1_000, Period::seconds(30));
        assert!(
            text.contains("not proved equal") && text.contains("0.5 s before the question"),
            "{text}"
        );
    }
}
