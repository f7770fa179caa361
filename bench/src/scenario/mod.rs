//! What is measured: each scenario is a file here, and its settings are a table of `scenarios/*/*.toml`.

pub mod file;
pub mod lag;
pub mod local;

use std::path::Path;

use serde::{Deserialize, Serialize};

use self::{
    lag::{Lag, LagReport},
    local::{Local, LocalReport},
};
use crate::server::Adapter;

/// What a scenario is given.
pub struct Stage<'a> {
    /// The servers that are installed.
    pub servers: Vec<&'a dyn Adapter>,
    /// Names of the regions.
    pub regions: Vec<&'a str>,
    /// Where servers keep their files.
    pub directory: &'a Path,
    /// The same seed asks for the same things in the same order.
    pub seed: u64,
    /// Told of each step.
    pub tell: &'a dyn Fn(String),
}

impl std::fmt::Debug for Stage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage")
            .field("regions", &self.regions)
            .finish_non_exhaustive()
    }
}

/// One of the scenarios, with its settings.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// One region beside others' servers.
    Local(Local),
    /// Replication lag behind emulated links.
    Lag(Lag),
}

/// What a scenario showed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// One region beside others' servers.
    Local(LocalReport),
    /// Replication lag behind emulated links.
    Lag(LagReport),
}

impl Scenario {
    /// Why its settings make no sense, if so.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Local(local) => local.problem(),
            Self::Lag(lag) => lag.problem(),
        }
    }

    /// Whether servers take turns within it. If not, a whole run of it is a turn.
    #[must_use]
    pub fn has_rounds(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Runs it. What was measured before a failure is in the outcome.
    ///
    /// # Errors
    /// What went wrong, for a person, beside what was measured until then.
    pub fn run(&self, stage: &Stage<'_>) -> (Outcome, anyhow::Result<()>) {
        match self {
            Self::Local(local) => {
                let mut report = LocalReport::default();
                let result = local.run(stage, &mut report);
                (Outcome::Local(report), result)
            }
            Self::Lag(lag) => {
                let mut report = LagReport::default();
                let result = lag.run(stage, &mut report);
                (Outcome::Lag(report), result)
            }
        }
    }
}

impl Outcome {
    /// Adds what a later turn of the same scenario showed.
    pub fn add(&mut self, later: Self) {
        match (self, later) {
            (Self::Local(all), Self::Local(later)) => {
                all.memory.extend(later.memory);
                all.turns.extend(later.turns);
            }
            (Self::Lag(all), Self::Lag(later)) => all.runs.extend(later.runs),
            (Self::Local(_) | Self::Lag(_), _) => {}
        }
    }
}
