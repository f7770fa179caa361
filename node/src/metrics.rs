//! The status of a node as Prometheus metrics: one list, read at every scrape.
//!
//! No metric has a life of its own: each is a number of [`Status`], so the two cannot disagree.
//! `docs/METRICS.md` lists the names for people, and a test compares the two lists.

use std::fmt::{self, Debug};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::status::{Link, LinkState, Loading, Status};

/// The media type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One metric: its name without the `_total` of counters, what it counts, and where it is read.
#[derive(Debug)]
struct Metric<T: 'static> {
    name: &'static str,
    help: &'static str,
    read: Read<T>,
}

enum Read<T> {
    Counter(fn(&T) -> u64),
    Gauge(fn(&T) -> f64),
}

use Read::{Counter, Gauge};

/// Labelled with `region`.
const NODE: &[Metric<Status>] = &[
    metric(
        "greenwich_node_ready",
        "1 when clients are served",
        Gauge(|s| truth(s.is_ready())),
    ),
    metric(
        "greenwich_node_loading",
        "1 while the node waits for what its peers hold",
        Gauge(|s| truth(s.loading.is_some())),
    ),
    metric(
        "greenwich_node_loading_total_keys",
        "About how many keys there are to load; NaN when not known, or when nothing is loaded",
        Gauge(|s| loading(s, |loading| loading.total_keys.map(real))),
    ),
    metric(
        "greenwich_node_loading_keys_per_second",
        "Keys that arrive a second while the node loads; NaN as above",
        Gauge(|s| loading(s, |loading| loading.keys_per_second)),
    ),
    metric(
        "greenwich_node_loading_seconds_left",
        "How long the rest takes at that rate: an estimate; NaN as above",
        Gauge(|s| loading(s, |loading| loading.seconds_left)),
    ),
    metric(
        "greenwich_node_uptime_seconds",
        "Time since the start",
        Gauge(|s| seconds(s.uptime_ms)),
    ),
    metric(
        "greenwich_node_incarnation",
        "Which life of the node this is",
        Gauge(|s| real(s.incarnation)),
    ),
    metric(
        "greenwich_node_twins",
        "Peers that lately refused another process of this node's region",
        Gauge(|s| real(s.twins.len() as u64)),
    ),
    metric(
        "greenwich_node_superseded",
        "1 when a peer has heard of a later process of this node's region: this one serves nobody any more",
        Gauge(|s| truth(s.superseded)),
    ),
    metric(
        "greenwich_node_removed",
        "1 when a peer says that this node's region was removed from the cluster",
        Gauge(|s| truth(s.removed)),
    ),
    metric(
        "greenwich_node_clock_error_seconds",
        "How far the system's clock is ahead of the node's",
        Gauge(|s| s.clock_error_ms as f64 / 1e3),
    ),
    metric(
        "greenwich_keyspace_keys",
        "Keys that a client can see",
        Gauge(|s| real(s.keys)),
    ),
    metric(
        "greenwich_keyspace_husks",
        "Deleted and expired keys that are remembered until every region has heard of their end",
        Gauge(|s| real(s.husks)),
    ),
    metric(
        "greenwich_keyspace_husk_bytes",
        "Memory of these entries",
        Gauge(|s| real(s.husk_bytes)),
    ),
    metric(
        "greenwich_keyspace_entry_bytes",
        "Memory of all entries",
        Gauge(|s| real(s.memory.entry_bytes)),
    ),
    metric(
        "greenwich_process_resident_bytes",
        "Resident memory",
        Gauge(|s| real(s.memory.resident_bytes)),
    ),
    metric(
        "greenwich_client_connections",
        "Clients connected",
        Gauge(|s| real(s.clients.connected)),
    ),
    metric(
        "greenwich_client_accepted",
        "Clients accepted",
        Counter(|s| s.clients.accepted),
    ),
    metric(
        "greenwich_client_refused",
        "Clients refused at max_clients",
        Counter(|s| s.clients.refused),
    ),
    metric(
        "greenwich_client_commands",
        "Commands run",
        Counter(|s| s.commands.total),
    ),
    metric(
        "greenwich_keyspace_hits",
        "Lookups by reading commands that found a value",
        Counter(|s| s.lookups.hits),
    ),
    metric(
        "greenwich_keyspace_misses",
        "Lookups by reading commands that found none",
        Counter(|s| s.lookups.misses),
    ),
    metric(
        "greenwich_keyspace_expired",
        "Values that this node saw expire",
        Counter(|s| s.expired),
    ),
    metric(
        "greenwich_log_bytes",
        "Memory of the update log",
        Gauge(|s| real(s.log.bytes)),
    ),
    metric(
        "greenwich_log_limit_bytes",
        "Memory that the update log may use",
        Gauge(|s| real(s.log.limit_bytes)),
    ),
    metric(
        "greenwich_log_dropped_units",
        "Units that were forgotten at the limit, before every region had heard of them",
        Counter(|s| s.log.dropped_units),
    ),
];

