//! What links between regions do, as scenarios describe it: one link for all, and changes of it for pairs of regions.

use std::{fmt, ops::RangeInclusive, time::Duration};

use greenwich_proto::netem::{LinkProfile, Wan, preset};
use serde::{Deserialize, Serialize};

use crate::as_duration;

/// What a link does, the same in both directions. What is not given is as the preset has it, and nothing without one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinkPlan {
    /// `metro`, `continental` or `global`: the round trip, the jitter and the loss between regions of these names.
    #[serde(with = "preset_name", skip_serializing_if = "Option::is_none")]
    pub preset: Option<Wan>,
    /// Round trip; half of it in each direction.
    #[serde(
        with = "as_duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub rtt: Option<Duration>,
    /// The one-way delay varies by up to this much either way.
    #[serde(
        with = "as_duration::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub jitter: Option<Duration>,
    /// Percent of packets lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_percent: Option<f64>,
    /// How many are lost in a row, in the mean; each independently without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_burst_packets: Option<f64>,
    /// Megabits per second; without it everything passes at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_mbit: Option<f64>,
    /// What may wait before the rate, in KiB; 1024 without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_kib: Option<u64>,
}

/// What is different between two regions.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The two regions, in any order.
    pub between: [String; 2],
    /// What it does; what is not given is as for all links.
    pub link: LinkPlan,
}

/// Links between all regions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Of all pairs of regions.
    #[serde(default)]
    pub link: LinkPlan,
    /// Changes for some pairs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<Pair>,
}

/// Round trips and jitter of a link: nodes refuse longer ones, too.
const TIME_MAX: Duration = Duration::from_secs(10);
const RATE_MBIT: RangeInclusive<f64> = 0.001..=1e6;
/// Up to a gibibyte.
const QUEUE_KIB: RangeInclusive<u64> = 1..=1 << 20;

impl LinkPlan {
    /// Why no link can be like this, if so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let (loss, burst) = (self.loss_percent, self.loss_burst_packets);
        if let Some(loss) = loss.filter(|loss| !(0.0..=100.0).contains(loss)) {
            return Some(format!("loss_percent must be 0 to 100, and is {loss}"));
        }
        if let Some(burst) = burst.filter(|burst| !(1.0..=1e6).contains(burst)) {
            return Some(format!(
                "loss_burst_packets must be 1 or more, and is {burst}"
            ));
        }
        if let Some(rate) = self.rate_mbit.filter(|rate| !RATE_MBIT.contains(rate)) {
            let (least, most) = RATE_MBIT.into_inner();
            return Some(format!(
                "rate_mbit must be {least} to {most}, and is {rate}"
            ));
        }
        if let Some(kib) = self.queue_kib.filter(|kib| !QUEUE_KIB.contains(kib)) {
            let (least, most) = QUEUE_KIB.into_inner();
            return Some(format!("queue_kib must be {least} to {most}, and is {kib}"));
        }
        let mut times = [("rtt", self.rtt), ("jitter", self.jitter)].into_iter();
        times.find_map(|(name, time)| {
            let time = humantime::format_duration(time.filter(|&time| time > TIME_MAX)?);
            let most = humantime::format_duration(TIME_MAX);
            Some(format!("{name} must be at most {most}, and is {time}"))
        })
    }

    /// The model of one direction between two regions, on top of what `profile` does.
    fn apply(&self, mut profile: LinkProfile, from: &str, to: &str) -> LinkProfile {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(wan) = self.preset {
            profile = preset(wan, from, to);
        }
        if let Some(rtt) = self.rtt {
            profile.delay_us = micros(rtt) / 2;
        }
        if let Some(jitter) = self.jitter {
            profile.jitter_us = micros(jitter);
        }
        if let Some(loss) = self.loss_percent {
            profile.loss = loss / 100.0;
        }
        if let Some(burst) = self.loss_burst_packets {
            profile.loss_burst_packets = burst;
        }
        if let Some(rate) = self.rate_mbit {
            profile.rate_bytes_per_s = Some((rate * 1e6 / 8.0) as u64);
        }
        if let Some(kib) = self.queue_kib {
            profile.queue_bytes = kib.saturating_mul(1024);
        }
        profile
    }
}

