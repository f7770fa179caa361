//! How regions are set apart, and what the way without privileges cannot do.

use std::{fmt, time::Duration};

use greenwich_proto::netem::{LinkProfile, QUEUE_BYTES_DEFAULT};
use serde::{Deserialize, Serialize};

use super::plan::Network;

/// How links between regions are emulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Emulation {
    /// Network namespaces and a forwarder, for any server. Needs root.
    #[default]
    Namespaces,
    /// The sockets of the nodes themselves, for Greenwich alone. Needs no privileges.
    Socket,
}

impl Emulation {
    /// The better of those that this user may use.
    #[must_use]
    pub fn possible() -> Self {
        match rustix::process::geteuid().is_root() {
            true => Self::Namespaces,
            false => Self::Socket,
        }
    }

    /// Why it cannot emulate the links between these regions, if so.
    #[must_use]
    pub fn problem(self, network: &Network, regions: &[String]) -> Option<String> {
        let profile = |from, to| network.profile(from, to);
        let pairs = regions.iter().flat_map(|from| {
            let others = regions.iter().filter(move |to| *to != from);
            others.map(move |to| profile(from, to))
        });
        let mut problems = pairs.filter_map(|profile| beyond_socket(&profile));
        match self {
            Self::Namespaces => None,
            Self::Socket => problems
                .next()
                .map(|what| format!("{SOCKET} cannot {what}")),
        }
    }
}

/// What emulates links without privileges.
pub const SOCKET: &str = "a node's own socket";

impl fmt::Display for Emulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "emulated by network namespaces and a forwarder, for every server",
            Self::Socket => {
                "emulated by the nodes' own sockets: for Greenwich alone, without cuts, and with nothing that counts bytes; \
                 namespaces need root"
            }
        })
    }
}

/// What the configuration of a node takes.
const DELAY_MAX: Duration = Duration::from_secs(10);
const RATE_BYTES_PER_S_MIN: u64 = 1;

/// What of a link a node's socket cannot do.
fn beyond_socket(profile: &LinkProfile) -> Option<&'static str> {
    let delay_max = u64::try_from(DELAY_MAX.as_micros()).unwrap_or(u64::MAX);
    let has_burst = profile.loss > 0.0 && profile.loss_burst_packets > 1.0;
    let is_queued = profile.rate_bytes_per_s.is_some();
    [
        (has_burst, "lose packets in bursts"),
        (profile.loss >= 1.0, "lose every packet"),
        (profile.delay_us > delay_max, "delay by more than 10 s"),
        (profile.duplicate > 0.0, "send packets twice"),
        (profile.reorder, "reorder packets"),
        (
            is_queued && profile.queue_bytes != QUEUE_BYTES_DEFAULT,
            "have another queue than 1024 KiB before its rate",
        ),
        (
            profile.rate_bytes_per_s < Some(RATE_BYTES_PER_S_MIN) && is_queued,
            "have a rate below 8 bit/s",
        ),
    ]
    .into_iter()
    .find_map(|(is_so, what)| is_so.then_some(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wan::plan::{LinkPlan, Pair};

    #[test]
    fn what_a_socket_cannot_do_is_said() {
        let regions = ["a".to_owned(), "b".to_owned()];
        let problem = |link: &str| {
            let link: LinkPlan = toml::from_str(link).unwrap();
            // A pair, so that links are looked at one by one.
            let between = regions.clone();
            let network = Network {
                link: LinkPlan::default(),
                pairs: vec![Pair { between, link }],
            };
            assert_eq!(Emulation::Namespaces.problem(&network, &regions), None);
            Emulation::Socket.problem(&network, &regions)
        };
        let fine = "rtt = \"80ms\"\njitter = \"1ms\"\nloss_percent = 1\nrate_mbit = 10";
        assert_eq!(problem(fine), None);
        assert_eq!(problem("preset = \"global\""), None);
        for (link, what) in [
            (
                "loss_percent = 1\nloss_burst_packets = 3",
                "lose packets in bursts",
            ),
            ("loss_percent = 100", "lose every packet"),
            ("rtt = \"30s\"", "delay by more than 10 s"),
            ("rate_mbit = 10\nqueue_kib = 64", "have another queue"),
            ("rate_mbit = 0.0000001", "have a rate below"),
        ] {
            let problem = problem(link).expect(link);
            assert!(problem.contains(what), "{problem}");
        }
    }
}
