//! What is measured: each scenario is a file here, and its settings are a table of `scenarios/*/*.toml`.

pub mod conflict;
pub mod drive;
mod equal;
pub mod faults;
pub mod file;
pub mod lag;
pub mod local;
pub mod partition;
mod place;
pub mod soak;

use std::path::Path;

use serde::{Deserialize, Serialize};

use self::{
    conflict::{Conflict, ConflictReport},
    lag::{Lag, LagReport},
    local::{Local, LocalReport},
    partition::{Partition, PartitionReport},
    soak::{Soak, SoakReport},
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
    /// The same keys written everywhere at once.
    Conflict(Conflict),
    /// A region cut off, and its return.
    Partition(Partition),
    /// Mixed load for long, with faults.
    Soak(Soak),
}

/// What a scenario showed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// One region beside others' servers.
    Local(LocalReport),
    /// Replication lag behind emulated links.
    Lag(LagReport),
    /// The same keys written everywhere at once.
    Conflict(ConflictReport),
    /// A region cut off, and its return.
    Partition(PartitionReport),
    /// Mixed load for long, with faults.
    Soak(SoakReport),
}

impl Scenario {
    /// Why its settings make no sense for these regions, if so.
    #[must_use]
    pub fn problem(&self, regions: &[String]) -> Option<String> {
        match self {
            Self::Local(local) => local.problem(),
            Self::Lag(lag) => lag.problem(regions),
            Self::Conflict(conflict) => conflict.problem(regions),
            Self::Partition(partition) => partition.problem(regions),
            Self::Soak(soak) => soak.problem(regions),
        }
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
            Self::Conflict(conflict) => {
                let mut report = ConflictReport::default();
                let result = conflict.run(stage, &mut report);
                (Outcome::Conflict(report), result)
            }
            Self::Partition(partition) => {
                let mut report = PartitionReport::default();
                let result = partition.run(stage, &mut report);
                (Outcome::Partition(report), result)
            }
            Self::Soak(soak) => {
                let mut report = SoakReport::default();
                let result = soak.run(stage, &mut report);
                (Outcome::Soak(report), result)
            }
        }
    }
}