impl Pair {
    /// Why it cannot be described after the `earlier` ones, if so.
    fn problem(&self, regions: &[String], earlier: &[Self]) -> Option<String> {
        let [a, b] = &self.between;
        if let Some(name) = [a, b].into_iter().find(|name| !regions.contains(name)) {
            return Some(format!("there is no region {name:?}"));
        }
        if a == b {
            return Some(format!(
                "a link is between two regions, and not {a:?} and itself"
            ));
        }
        if earlier.iter().any(|pair| pair.is_between(a, b)) {
            return Some(format!(
                "the link between {a:?} and {b:?} is described twice"
            ));
        }
        self.link.problem()
    }

    fn is_between(&self, from: &str, to: &str) -> bool {
        let [a, b] = &self.between;
        (a == from && b == to) || (a == to && b == from)
    }
}

impl Network {
    /// Why it cannot be between these regions, if so.
    #[must_use]
    pub fn problem(&self, regions: &[String]) -> Option<String> {
        let pairs = || {
            self.pairs.iter().enumerate().find_map(|(index, pair)| {
                let problem = pair.problem(regions, &self.pairs[..index])?;
                Some(format!("pair {}: {problem}", index + 1))
            })
        };
        let problem = self.link.problem().or_else(pairs);
        problem.or_else(|| self.jitter_problem(regions))
    }

    /// Jitter and delay may come from different places: they are compared as they meet between two regions.
    fn jitter_problem(&self, regions: &[String]) -> Option<String> {
        let pairs = regions
            .iter()
            .flat_map(|a| regions.iter().map(move |b| (a, b)));
        pairs.filter(|(a, b)| a != b).find_map(|(a, b)| {
            let profile = self.profile(a, b);
            let time = |micros| humantime::format_duration(Duration::from_micros(micros));
            (profile.jitter_us > profile.delay_us).then(|| {
                format!(
                    "jitter must not exceed the one-way delay, and between {a} and {b} it is {} of {}",
                    time(profile.jitter_us),
                    time(profile.delay_us)
                )
            })
        })
    }

    /// The model of the link from one region to another.
    #[must_use]
    pub fn profile(&self, from: &str, to: &str) -> LinkProfile {
        let all = self.link.apply(LinkProfile::NONE, from, to);
        let changes = self.pairs.iter().filter(|pair| pair.is_between(from, to));
        changes.fold(all, |profile, pair| pair.link.apply(profile, from, to))
    }

    /// The delay from one region to another.
    #[must_use]
    pub fn one_way(&self, from: &str, to: &str) -> Duration {
        Duration::from_micros(self.profile(from, to).delay_us)
    }
}

impl fmt::Display for LinkPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        parts.extend(self.preset.map(|wan| wan.to_string()));
        let time = |time: Duration| humantime::format_duration(time).to_string();
        match (self.rtt, self.jitter) {
            (Some(rtt), Some(jitter)) => {
                parts.push(format!("rtt {} ± {}", time(rtt), time(jitter)))
            }
            (Some(rtt), None) => parts.push(format!("rtt {}", time(rtt))),
            (None, Some(jitter)) => parts.push(format!("± {}", time(jitter))),
            (None, None) => {}
        }
        if let Some(loss) = self.loss_percent.filter(|&loss| loss > 0.0) {
            let burst = self.loss_burst_packets.filter(|&burst| burst > 1.0);
            let burst = burst.map_or(String::new(), |burst| format!(" in bursts of {burst}"));
            parts.push(format!("{loss} % loss{burst}"));
        }
        parts.extend(self.rate_mbit.map(|rate| format!("{rate} Mbit/s")));
        match parts.is_empty() {
            true => f.write_str("no emulation"),
            false => f.write_str(&parts.join(", ")),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.link)?;
        for Pair {
            between: [a, b],
            link,
        } in &self.pairs
        {
            write!(f, "; {a} to {b}: {link}")?;
        }
        Ok(())
    }
}

