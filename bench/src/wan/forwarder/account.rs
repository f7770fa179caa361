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
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
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
