//! What a load works on: keys, how often each is asked for, and what their values are.

use serde::{Deserialize, Serialize};

use super::{
    keys::KeySpread,
    values::{ValueContent, ValueSize},
};
use crate::as_text;

/// Keys and values, as scenarios and the command line describe them.
#[derive(Clone, Copy, Debug, PartialEq, clap::Args, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Keys that there are.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=KEYS_MAX))]
    pub keys: u64,
    /// How often keys are asked for: uniform, zipf, zipf:EXPONENT, hot-set.
    #[arg(long, default_value = "zipf")]
    #[serde(with = "as_text")]
    pub spread: KeySpread,
    /// Bytes of a value: 100, 64..4096 (each size as likely), 64..1MiB:log (each order of magnitude).
    #[arg(long, default_value = "100")]
    #[serde(with = "as_text")]
    pub value_size: ValueSize,
    /// What values consist of.
    #[arg(long, default_value = "random")]
    #[serde(default)]
    pub value_content: ValueContent,
}

impl Dataset {
    /// Why nothing can be asked of it, if so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        keys_problem(self.keys)
    }
}

/// So many have numbers of their own, and names that fit.
const KEYS_MAX: u64 = 1_000_000_000;

/// Why there cannot be so many keys, if so.
#[must_use]
pub fn keys_problem(keys: u64) -> Option<String> {
    let is_possible = (1..=KEYS_MAX).contains(&keys);
    (!is_possible).then(|| format!("keys must be 1 to {KEYS_MAX}, and is {keys}"))
}
