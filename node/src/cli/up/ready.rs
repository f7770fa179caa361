//! Waiting until every region serves and every link is up, and saying what is missing when not.

use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::children::Children;
use super::plan::{Plan, RegionPlan};
use crate::cli::status::fetch::{FetchError, fetch};
use crate::status::Status;

const READY_TIME_MAX: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(1);

/// Fails when a node ends, or when something is still missing at the deadline.
pub(crate) async fn wait(plan: &Plan, children: &mut Children) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_TIME_MAX;
    loop {
        if let Some(ended) = children.poll_ended()? {
            let log = plan.regions[ended.position].log_file();
            bail!(
                "the node of {} ended at its start ({}): {} (log: {})",
                ended.region,
                ended.status,
                last_line(&std::fs::read_to_string(&log).unwrap_or_default()),
                log.display()
            );
        }
        let mut missing = Vec::new();
        for region in &plan.regions {
            let admin = region.config.admin.bind.to_string();
            let answer =
                tokio::task::spawn_blocking(move || fetch(&admin, None, ANSWER_TIME_MAX)).await?;
            missing.extend(missing_in(region, answer));
        }
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "not ready after {}s: {} (logs: {}/REGION/node.log)",
                READY_TIME_MAX.as_secs(),
                missing.join("; "),
                plan.data.display()
            );
        }
        sleep(POLL_INTERVAL).await;
    }
}

fn missing_in(region: &RegionPlan, answer: Result<Status, FetchError>) -> Vec<String> {
    let name = region.name();
    let status = match answer {
        Ok(status) => status,
        Err(error) => {
            return vec![format!(
                "{name} does not answer on {}: {error}",
                region.config.admin.bind
            )];
        }
    };
    let reasons = status
        .not_ready
        .iter()
        .map(|reason| format!("{name} is not ready: {reason}"));
    let links = status.links_not_up().map(|link| {
        let reason = link
            .reason
            .as_ref()
            .map(|reason| format!(": {reason}"))
            .unwrap_or_default();
        format!(
            "link {name} to {} is {}{reason}",
            link.region,
            link.state.name()
        )
    });
    reasons.chain(links).collect()
}

fn last_line(log: &str) -> &str {
    log.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("it said nothing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::status::{Link, LinkState};

    #[test]
    fn what_is_missing_is_named_with_its_reason() {
        let region = RegionPlan {
            directory: "a".into(),
            config: Config::example("a", 1),
        };
        let link = |region: &str, state, reason: Option<&str>| Link {
            region: region.into(),
            state,
            reason: reason.map(str::to_owned),
            ..Link::default()
        };
        let status = Status {
            not_ready: vec!["no client port".into()],
            links: vec![
                link("b", LinkState::Up, None),
                link("c", LinkState::Refused, Some("lanes: 16 here, 8 there")),
            ],
            ..Status::default()
        };
        assert_eq!(
            missing_in(&region, Ok(status)),
            [
                "a is not ready: no client port",
                "link a to c is refused: lanes: 16 here, 8 there"
            ]
        );
    }

    #[test]
    fn the_last_line_with_words_is_the_reason() {
        assert_eq!(last_line("one\nerror: two\n\n"), "error: two");
        assert_eq!(last_line("\n"), "it said nothing");
    }
}
