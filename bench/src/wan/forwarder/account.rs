//! What became of packets, link by link, and how well the forwarder itself did.

use std::time::{Duration, Instant};

use greenwich_proto::netem::{DropReason, Verdict};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::load::record::histogram;

/// What became of the packets of one direction of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct LinkCounts {
    /// Packets that a region sent.
    pub taken: u64,
    /// Their bytes, headers of IP included: what the wire would have carried.
    pub taken_bytes: u64,
    /// Given to the other region.
    pub given: u64,
    /// Lost by chance, as planned.
    pub lost: u64,
    /// Dropped because the queue before the link's rate was full: by the sender's own fault.
    pub queue_full: u64,
    /// Dropped by a cut.
    pub cut: u64,
}

/// One direction of a link.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct LinkReport {
    /// The region that sends, from zero.
    pub from: usize,
    /// The region that receives.
    pub to: usize,
    /// What became of its packets.
    pub counts: LinkCounts,
    /// How long packets waited for the link's rate: median; zero on a link without one.
    pub wait_ms_p50: f64,
    /// The same, 99 of 100.
    pub wait_ms_p99: f64,
}

/// How well a forwarder did.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ForwarderReport {
    /// Both directions of all links.
    pub links: Vec<LinkReport>,
    /// Packets that the forwarder's own limits or a region's device dropped.
    pub own_fault: u64,
    /// How late packets were given to their region, in microseconds: median. What the forwarder's thread waited for a
    /// processor before it took a packet counts, where the kernel tells.
    pub error_us_p50: f64,
    /// The same, 99 of 100.
    pub error_us_p99: f64,
    /// The same, at worst.
    pub error_us_max: f64,
    /// Its share of one processor.
    pub cpu_share: f64,
}

/// A forwarder that was busier than this, or dropped more, has measured itself.
const CPU_SHARE_MAX: f64 = 0.8;
const OWN_FAULT_MAX: f64 = 0.001;

impl ForwarderReport {
    /// All links together.
    #[must_use]
    pub fn total(&self) -> LinkCounts {
        let mut total = LinkCounts::default();
        for LinkReport { counts, .. } in &self.links {
            total.taken += counts.taken;
            total.taken_bytes += counts.taken_bytes;
            total.given += counts.given;
            total.lost += counts.lost;
            total.queue_full += counts.queue_full;
            total.cut += counts.cut;
        }
        total
    }

    /// Why what was measured through it says more of it than of the servers, if so: what is measured may be wrong by
    /// `late_max`, at p99.
    #[must_use]
    pub fn bottleneck(&self, late_max: Duration) -> Option<String> {
        if self.cpu_share > CPU_SHARE_MAX {
            let share = self.cpu_share * 100.0;
            return Some(format!("the forwarder used {share:.0} % of a processor"));
        }
        if self.error_us_p99 > late_max.as_secs_f64() * 1e6 {
            let late_ms = self.error_us_p99 / 1e3;
            return Some(format!("the forwarder was late by {late_ms:.1} ms at p99"));
        }
        let lost = self.own_fault as f64 / self.total().taken.max(1) as f64;
        let percent = lost * 100.0;
        (lost > OWN_FAULT_MAX)
            .then(|| format!("the emulation itself dropped {percent:.2} % of the packets"))
    }
}

/// Counts as they go on.
#[derive(Debug)]
pub(super) struct Account {
    regions: usize,
    links: Vec<LinkAccount>,
    delay_error: Histogram<u64>,
    own_fault: u64,
    cpu: Duration,
    began: Instant,
}

#[derive(Clone, Debug)]
struct LinkAccount {
    counts: LinkCounts,
    waits: Histogram<u64>,
}

impl Account {
    pub(super) fn new(regions: usize) -> Self {
        let link = LinkAccount {
            counts: LinkCounts::default(),
            waits: histogram(),
        };
        Self {
            regions,
            links: vec![link; regions * regions],
            delay_error: histogram(),
            own_fault: 0,
            cpu: Duration::ZERO,
            began: Instant::now(),
        }
    }

    /// A packet was sent, had to wait for the link's rate for so long, and this became of it; `None` when the forwarder
    /// had no room for it.
    pub(super) fn take(
        &mut self,
        (from, to): (usize, usize),
        bytes: usize,
        wait_us: u64,
        verdict: Option<Verdict>,
    ) {
        let link = &mut self.links[from * self.regions + to];
        let counts = &mut link.counts;
        counts.taken += 1;
        counts.taken_bytes += bytes as u64;
        match verdict {
            Some(Verdict::Deliver { .. }) => link.waits.saturating_record(wait_us * 1000),
            Some(Verdict::Drop(DropReason::Loss)) => counts.lost += 1,
            Some(Verdict::Drop(DropReason::Queue)) => counts.queue_full += 1,
            Some(Verdict::Drop(DropReason::Cut)) => counts.cut += 1,
            None => self.own_fault += 1,
        }
    }

    /// A packet was given to its region so late, or its device refused it.
    pub(super) fn give(&mut self, (from, to): (usize, usize), late: Duration, is_given: bool) {
        match is_given {
            true => self.links[from * self.regions + to].counts.given += 1,
            false => self.own_fault += 1,
        }
        let nanos = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.delay_error.saturating_record(nanos);
    }

