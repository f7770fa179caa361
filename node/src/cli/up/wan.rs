//! Which impairment `up` puts on each pair of regions.

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::config::{BitRate, Percent, Period};

/// Emulated distance between the regions. Rehearsal only: it is added inside each node's own socket.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WanArgs {
    /// Distance between the regions, emulated inside the nodes.
    #[arg(long, value_enum, default_value_t = Wan::None)]
    pub(crate) wan: Wan,
    /// Round trip between all regions, such as 80ms; overrides that of --wan.
    #[arg(long, value_name = "TIME")]
    pub(crate) rtt: Option<Period>,
    /// Largest deviation of each one-way delay, such as 2ms; overrides that of --wan.
    #[arg(long, value_name = "TIME")]
    pub(crate) jitter: Option<Period>,
    /// Share of packets lost in each direction, such as 1%.
    #[arg(long, value_name = "PERCENT")]
    pub(crate) loss: Option<Percent>,
    /// Rate of each link in each direction, such as 100mbit.
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<BitRate>,
}

/// Distances that people know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Wan {
    /// No emulation.
    #[default]
    None,
    /// One city: 2 ms round trip.
    Metro,
    /// One continent: 30 ms round trip.
    Continental,
    /// The world: 80 to 200 ms round trip.
    Global,
}

/// Impairment between two regions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct WanLink {
    pub(crate) rtt: Period,
    pub(crate) jitter: Period,
    pub(crate) loss: Percent,
    pub(crate) rate: Option<BitRate>,
}

impl WanArgs {
    /// What lies between two regions, given by position; `None` without emulation.
    pub(crate) fn between(&self, one: usize, other: usize) -> Option<WanLink> {
        let preset = self.wan.rtt_and_jitter(one, other);
        let asked = self.rtt.is_some()
            || self.jitter.is_some()
            || self.loss.is_some()
            || self.rate.is_some();
        if preset.is_none() && !asked {
            return None;
        }
        let (rtt, jitter) = preset.unwrap_or((Period::seconds(0), Period::seconds(0)));
        let rtt = self.rtt.unwrap_or(rtt);
        // A preset's jitter belongs to its distance: with another one it could exceed the delay.
        let fitting = Period(jitter.0.min(rtt.0 / 20));
        Some(WanLink {
            rtt,
            jitter: self.jitter.unwrap_or(fitting),
            loss: self.loss.unwrap_or(Percent(0.0)),
            rate: self.rate,
        })
    }
}

impl Wan {
    fn rtt_and_jitter(self, one: usize, other: usize) -> Option<(Period, Period)> {
        match self {
            Self::None => None,
            Self::Metro => Some((Period::millis(2), Period(Duration::from_micros(100)))),
            Self::Continental => Some((Period::millis(30), Period::millis(1))),
            Self::Global => Some((global_rtt(one, other), Period::millis(2))),
        }
    }
}

/// Typical round trips between us-east, eu-west and ap-south; other pairs are taken to lie between.
fn global_rtt(one: usize, other: usize) -> Period {
    Period::millis(match (one.min(other), one.max(other)) {
        (0, 1) => 80,
        (0, 2) => 200,
        (1, 2) => 120,
        _ => 150,
    })
}

impl WanLink {
    /// Each end delays what it sends by half of the round trip.
    pub(crate) fn one_way(&self) -> Period {
        Period(self.rtt.0 / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_is_no_emulation() {
        assert_eq!(WanArgs::default().between(0, 1), None);
    }

    #[test]
    fn a_preset_is_the_same_in_both_directions_and_flags_override_it() {
        let mut args = WanArgs {
            wan: Wan::Global,
            loss: Some(Percent(0.01)),
            ..WanArgs::default()
        };
        let link = args.between(0, 2).unwrap();
        assert_eq!((link.rtt, link.loss), (Period::millis(200), Percent(0.01)));
        assert_eq!(args.between(2, 0), Some(link));
        args.rtt = Some(Period::millis(10));
        let link = args.between(0, 2).unwrap();
        assert_eq!(link.one_way(), Period::millis(5));
        assert!(link.jitter < link.one_way());
    }

    #[test]
    fn loss_alone_is_emulation() {
        let args = WanArgs {
            loss: Some(Percent(0.5)),
            ..WanArgs::default()
        };
        assert_eq!(args.between(0, 1).unwrap().rtt, Period::seconds(0));
    }
}
