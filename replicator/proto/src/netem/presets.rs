//! Links between named regions, for rehearsals: what a metropolis, a continent and the globe look like.

use std::{fmt, str::FromStr};

use super::LinkProfile;

/// A named set of links between regions, for a rehearsal on one machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wan {
    /// No emulation.
    #[default]
    None,
    /// Data centres of one city: 2 ms round trip.
    Metro,
    /// Data centres of one continent: 60 ms round trip.
    Continental,
    /// Data centres of three continents, see [`preset`].
    Global,
}

impl Wan {
    /// Every name that [`str::parse`] takes, with what it means.
    pub const ALL: [(&'static str, Self); 4] = [
        ("none", Self::None),
        ("metro", Self::Metro),
        ("continental", Self::Continental),
        ("global", Self::Global),
    ];
}

impl fmt::Display for Wan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL
            .iter()
            .find(|(_, wan)| wan == self)
            .map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// The name is not one of [`Wan::ALL`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no WAN preset: expected none, metro, continental or global")]
pub struct UnknownWan(String);

impl FromStr for Wan {
    type Err = UnknownWan;

    fn from_str(name: &str) -> Result<Self, UnknownWan> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, wan)| *wan)
            .ok_or_else(|| UnknownWan(name.to_owned()))
    }
}

/// Round trips between regions in milliseconds, either way round. They are typical public figures for the cloud regions
/// of North Virginia, Oregon, São Paulo, Ireland, Frankfurt, Mumbai, Singapore and Tokyo, as the providers' own latency
/// pages and independent monitors show them.
const GLOBAL_RTT_MS: [(&str, &str, u64); 28] = [
    ("us-east", "us-west", 62),
    ("us-east", "sa-east", 114),
    ("us-east", "eu-west", 70),
    ("us-east", "eu-central", 92),
    ("us-east", "ap-south", 196),
    ("us-east", "ap-southeast", 216),
    ("us-east", "ap-northeast", 148),
    ("us-west", "sa-east", 174),
    ("us-west", "eu-west", 124),
    ("us-west", "eu-central", 142),
    ("us-west", "ap-south", 218),
    ("us-west", "ap-southeast", 162),
    ("us-west", "ap-northeast", 98),
    ("sa-east", "eu-west", 178),
    ("sa-east", "eu-central", 202),
    ("sa-east", "ap-south", 300),
    ("sa-east", "ap-southeast", 326),
    ("sa-east", "ap-northeast", 256),
    ("eu-west", "eu-central", 24),
    ("eu-west", "ap-south", 122),
    ("eu-west", "ap-southeast", 178),
    ("eu-west", "ap-northeast", 202),
    ("eu-central", "ap-south", 124),
    ("eu-central", "ap-southeast", 160),
    ("eu-central", "ap-northeast", 226),
    ("ap-south", "ap-southeast", 60),
    ("ap-south", "ap-northeast", 128),
    ("ap-southeast", "ap-northeast", 70),
];

/// Between regions that the table does not name: about a third of the way around the world.
const GLOBAL_RTT_OTHER_MS: u64 = 150;

/// The link from one region to another under a preset: half of the round trip each way, with the jitter and the
/// loss of a leased line over that distance. A region's link to itself is [`LinkProfile::NONE`].
#[must_use]
pub fn preset(wan: Wan, from: &str, to: &str) -> LinkProfile {
    let link = |rtt_us, jitter_us, loss| LinkProfile {
        jitter_us,
        loss,
        ..LinkProfile::with_rtt_us(rtt_us)
    };
    match wan {
        _ if from == to => LinkProfile::NONE,
        Wan::None => LinkProfile::NONE,
        Wan::Metro => link(2_000, 50, 0.0),
        Wan::Continental => link(60_000, 300, 0.000_1),
        Wan::Global => link(global_rtt_ms(from, to) * 1_000, 1_000, 0.000_5),
    }
}

fn global_rtt_ms(from: &str, to: &str) -> u64 {
    let known = GLOBAL_RTT_MS
        .iter()
        .find(|(a, b, _)| (*a, *b) == (from, to) || (*a, *b) == (to, from));
    known.map_or(GLOBAL_RTT_OTHER_MS, |(_, _, rtt_ms)| *rtt_ms)
}