    pub(super) fn add_cpu(&mut self, cpu: Duration) {
        self.cpu += cpu;
    }

    pub(super) fn report(&self) -> ForwarderReport {
        let late_us = |nanos: u64| nanos as f64 / 1e3;
        let error_us = |quantile| late_us(self.delay_error.value_at_quantile(quantile));
        let pairs = (0..self.regions).flat_map(|from| (0..self.regions).map(move |to| (from, to)));
        let links = pairs.zip(&self.links).filter(|((from, to), _)| from != to);
        let links = links.map(|((from, to), link)| LinkReport {
            from,
            to,
            counts: link.counts,
            wait_ms_p50: link.waits.value_at_quantile(0.5) as f64 / 1e6,
            wait_ms_p99: link.waits.value_at_quantile(0.99) as f64 / 1e6,
        });
        ForwarderReport {
            links: links.collect(),
            own_fault: self.own_fault,
            error_us_p50: error_us(0.5),
            error_us_p99: error_us(0.99),
            error_us_max: late_us(self.delay_error.max()),
            cpu_share: self.cpu.as_secs_f64() / self.began.elapsed().as_secs_f64().max(1e-9),
        }
    }
}

#[cfg(test)]
mod tests {
    use greenwich_proto::time::Time;

    use super::*;

    const DELIVER: Option<Verdict> = Some(Verdict::Deliver {
        at: Time(0),
        duplicate_at: None,
    });

    fn is_close(found: f64, expected: f64) -> bool {
        (found / expected - 1.0).abs() < 1e-3
    }

    #[test]
    fn every_packet_is_accounted_for() {
        let mut account = Account::new(2);
        let drop = |reason| Some(Verdict::Drop(reason));
        for (verdict, count) in [
            (DELIVER, 1_u64),
            (drop(DropReason::Loss), 2),
            (drop(DropReason::Queue), 3),
            (drop(DropReason::Cut), 4),
            (None, 5),
        ] {
            (0..count).for_each(|_| account.take((1, 0), 100, 0, verdict));
        }
        (0..6).for_each(|_| account.give((1, 0), Duration::ZERO, true));
        (0..7).for_each(|_| account.give((1, 0), Duration::ZERO, false));
        let report = account.report();
        assert_eq!(report.own_fault, 5 + 7);
        let expected = LinkCounts {
            taken: 15,
            taken_bytes: 1500,
            given: 6,
            lost: 2,
            queue_full: 3,
            cut: 4,
        };
        let [unused, used] = report.links.as_slice() else {
            panic!("{report:?}");
        };
        assert_eq!((unused.from, unused.to), (0, 1));
        assert_eq!(unused.counts, LinkCounts::default());
        assert_eq!((used.from, used.to, used.counts), (1, 0, expected));
        assert_eq!(report.total(), expected);
    }

    #[test]
    fn waits_and_lateness_are_those_of_the_packets() {
        let mut account = Account::new(2);
        for number in 1..=1_000 {
            account.take((0, 1), 100, number * 100, DELIVER);
            account.give((0, 1), Duration::from_micros(number * 10), true);
        }
        let report = account.report();
        let link = &report.links[0];
        for (found, expected) in [
            (link.wait_ms_p50, 50.0),
            (link.wait_ms_p99, 99.0),
            (report.error_us_p50, 5_000.0),
            (report.error_us_p99, 9_900.0),
            (report.error_us_max, 10_000.0),
        ] {
            assert!(is_close(found, expected), "{found}, not {expected}");
        }
    }

    #[test]
    fn the_share_of_a_processor_is_the_time_on_it_by_the_time_that_passed() {
        let mut account = Account::new(1);
        account.began -= Duration::from_secs(1_000);
        account.add_cpu(Duration::from_secs(100));
        account.add_cpu(Duration::from_secs(200));
        let share = account.report().cpu_share;
        let passed = account.began.elapsed().as_secs_f64();
        assert!(share <= 0.3 && share >= 300.0 / passed, "{share}");
    }

    #[test]
    fn an_emulation_that_did_badly_is_refused() {
        let good = ForwarderReport {
            own_fault: 10,
            error_us_p99: 1_900.0,
            cpu_share: 0.79,
            links: vec![LinkReport {
                counts: LinkCounts {
                    taken: 10_000,
                    ..LinkCounts::default()
                },
                ..LinkReport::default()
            }],
            ..ForwarderReport::default()
        };
        let late_max = Duration::from_millis(2);
        assert_eq!(good.bottleneck(late_max), None);
        let busy = ForwarderReport {
            cpu_share: 0.81,
            ..good.clone()
        };
        let late = ForwarderReport {
            error_us_p99: 2_100.0,
            ..good.clone()
        };
        let leaky = ForwarderReport {
            own_fault: 11,
            ..good
        };
        for (report, reason) in [
            (&busy, "used 81 % of a processor"),
            (&late, "late by 2.1 ms at p99"),
            (&leaky, "dropped 0.11 % of the packets"),
        ] {
            let said = report.bottleneck(late_max).expect(reason);
            assert!(said.contains(reason), "{said}");
        }
        assert_eq!(late.bottleneck(Duration::from_micros(2_200)), None);
    }
}
