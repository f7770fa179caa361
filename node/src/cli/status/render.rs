//! The status of regions and links as tables with units.

use std::fmt::Write;
use std::time::Duration;

use bytesize::ByteSize;

use super::super::nodes::Answer;
use super::table;
use crate::server::process::wall;
use crate::status::{EmulatedLink, Link, Loading, RESTART_NOTE, Status};

/// All regions, all links, and what needs a sentence.
pub(super) fn render(answers: &[Answer]) -> String {
    let mut out = format!("{}\n", regions(answers));
    let statuses = || answers.iter().filter_map(|answer| answer.status.as_ref());
    if statuses().any(|status| !status.links.is_empty()) {
        write!(out, "\n{}\n", links(statuses())).expect("a String takes all");
    }
    for line in remarks(answers) {
        write!(out, "\n{line}").expect("a String takes all");
    }
    out.push('\n');
    out
}

fn regions(answers: &[Answer]) -> comfy_table::Table {
    let mut rows = table(&[
        "region", "id", "state", "keys", "memory", "commands", "clients", "up for", "admin",
    ]);
    for answer in answers {
        let Some(status) = &answer.status else {
            let mut row = vec![answer.name().to_owned(), "-".into(), "no answer".into()];
            row.resize(8, "-".into());
            row.push(answer.admin.clone());
            rows.add_row(row);
            continue;
        };
        rows.add_row([
            status.region.clone(),
            status.id.to_string(),
            readiness(status),
            status.keys.to_string(),
            bytes(status.memory.resident_bytes),
            format!("{:.0}/s", status.commands.per_second),
            status.clients.connected.to_string(),
            uptime(status.uptime_ms),
            answer.admin.clone(),
        ]);
    }
    rows
}

fn readiness(status: &Status) -> String {
    let percent = status.loading.as_ref().and_then(Loading::percent);
    match percent {
        _ if status.is_ready() => "ready".into(),
        Some(percent) => format!("loading, {percent:.0} %"),
        None => "not ready".into(),
    }
}

fn links<'a>(statuses: impl Iterator<Item = &'a Status>) -> comfy_table::Table {
    let mut rows = table(&[
        "link",
        "state",
        "round trip",
        "clock",
        "lag",
        "behind",
        "in flight",
        "equal",
        "out",
        "in",
        "emulation",
    ]);
    let now_ms = wall().0;
    for status in statuses {
        for link in &status.links {
            rows.add_row([
                format!("{} to {}", status.region, link.region),
                state(link),
                link.rtt_ms
                    .map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms")),
                link.clock_skew_ms.map_or_else(|| "-".into(), clock),
                format!("{} ms", link.lag_ms),
                format!("{} updates", link.lag_updates),
                bytes(link.in_flight_bytes),
                equal(link, now_ms),
                rate(link.sent.bytes_per_second),
                rate(link.received.bytes_per_second),
                link.emulation
                    .as_ref()
                    .map_or_else(|| "none".into(), emulation),
            ]);
        }
    }
    rows
}

/// How long ago both regions held the same.
fn equal(link: &Link, now_ms: u64) -> String {
    let age = |as_of: u64| format!("{:.1} s ago", now_ms.saturating_sub(as_of) as f64 / 1e3);
    link.compared.equal_as_of_ms.map_or_else(|| "-".into(), age)
}

fn remarks(answers: &[Answer]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rehearsal = false;
    for answer in answers {
        if let Some(error) = &answer.error {
            lines.push(format!(
                "{} does not answer on {}: {error}.",
                answer.name(),
                answer.admin
            ));
        }
        let Some(status) = &answer.status else {
            continue;
        };
        lines.extend(
            status
                .not_ready
                .iter()
                .map(|why| format!("{} is not ready: {why}.", status.region)),
        );
        lines.extend(status.twins.iter().map(|twin| {
            let which = match twin.incarnation < status.incarnation {
                true => "it, this one has taken its place",
                false => "one of the two",
            };
            format!(
                "{} has a twin: {} refused another process of it, at {}, that started at {} ms; stop {which}.",
                status.region, twin.refused_by, twin.address, twin.incarnation
            )
        }));
        lines.extend(status.links.iter().filter_map(|link| trouble(status, link)));
        lines.extend(
            status
                .links
                .iter()
                .filter_map(|link| released(status, link)),
        );
        lines.extend(status.links.iter().filter_map(|link| way(status, link)));
        rehearsal |= status.links.iter().any(|link| link.emulation.is_some());
        lines.extend(updates(status));
    }
    if rehearsal {
        lines.push("REHEARSAL: links are impaired on purpose; see the last column.".into());
    }
    lines.push(format!("Note: {RESTART_NOTE}."));
    lines
}

/// What the node sent and received in all, so that coalescing is seen.
fn updates(status: &Status) -> Option<String> {
    let sum = |read: fn(&Link) -> u64| status.links.iter().map(read).sum::<u64>();
    let (sent, received) = (
        sum(|link| link.updates.sent),
        sum(|link| link.updates.received),
    );
    (sent > 0 || received > 0).then(|| {
        format!(
            "{}: {sent} updates sent, {} coalesced; {received} received, {} applied, {} superseded.",
            status.region,
            sum(|link| link.updates.coalesced),
            sum(|link| link.updates.applied),
            sum(|link| link.updates.superseded)
        )
    })
}