/// Labelled with `region` and `peer`.
const LINK: &[Metric<Link>] = &[
    metric(
        "greenwich_link_up",
        "1 when updates flow",
        Gauge(|l| truth(l.state == LinkState::Up)),
    ),
    metric(
        "greenwich_link_refused",
        "1 when the two sides do not agree",
        Gauge(|l| truth(l.state == LinkState::Refused)),
    ),
    metric(
        "greenwich_link_released",
        "1 when the peer has been away for so long that deletions are forgotten without it",
        Gauge(|l| truth(l.released)),
    ),
    metric(
        "greenwich_link_rtt_seconds",
        "Smoothed round trip; NaN before the first",
        Gauge(|l| l.rtt_ms.map_or(f64::NAN, |ms| ms / 1e3)),
    ),
    metric(
        "greenwich_link_clock_skew_seconds",
        "How far the peer's clock is ahead; NaN before the first link",
        Gauge(|l| l.clock_skew_ms.map_or(f64::NAN, |ms| ms / 1e3)),
    ),
    metric(
        "greenwich_link_lag_seconds",
        "Age of the oldest unacknowledged update",
        Gauge(|l| seconds(l.lag_ms)),
    ),
    metric(
        "greenwich_link_lag_updates",
        "Updates not acknowledged",
        Gauge(|l| real(l.lag_updates)),
    ),
    metric(
        "greenwich_link_in_flight_bytes",
        "Sent and not acknowledged",
        Gauge(|l| real(l.in_flight_bytes)),
    ),
    metric(
        "greenwich_link_sent_bytes",
        "Bytes sent",
        Counter(|l| l.sent.bytes),
    ),
    metric(
        "greenwich_link_received_bytes",
        "Bytes received",
        Counter(|l| l.received.bytes),
    ),
    metric(
        "greenwich_link_sent_batches",
        "Batches sent",
        Counter(|l| l.batches.sent),
    ),
    metric(
        "greenwich_link_received_batches",
        "Batches received",
        Counter(|l| l.batches.received),
    ),
    metric(
        "greenwich_link_sent_batch_bytes",
        "Bytes of batches sent, before compression",
        Counter(|l| l.batches.sent_bytes),
    ),
    metric(
        "greenwich_link_sent_encoded_batch_bytes",
        "Bytes of batches sent, after compression",
        Counter(|l| l.batches.sent_encoded_bytes),
    ),
    metric(
        "greenwich_link_sent_updates",
        "Updates sent",
        Counter(|l| l.updates.sent),
    ),
    metric(
        "greenwich_link_coalesced_updates",
        "Updates that a later one carried",
        Counter(|l| l.updates.coalesced),
    ),
    metric(
        "greenwich_link_split_records",
        "Records, and keys of a sweep or a repair, that travelled apart from what belongs to them",
        Counter(|l| l.updates.split),
    ),
    metric(
        "greenwich_link_received_updates",
        "Updates received",
        Counter(|l| l.updates.received),
    ),
    metric(
        "greenwich_link_applied_updates",
        "Updates received that changed an entry",
        Counter(|l| l.updates.applied),
    ),
    metric(
        "greenwich_link_superseded_updates",
        "Updates received that changed nothing",
        Counter(|l| l.updates.superseded),
    ),
    metric(
        "greenwich_link_relayed_updates",
        "Updates of other regions than the peer that came with repairs",
        Counter(|l| l.relayed.updates),
    ),
    metric(
        "greenwich_link_relayed_bytes",
        "Bytes of these entries, before compression",
        Counter(|l| l.relayed.bytes),
    ),
    metric(
        "greenwich_link_via_regions",
        "Regions by way of which the peer's updates arrive while the link is not up, or silent",
        Gauge(|l| real(l.via.as_ref().map_or(0, |via| via.regions.len() as u64))),
    ),
    metric(
        "greenwich_link_via_behind_seconds",
        "How far these are behind; NaN when there is no such region",
        Gauge(|l| {
            l.via
                .as_ref()
                .map_or(f64::NAN, |via| seconds(via.behind_ms))
        }),
    ),
    metric(
        "greenwich_link_sweeping",
        "1 when the peer is caught up by a sweep over all keys",
        Gauge(|l| truth(l.sweeping)),
    ),
    metric(
        "greenwich_link_sweeps",
        "Sweeps over all keys that were begun for the peer",
        Counter(|l| l.sweeps),
    ),
    metric(
        "greenwich_link_equal_as_of_seconds",
        "Both regions held the same of what was written up to then, as Unix time; 0 before the first such comparison",
        Gauge(|l| seconds(l.compared.equal_as_of_ms.unwrap_or(0))),
    ),
    metric(
        "greenwich_link_comparisons",
        "Comparisons with the peer that ended",
        Counter(|l| l.compared.rounds),
    ),
    metric(
        "greenwich_link_different_comparisons",
        "Comparisons that found something missing on either side",
        Counter(|l| l.compared.different),
    ),
    metric(
        "greenwich_link_repaired_entries",
        "Entries that were found missing on either side",
        Counter(|l| l.compared.repaired),
    ),
    metric(
        "greenwich_link_reconnects",
        "Times that the link came up again",
        Counter(|l| l.reconnects),
    ),
    metric(
        "greenwich_link_emulated",
        "1 when the link is impaired for a rehearsal",
        Gauge(|l| truth(l.emulation.is_some())),
    ),
];