/// A preset by its name.
mod preset_name {
    use greenwich_proto::netem::Wan;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(
        preset: &Option<Wan>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match preset {
            Some(preset) => serializer.collect_str(preset),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Wan>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| name.parse().map_err(D::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn pairs_change_what_all_links_do() {
        let network = network(
            "link = { preset = \"global\", loss_percent = 2 }\n\
             pairs = [{ between = [\"ap-south\", \"us-east\"], link = { rtt = \"9ms\", rate_mbit = 8 } }]\n",
        );
        let plain = network.profile("us-east", "eu-west");
        assert_eq!(
            (plain.delay_us, plain.loss, plain.rate_bytes_per_s),
            (35_000, 0.02, None)
        );
        for (from, to) in [("us-east", "ap-south"), ("ap-south", "us-east")] {
            let changed = network.profile(from, to);
            assert_eq!(changed.delay_us, 4_500);
            assert_eq!(
                (changed.loss, changed.rate_bytes_per_s),
                (0.02, Some(1_000_000))
            );
        }
        assert_eq!(
            network.to_string(),
            "global, 2 % loss; ap-south to us-east: rtt 9ms, 8 Mbit/s"
        );
    }

    #[test]
    fn links_that_cannot_be_are_refused() {
        let regions = ["a".to_owned(), "b".to_owned()];
        let problem = |text: &str| network(text).problem(&regions);
        assert_eq!(problem(""), None);
        for (text, reason) in [
            (
                "link = { loss_percent = 101 }\n",
                "loss_percent must be 0 to 100",
            ),
            (
                "link = { loss_burst_packets = 0.5 }\n",
                "loss_burst_packets must be",
            ),
            ("link = { rate_mbit = 0 }\n", "rate_mbit must be"),
            ("link = { rate_mbit = 1e-7 }\n", "rate_mbit must be"),
            ("link = { rate_mbit = nan }\n", "rate_mbit must be"),
            ("link = { queue_kib = 0 }\n", "queue_kib must be"),
            (
                "link = { rtt = \"11s\" }\n",
                "rtt must be at most 10s, and is 11s",
            ),
            (
                "link = { rtt = \"1s\", jitter = \"11s\" }\n",
                "jitter must be at most 10s",
            ),
            (
                "link = { rtt = \"4ms\", jitter = \"3ms\" }\n",
                "jitter must not exceed the one-way delay, and between a and b it is 3ms of 2ms",
            ),
            ("link = { jitter = \"3ms\" }\n", "it is 3ms of 0s"),
            (
                "link = { rtt = \"80ms\", jitter = \"30ms\" }\n\
                 pairs = [{ between = [\"b\", \"a\"], link = { rtt = \"2ms\" } }]\n",
                "it is 30ms of 1ms",
            ),
            (
                "pairs = [{ between = [\"a\", \"a\"], link = {} }]\n",
                "pair 1: a link is between two regions, and not \"a\" and itself",
            ),
            (
                "pairs = [{ between = [\"a\", \"b\"], link = {} }, { between = [\"b\", \"a\"], link = {} }]\n",
                "pair 2: the link between \"b\" and \"a\" is described twice",
            ),
            (
                "pairs = [{ between = [\"a\", \"b\"], link = { loss_percent = -1 } }]\n",
                "pair 1: loss_percent must be",
            ),
            (
                "pairs = [{ between = [\"a\", \"c\"], link = {} }]\n",
                "there is no region \"c\"",
            ),
        ] {
            let problem = problem(text).expect(text);
            assert!(problem.contains(reason), "{problem}");
        }
        let unknown = toml::from_str::<LinkPlan>("preset = \"mars\"").unwrap_err();
        assert!(
            unknown.to_string().contains("metro, continental or global"),
            "{unknown}"
        );
    }

    #[test]
    fn all_of_a_plan_ends_in_the_model() {
        let plan = network(
            "link = { rtt = \"10ms\", jitter = \"3ms\", loss_percent = 4, loss_burst_packets = 5, rate_mbit = 16, queue_kib = 7 }",
        );
        let expected = LinkProfile {
            delay_us: 5_000,
            jitter_us: 3_000,
            loss: 0.04,
            loss_burst_packets: 5.0,
            rate_bytes_per_s: Some(2_000_000),
            queue_bytes: 7 * 1024,
            ..LinkProfile::NONE
        };
        assert_eq!(plan.profile("a", "b"), expected);
        let alone = |text: &str| network(&format!("link = {{ {text} }}")).profile("a", "b");
        assert_eq!(alone(""), LinkProfile::NONE);
        let jitter_us = 250;
        assert_eq!(
            alone("jitter = \"250us\""),
            LinkProfile {
                jitter_us,
                ..LinkProfile::NONE
            }
        );
        for wan in ["metro", "continental", "global"] {
            let of_preset = preset(wan.parse().unwrap(), "us-east", "eu-west");
            let plan = network(&format!("link = {{ preset = \"{wan}\" }}"));
            assert_eq!(plan.profile("us-east", "eu-west"), of_preset);
        }
    }
}