fn trouble(status: &Status, link: &Link) -> Option<String> {
    let reason = link.reason.as_ref()?;
    Some(format!(
        "{} to {} is {}: {reason}.",
        status.region,
        link.region,
        link.state.name()
    ))
}

fn released(status: &Status, link: &Link) -> Option<String> {
    link.released.then(|| {
        format!(
            "{} has been away for so long that {} forgets deletions without it; see replication.horizon.",
            link.region, status.region
        )
    })
}

/// The way around a link that is not up.
fn way(status: &Status, link: &Link) -> Option<String> {
    let via = link.via.as_ref()?;
    Some(format!(
        "What {} writes arrives in {} via {}, {:.1} s behind; {} updates of {} came so.",
        link.region,
        status.region,
        via.regions.join(", "),
        via.behind_ms as f64 / 1e3,
        via.relayed.updates,
        bytes(via.relayed.bytes)
    ))
}

fn state(link: &Link) -> String {
    let silent = if link.silent { ", silent" } else { "" };
    let via = link.via.as_ref();
    let via = via.map(|via| format!(", via {}", via.regions.join(", ")));
    let sweeping = if link.sweeping { ", sweeping" } else { "" };
    let released = if link.released { ", released" } else { "" };
    let via = via.unwrap_or_default();
    let state = link.state.name();
    format!("{state}{silent}{released}{via}{sweeping}")
}

/// How far the peer's clock is ahead; a fraction of a millisecond says nothing.
fn clock(skew_ms: f64) -> String {
    format!("{:+} ms", skew_ms.round() as i64)
}

fn bytes(count: u64) -> String {
    ByteSize(count).display().iec().to_string()
}

fn rate(bytes_per_second: f64) -> String {
    format!("{}/s", bytes(bytes_per_second.max(0.0) as u64))
}

fn uptime(ms: u64) -> String {
    humantime::format_duration(Duration::from_secs(ms / 1000)).to_string()
}

fn emulation(link: &EmulatedLink) -> String {
    let rate = link
        .rate_bits_per_second
        .map(|bits| format!(", {} Mbit/s", bits as f64 / 1e6));
    format!(
        "{} ms +/- {} ms, {}% loss{}",
        link.delay_ms,
        link.jitter_ms,
        link.loss_percent,
        rate.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{LinkState, Relayed, Updates, Via};

    fn answers() -> Vec<Answer> {
        let status = Status {
            region: "us-east".into(),
            id: 1,
            keys: 12,
            uptime_ms: 61_500,
            links: vec![Link {
                region: "eu-west".into(),
                state: LinkState::Refused,
                reason: Some("lanes: 16 here, 8 there".into()),
                rtt_ms: Some(80.25),
                clock_skew_ms: Some(-700.4),
                lag_ms: 41,
                lag_updates: 7,
                in_flight_bytes: 1536,
                updates: Updates {
                    sent: 5,
                    coalesced: 995,
                    ..Updates::default()
                },
                emulation: Some(EmulatedLink {
                    delay_ms: 40.0,
                    jitter_ms: 2.0,
                    loss_percent: 1.0,
                    rate_bits_per_second: None,
                }),
                ..Link::default()
            }],
            ..Status::default()
        };
        let silent = Answer {
            region: Some("ap-south".into()),
            admin: "127.0.0.1:9403".into(),
            status: None,
            error: Some("connection refused".into()),
        };
        vec![
            Answer {
                region: None,
                admin: "127.0.0.1:9401".into(),
                status: Some(status),
                error: None,
            },
            silent,
        ]
    }

    #[test]
    fn what_is_wrong_with_a_link_that_is_up_is_told() {
        let mut answers = answers();
        let link = &mut answers[0].status.as_mut().unwrap().links[0];
        (link.state, link.reason) = (LinkState::Up, Some("two nodes claim eu-west".into()));
        let text = render(&answers);
        let line = "us-east to eu-west is up: two nodes claim eu-west.";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn a_region_that_is_no_longer_waited_for_is_told() {
        let mut answers = answers();
        let link = &mut answers[0].status.as_mut().unwrap().links[0];
        (link.state, link.released) = (LinkState::Down, true);
        let text = render(&answers);
        let line = "eu-west has been away for so long that us-east forgets deletions without it";
        assert!(
            text.contains("down, released") && text.contains(line),
            "{text}"
        );
    }

    #[test]
    fn the_way_around_a_link_that_is_down_is_told() {
        let mut answers = answers();
        let link = &mut answers[0].status.as_mut().unwrap().links[0];
        link.state = LinkState::Down;
        link.via = Some(Via {
            regions: vec!["ap-south".into()],
            behind_ms: 740,
            relayed: Relayed {
                updates: 12,
                bytes: 1536,
            },
        });
        let text = render(&answers);
        let line = "What eu-west writes arrives in us-east via ap-south, 0.7 s behind; 12 updates of 1.5 KiB came so.";
        for part in ["down, via ap-south", line] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }

    #[test]
    fn regions_links_and_troubles_are_told_with_units() {
        let text = render(&answers());
        for part in [
            "ready",
            "1m 1s",
            "no answer",
            "80.2 ms",
            "-700 ms",
            "41 ms",
            "7 updates",
            "1.5 KiB",
            "40 ms +/- 2 ms, 1% loss",
            "ap-south does not answer on 127.0.0.1:9403: connection refused.",
            "us-east to eu-west is refused: lanes: 16 here, 8 there.",
            "us-east: 5 updates sent, 995 coalesced;",
            "REHEARSAL",
            RESTART_NOTE,
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
