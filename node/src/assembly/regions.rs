//! Regions that are added and removed while the node runs: kept on disk, told to the replicator, and shown.
//!
//! The file has what was decided by command, here or anywhere in the cluster, and wins over the node's configuration. A node
//! that was away when something was decided hears of it with its first link.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use greenwich_proto::{
    hlc::Origin,
    members::{Member, Members},
    peer::handshake::Expected,
    roster::Seat,
};
use greenwich_replicator::{Replicator, files};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::report::link_of;
use crate::{
    config::Config,
    regions::{Addition, Other, Question, Regions, Removal},
};

/// The file in the data directory.
pub(crate) const FILE: &str = "regions.toml";

/// What a node without replication is told.
const ALONE: &str =
    "this node runs on its own: list the other regions in its configuration, and restart it";

#[derive(Debug, Default, Serialize, Deserialize)]
struct Record {
    regions: Members,
}

impl Record {
    fn write(&self, file: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let text = format!("# Regions that were added and removed by command. Keep it.\n{text}");
        files::write_whole(file, text.as_bytes(), files::PUBLIC)
    }
}

/// What was decided by command so far.
///
/// # Errors
/// When the file cannot be read, or is there and says nothing, as one that was copied to a full disk. A node that took it for
/// empty would go on with regions that were removed.
pub(super) fn read(data_dir: &Path) -> anyhow::Result<Members> {
    let file = data_dir.join(FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Members::default()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    let damaged = || {
        format!(
            "{} is damaged: remove it, and the other regions tell this node again which were added and removed",
            file.display()
        )
    };
    let record: Record = toml::from_str(&text).with_context(damaged)?;
    record.regions.check().with_context(damaged)?;
    Ok(record.regions)
}

/// Says which regions a node takes from where.
pub(super) fn announce(members: &Members) {
    for Member {
        id,
        region,
        address,
        ..
    } in members.iter()
    {
        match address {
            Some(address) => tracing::info!(region, id, address, "added by command"),
            None => tracing::info!(
                region,
                id,
                "removed by command, whatever the configuration says"
            ),
        }
    }
}

/// Whoever changes, keeps and shows the regions of a node.
pub(super) struct Registrar {
    config: Arc<Config>,
    replicator: Arc<Mutex<Option<Replicator>>>,
    file: PathBuf,
    /// What is on disk.
    kept: Mutex<Members>,
}

impl Registrar {
    pub(super) fn new(
        config: Arc<Config>,
        replicator: Arc<Mutex<Option<Replicator>>>,
        kept: Members,
    ) -> Self {
        Self {
            file: config.data_dir.join(FILE),
            config,
            replicator,
            kept: Mutex::new(kept),
        }
    }

    /// Does what is asked, and shows the regions then. May wait for the disk. The error is for an operator.
    pub(super) fn answer(&self, question: Question) -> Result<Regions, String> {
        self.change(question)?;
        let kept = self.keep();
        kept.map_err(|error| {
            format!(
                "the regions cannot be kept in {}: {error}: give the command again once they can",
                self.file.display()
            )
        })?;
        self.show().ok_or_else(|| ALONE.to_owned())
    }

    fn change(&self, question: Question) -> Result<(), String> {
        let replicator = self.replicator.lock();
        let replicator = replicator.as_ref().ok_or(ALONE)?;
        let (region, is_changed) = match question {
            Question::List => return Ok(()),
            Question::Add(Addition {
                region,
                id,
                address,
            }) => {
                let expected = Expected {
                    region: region.clone(),
                    origin: Origin(id),
                };
                (region, replicator.add_region(expected, address))
            }
            Question::Remove(Removal { region }) => {
                let removed = replicator.remove_region(&region);
                (region, removed)
            }
        };
        if is_changed.map_err(|error| error.to_string())? {
            tracing::info!(region, "the regions were changed by command");
        }
        Ok(())
    }

    /// Puts on disk what was decided, where that is not there.
    fn keep(&self) -> io::Result<()> {
        let mut kept = self.kept.lock();
        let roster = {
            let replicator = self.replicator.lock();
            let roster = replicator.as_ref().map(Replicator::roster);
            roster.map(Arc::clone)
        };
        let Some(regions) = roster.map(|roster| roster.members()) else {
            return Ok(());
        };
        if regions == *kept {
            return Ok(());
        }
        let record = Record { regions };
        record.write(&self.file)?;
        *kept = record.regions;
        Ok(())
    }

    fn show(&self) -> Option<Regions> {
        let replicator = self.replicator.lock();
        let replicator = replicator.as_ref()?;
        let reports = replicator.reports();
        let other = |(at, seat): (usize, Seat)| {
            let report = reports.iter().find(|report| report.index.0 == at);
            let link = report.map(|report| link_of(&report.session, &report.view));
            let (link, reason) = link.unzip();
            Other {
                region: seat.expected.region,
                id: seat.expected.origin.0,
                address: seat.address,
                removed: !seat.is_present,
                by_command: seat.is_recorded,
                informed: report.is_some_and(|report| report.is_informed),
                link,
                reason: reason.flatten(),
            }
        };
        let seats = replicator.roster().seats();
        Some(Regions {
            cluster: self.config.cluster.clone(),
            region: self.config.region.name.clone(),
            id: self.config.region.id,
            address: replicator.reached_at(),
            others: seats.into_iter().enumerate().map(other).collect(),
        })
    }
}

/// Keeps what is decided elsewhere.
pub(super) async fn follow(registrar: Arc<Registrar>) {
    let changes = registrar
        .replicator
        .lock()
        .as_ref()
        .map(Replicator::changes);
    let Some(mut changes) = changes else {
        return;
    };
    while changes.changed().await.is_ok() {
        let kept = Arc::clone(&registrar);
        let kept = spawn_blocking(move || kept.keep()).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "which regions were added and removed cannot be kept: it is told again after a restart");
        }
    }
}

#[cfg(test)]
mod tests {
    use greenwich_proto::hlc::Stamp;

    use super::*;

    #[test]
    fn a_file_that_a_full_disk_left_empty_is_not_taken_for_no_regions() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(FILE);
        assert_eq!(read(directory.path()).unwrap(), Members::default(), "none");
        for damaged in ["", "\n", "# Regions that were added and"] {
            fs::write(&file, damaged).unwrap();
            let error = read(directory.path()).unwrap_err();
            let said = format!("{error:#}");
            assert!(said.contains("is damaged: remove it"), "{said}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let mut record = Record::default();
        for removals in [0, 1] {
            record.regions.put(Member {
                removals,
                stamp: Stamp(7),
                id: 3,
                region: "c".into(),
                address: (removals == 0).then(|| "127.0.0.1:7403".into()),
                since: Stamp::ZERO,
            });
            record.write(&directory.path().join(FILE)).unwrap();
            assert_eq!(read(directory.path()).unwrap(), record.regions);
        }
    }
}
