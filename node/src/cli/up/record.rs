//! `DATA/up.json`: what `up` has started, for `greenwich status`, scripts and tests.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use greenwich_replicator::files;
use serde::{Deserialize, Serialize};

use super::plan::record_file;

/// Raised when a field changes its meaning; added fields do not raise it.
const VERSION: u32 = 1;

/// What runs. The file exists while `up` runs and every region was ready once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: u32,
    pub(crate) cluster: String,
    /// Process id of `up`.
    pub(crate) pid: u32,
    pub(crate) regions: Vec<RegionRecord>,
}

/// A region as it was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegionRecord {
    pub(crate) region: String,
    pub(crate) id: u8,
    pub(crate) redis: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) replication: SocketAddr,
    pub(crate) pid: u32,
    pub(crate) config: PathBuf,
    pub(crate) log: PathBuf,
}

impl Record {
    pub(crate) fn new(cluster: &str, regions: Vec<RegionRecord>) -> Self {
        Self {
            version: VERSION,
            cluster: cluster.into(),
            pid: std::process::id(),
            regions,
        }
    }

    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        files::write_whole(&record_file(data), (text + "\n").as_bytes(), files::PUBLIC)
    }

    /// `None` when nothing was started there.
    pub(crate) fn read(data: &Path) -> anyhow::Result<Option<Self>> {
        let file = record_file(data);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => anyhow::bail!("cannot read {}: {error}", file.display()),
        };
        let record: Self = serde_json::from_str(&text).map_err(|error| {
            anyhow::anyhow!(
                "{} is not a record of `greenwich up`: {error}",
                file.display()
            )
        })?;
        anyhow::ensure!(
            record.version == VERSION,
            "{} has version {}, and this program reads version {VERSION}",
            file.display(),
            record.version
        );
        Ok(Some(record))
    }
}
