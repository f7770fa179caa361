//! Which nodes a command asks, and what they answer.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use serde::Serialize;

use super::status::fetch::fetch;
use super::up::record::Record;
use crate::status::Status;

pub(super) const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);

/// Where the nodes are.
#[derive(Debug, Args)]
pub(super) struct NodesArgs {
    /// Directory of a running `greenwich up`.
    #[arg(long, default_value = "greenwich-data", value_name = "DIR")]
    data: PathBuf,
    /// Admin addresses to ask instead, as host:port.
    #[arg(long, num_args = 1.., value_delimiter = ',', value_name = "ADDR")]
    admin: Vec<String>,
    /// File with the admin token of the nodes.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl NodesArgs {
    /// The directory of `up`, unless nodes are named.
    pub(super) fn data_of_up(&self) -> Option<&Path> {
        self.admin.is_empty().then_some(&*self.data)
    }
}

/// Nodes to ask: the region's name where it is known, and the admin address.
#[derive(Debug)]
pub(super) struct Nodes {
    targets: Vec<(Option<String>, String)>,
    token: Option<String>,
}

/// What became of one question.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// Name of the region as `up` started it.
    pub(super) region: Option<String>,
    pub(super) admin: String,
    pub(super) status: Option<Status>,
    pub(super) error: Option<String>,
}

impl Answer {
    pub(super) fn name(&self) -> &str {
        let own = self.status.as_ref().map(|status| status.region.as_str());
        own.or(self.region.as_deref()).unwrap_or("?")
    }
}

impl Nodes {
    /// The nodes that are named, or those that `up` started.
    pub(super) fn find(args: &NodesArgs) -> anyhow::Result<Self> {
        Ok(Self {
            targets: targets(args)?,
            token: args.token_file.as_deref().map(read_token).transpose()?,
        })
    }

    /// Asks all of them at once.
    pub(super) fn ask(&self) -> Vec<Answer> {
        self.each(|region, admin| ask(region, admin, self.token()))
    }

    /// The region's name where it is known, and the admin address.
    pub(super) fn targets(&self) -> &[(Option<String>, String)] {
        &self.targets
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Runs `ask` for all of them at once.
    pub(super) fn each<R: Send>(&self, ask: impl Fn(Option<&str>, &str) -> R + Sync) -> Vec<R> {
        let ask = &ask;
        thread::scope(|scope| {
            let asked: Vec<_> = self
                .targets
                .iter()
                .map(|(region, admin)| scope.spawn(move || ask(region.as_deref(), admin)))
                .collect();
            asked
                .into_iter()
                .map(|one| one.join().expect("asking does not panic"))
                .collect()
        })
    }
}

fn ask(region: Option<&str>, admin: &str, token: Option<&str>) -> Answer {
    let (status, error) = match fetch(admin, token, ANSWER_TIME_MAX) {
        Ok(status) => (Some(status), None),
        Err(error) => (None, Some(error.to_string())),
    };
    Answer {
        region: region.map(str::to_owned),
        admin: admin.to_owned(),
        status,
        error,
    }
}

fn targets(args: &NodesArgs) -> anyhow::Result<Vec<(Option<String>, String)>> {
    if !args.admin.is_empty() {
        return Ok(args
            .admin
            .iter()
            .map(|admin| (None, admin.clone()))
            .collect());
    }
    let Some(record) = Record::read(&args.data)? else {
        bail!(
            "nothing was started in {}: run `greenwich up`, or give its --data, or name nodes with --admin HOST:PORT",
            args.data.display()
        );
    };
    let known = record.regions.into_iter();
    Ok(known
        .map(|region| (Some(region.region), region.admin.to_string()))
        .collect())
}

fn read_token(file: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the token file {}", file.display()))?;
    Ok(text.trim().to_owned())
}
