//! Which impairment `up` puts on each pair of regions: a preset of the link model, or flags, or both.

use std::time::Duration;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use greenwich_proto::netem::{LinkProfile, Wan, preset};

use crate::config::{BitRate, Emulation, Percent, Period};

/// What was asked for.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WanArgs {
    /// Distance between the regions, emulated inside the nodes; for rehearsals. --rtt, --jitter, --loss and
    /// --rate each replace one value of it; those that are not given stay as the distance has them.
    #[arg(long, default_value = "none", value_parser = known_wans())]
    pub(crate) wan: Wan,
    /// Round trip between all regions, such as 80ms; replaces that of --wan.
    #[arg(long, value_name = "TIME")]
    pub(crate) rtt: Option<Period>,
    /// Largest deviation of each one-way delay, such as 2ms; replaces that of --wan, which otherwise is
    /// kept to a tenth of the delay.
    #[arg(long, value_name = "TIME")]
    pub(crate) jitter: Option<Period>,
    /// Share of packets lost in each direction, such as 1%; replaces that of --wan.
    #[arg(long, value_name = "PERCENT")]
    pub(crate) loss: Option<Percent>,
    /// Rate of each link in each direction, such as 100mbit; unlimited if not given.
    #[arg(long, value_name = "RATE")]
    pub(crate) rate: Option<BitRate>,
}

fn known_wans() -> impl TypedValueParser<Value = Wan> {
    PossibleValuesParser::new(Wan::ALL.map(|(name, _)| name)).try_map(|name| name.parse::<Wan>())
}

impl WanArgs {
    /// What region `from` does to its packets to region `to`; `None` without emulation. Not checked
    /// yet: flags may contradict each other.
    pub(crate) fn towards(&self, from: &str, to: &str) -> Option<Emulation> {
        let profile = preset(self.wan, from, to);
        let asked = self.rtt.is_some()
            || self.jitter.is_some()
            || self.loss.is_some()
            || self.rate.is_some();
        if profile.is_none() && !asked {
            return None;
        }
        let delay = self
            .rtt
            .map_or_else(|| micros(profile.delay_us), |rtt| Period(rtt.0 / 2));
        Some(Emulation {
            peer: to.into(),
            delay,
            jitter: self
                .jitter
                .unwrap_or_else(|| fitting_jitter(&profile, delay)),
            loss: self.loss.unwrap_or(Percent(profile.loss)),
            rate: self
                .rate
                .or_else(|| Some(BitRate(profile.rate_bytes_per_s? * 8))),
        })
    }

    /// What flags replace of the distance and what stays, when both are given.
    pub(crate) fn mixture(&self) -> Option<String> {
        let flags = [
            ("--rtt", self.rtt.is_some()),
            ("--jitter", self.jitter.is_some()),
            ("--loss", self.loss.is_some()),
        ];
        let named = |given: bool| -> Vec<&str> {
            let named = flags.iter().filter(|(_, is_given)| *is_given == given);
            named.map(|(name, _)| *name).collect()
        };
        let (replaced, kept) = (named(true), named(false));
        (self.wan != Wan::None && !replaced.is_empty() && !kept.is_empty()).then(|| {
            format!(
                "{} as given, {} as --wan {} has it",
                replaced.join(" and "),
                kept.join(" and "),
                self.wan
            )
        })
    }
}

/// A preset's jitter belongs to its distance: with a shorter one it could exceed the delay.
fn fitting_jitter(profile: &LinkProfile, delay: Period) -> Period {
    micros(profile.jitter_us).min(Period(delay.0 / 10))
}

fn micros(count: u64) -> Period {
    Period(Duration::from_micros(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_is_no_emulation() {
        assert_eq!(WanArgs::default().towards("a", "b"), None);
    }

    #[test]
    fn a_preset_is_the_same_in_both_directions_and_flags_override_it() {
        let mut args = WanArgs {
            wan: Wan::Global,
            loss: Some(Percent(0.01)),
            ..WanArgs::default()
        };
        let there = args.towards("us-east", "ap-south").unwrap();
        let back = args.towards("ap-south", "us-east").unwrap();
        assert_eq!((there.delay, there.loss), (back.delay, Percent(0.01)));
        assert!(there.delay > Period::millis(50), "{}", there.delay);
        args.rtt = Some(Period::millis(10));
        let link = args.towards("us-east", "ap-south").unwrap();
        assert_eq!(link.delay, Period::millis(5));
        assert!(link.jitter < link.delay);
    }

    #[test]
    fn a_flag_replaces_one_value_of_a_preset_and_says_which_stay() {
        let args = WanArgs {
            wan: Wan::Global,
            rtt: Some(Period::millis(80)),
            ..WanArgs::default()
        };
        let preset = preset(Wan::Global, "us-east", "ap-south");
        let link = args.towards("us-east", "ap-south").unwrap();
        assert_eq!(link.delay, Period::millis(40));
        assert_eq!(link.jitter, micros(preset.jitter_us));
        assert_eq!(link.loss, Percent(preset.loss));
        assert_eq!(link.rate, None);
        assert_eq!(
            args.mixture().as_deref(),
            Some("--rtt as given, --jitter and --loss as --wan global has it")
        );
        let alone = WanArgs {
            wan: Wan::None,
            ..args
        };
        assert_eq!(alone.mixture(), None);
        assert_eq!(
            alone.towards("us-east", "ap-south").unwrap().loss,
            Percent(0.0)
        );
    }

    #[test]
    fn loss_alone_is_emulation() {
        let args = WanArgs {
            loss: Some(Percent(0.5)),
            ..WanArgs::default()
        };
        assert_eq!(args.towards("a", "b").unwrap().delay, Period::seconds(0));
    }
}
