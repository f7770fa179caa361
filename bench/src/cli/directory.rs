//! The directory of a report: one run at a time writes to it, and nobody else's files are in it.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

use crate::report::Report;

/// Where servers keep their files, in the report's directory.
const SERVER_FILES: &str = "servers";
/// Says that a directory is a report's, and is locked while a run writes to it.
const MARK: &str = ".greenwich-bench";

/// A report's directory. The lock on it ends with it.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// When the report began that is in it.
    replaces: Option<String>,
    lock: File,
}

impl Directory {
    /// Makes it if need be, and removes what servers of an earlier run have left in it.
    ///
    /// # Errors
    /// When it holds something else, another run writes to it, or it cannot be written to.
    pub(super) fn take(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path)
            .with_context(|| format!("cannot make the directory {}", path.display()))?;
        let name = path.display();
        let path = path
            .canonicalize()
            .with_context(|| format!("cannot find {name}"))?;
        let mark = path.join(MARK);
        let old = Report::read(&path).ok();
        ensure!(
            mark.exists() || is_empty(&path)? || old.is_some(),
            "{name} is not empty and holds no report of greenwich-bench: name a new directory with --out"
        );
        let lock =
            File::create(&mark).with_context(|| format!("cannot write to the directory {name}"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                bail!("another greenwich-bench writes to {name}: name another directory with --out")
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", mark.display()));
            }
        }
        let left = path.join(SERVER_FILES);
        if left.exists() {
            fs::remove_dir_all(&left).with_context(|| {
                format!(
                    "cannot remove {}, which an earlier run left",
                    left.display()
                )
            })?;
        }
        Ok(Self {
            path,
            replaces: old.map(|report| report.provenance.began),
            lock,
        })
    }

    /// When the report began that is replaced, if there is one.
    pub(super) fn replaces(&self) -> Option<&str> {
        self.replaces.as_deref()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the servers of a scenario keep their files.
    pub(super) fn of_servers(&self, scenario: &str) -> PathBuf {
        self.path.join(SERVER_FILES).join(scenario)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Closing it is not enough while a process that is just being started shares it.
        let _ended = self.lock.unlock();
    }
}

fn is_empty(path: &Path) -> anyhow::Result<bool> {
    let mut entries =
        fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(entries.next().is_none())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{report::provenance::Provenance, wan::emulation::Emulation};

    fn refusal(path: &Path) -> String {
        format!("{:#}", Directory::take(path).unwrap_err())
    }

    #[test]
    fn what_is_not_a_report_is_left_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let precious = home.path().join(SERVER_FILES).join("inventory.txt");
        fs::create_dir(home.path().join(SERVER_FILES)).expect("a directory");
        fs::write(&precious, "much").expect("a file");
        assert!(refusal(home.path()).contains("holds no report"));
        assert!(precious.exists());
        fs::write(home.path().join("report.json"), "{}").expect("a file");
        assert!(refusal(home.path()).contains("holds no report"));
        assert!(refusal(&precious).contains("cannot make the directory"));
    }

    #[test]
    fn a_report_is_replaced_by_one_run_at_a_time() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("new/report");
        let first = Directory::take(&path).expect("it is new");
        assert_eq!(first.replaces(), None);
        let left = first.of_servers("lag");
        fs::create_dir_all(&left).expect("a directory");
        assert!(refusal(&path).contains("another greenwich-bench writes to"));
        assert!(left.exists());
        drop(first);
        drop(Directory::take(&path).expect("it is ours"));
        assert!(!left.exists());
    }

    #[test]
    fn a_report_without_a_mark_is_known_by_its_json() {
        let home = tempfile::tempdir().expect("a directory");
        let report = Report::new(Provenance::look(1, Emulation::Socket, BTreeMap::new()));
        report.write(home.path()).expect("a report");
        let directory = Directory::take(home.path()).expect("it holds a report");
        assert_eq!(directory.replaces(), Some(&*report.provenance.began));
    }
}
