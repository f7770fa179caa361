//! Regions that are far apart, on one machine: each lives in a network namespace of its own, and what they say to each
//! other passes a forwarder in user space that delays, loses and limits it. Any server can live there, and any protocol.
//!
//! It needs root and Linux with TUN devices, and no emulation in the kernel.

pub mod forwarder;
pub mod namespaces;

use std::{fmt, time::Duration};

use greenwich_proto::netem::{LinkProfile, QUEUE_BYTES_DEFAULT};
use serde::{Deserialize, Serialize};

/// What one direction of the link between two regions does.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LinkPlan {
    /// Round trip; half of it in each direction.
    #[serde(with = "humantime_serde")]
    pub rtt: Duration,
    /// The one-way delay varies by up to this much either way.
    #[serde(default, with = "humantime_serde")]
    pub jitter: Duration,
    /// Percent of packets lost, each independently.
    #[serde(default)]
    pub loss_percent: f64,
    /// Megabits per second; without it everything passes at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_mbit: Option<f64>,
}

impl fmt::Display for LinkPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rtt {}", humantime::format_duration(self.rtt))?;
        if !self.jitter.is_zero() {
            write!(f, " ± {}", humantime::format_duration(self.jitter))?;
        }
        if self.loss_percent > 0.0 {
            write!(f, ", {} % loss", self.loss_percent)?;
        }
        match self.rate_mbit {
            Some(rate) => write!(f, ", {rate} Mbit/s"),
            None => Ok(()),
        }
    }
}

impl LinkPlan {
    /// Why no link can be like this, if so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if !(0.0..=100.0).contains(&self.loss_percent) {
            return Some(format!(
                "loss_percent must be 0 to 100, and is {}",
                self.loss_percent
            ));
        }
        let rate = self
            .rate_mbit
            .filter(|rate| !(*rate > 0.0 && rate.is_finite()));
        rate.map(|rate| format!("rate_mbit must be above 0, and is {rate}"))
    }

    /// The model of one direction.
    #[must_use]
    pub fn profile(&self) -> LinkProfile {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        LinkProfile {
            jitter_us: micros(self.jitter),
            loss: self.loss_percent / 100.0,
            rate_bytes_per_s: self.rate_mbit.map(|rate| (rate * 1e6 / 8.0) as u64),
            queue_bytes: QUEUE_BYTES_DEFAULT,
            ..LinkProfile::with_rtt_us(micros(self.rtt))
        }
    }
}