/// The status as OpenMetrics text.
pub fn render(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(status)));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

/// Every metric's name as scraped.
pub fn names() -> Vec<String> {
    NODE.iter()
        .map(Metric::full_name)
        .chain(LINK.iter().map(Metric::full_name))
        .collect()
}

#[derive(Debug)]
struct Scrape(Status);

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let status = &self.0;
        for metric in NODE {
            metric.encode(
                &mut encoder,
                [(status, [("region", status.region.as_str())])],
            )?;
        }
        for metric in LINK {
            let links = status.links.iter().map(|link| {
                (
                    link,
                    [
                        ("region", status.region.as_str()),
                        ("peer", link.region.as_str()),
                    ],
                )
            });
            metric.encode(&mut encoder, links)?;
        }
        Ok(())
    }
}

impl<T> Metric<T> {
    fn full_name(&self) -> String {
        match self.read {
            Counter(_) => format!("{}_total", self.name),
            Gauge(_) => self.name.to_owned(),
        }
    }

    /// Writes one line for each of `series`: what to read, and its labels.
    fn encode<'a, const N: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        series: impl IntoIterator<Item = (&'a T, [(&'a str, &'a str); N])>,
    ) -> fmt::Result {
        let kind = match self.read {
            Counter(_) => MetricType::Counter,
            Gauge(_) => MetricType::Gauge,
        };
        let mut family = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        for (subject, labels) in series {
            let one = family.encode_family(&labels)?;
            match self.read {
                Counter(read) => ConstCounter::new(read(subject)).encode(one)?,
                Gauge(read) => ConstGauge::new(read(subject)).encode(one)?,
            }
        }
        Ok(())
    }
}

impl<T> Debug for Read<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Counter(_) => "counter",
            Gauge(_) => "gauge",
        })
    }
}

const fn metric<T>(name: &'static str, help: &'static str, read: Read<T>) -> Metric<T> {
    Metric { name, help, read }
}

fn truth(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

fn loading(status: &Status, read: fn(&Loading) -> Option<f64>) -> f64 {
    status.loading.as_ref().and_then(read).unwrap_or(f64::NAN)
}

fn seconds(ms: u64) -> f64 {
    real(ms) / 1e3
}

/// Exact up to 2^53: no gauge here comes near.
fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn sample() -> Status {
        Status {
            region: "us-east".into(),
            uptime_ms: 1500,
            links: vec![Link {
                region: "eu-west".into(),
                state: LinkState::Up,
                lag_ms: 40,
                clock_skew_ms: Some(-250.0),
                updates: crate::status::Updates {
                    coalesced: 7,
                    ..Default::default()
                },
                ..Link::default()
            }],
            ..Status::default()
        }
    }

    #[test]
    fn a_scrape_holds_every_metric_with_its_value() {
        let text = render(sample()).unwrap();
        for name in names() {
            assert!(
                text.contains(&format!("\n{name}{{region=\"us-east\"")),
                "{name} in\n{text}"
            );
        }
        for line in [
            "greenwich_node_uptime_seconds{region=\"us-east\"} 1.5",
            "greenwich_link_clock_skew_seconds{region=\"us-east\",peer=\"eu-west\"} -0.25",
            "greenwich_link_up{region=\"us-east\",peer=\"eu-west\"} 1.0",
            "greenwich_link_lag_seconds{region=\"us-east\",peer=\"eu-west\"} 0.04",
            "greenwich_link_coalesced_updates_total{region=\"us-east\",peer=\"eu-west\"} 7",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_documented_names_are_the_names() {
        let page = include_str!("../../docs/METRICS.md");
        let documented: BTreeSet<String> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
            .map(|(name, _)| name.to_owned())
            .collect();
        assert_eq!(documented, names().into_iter().collect());
    }
}
