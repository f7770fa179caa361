//! Directories that belong to one process.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

/// A lock that lives as long as the value, and ends with the process however it ends.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held open for the lock on it")] File);

/// Locks `file`, creating it and its directory. `None` when another process has the lock.
pub(crate) fn acquire(file: &Path) -> io::Result<Option<Lock>> {
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    let opened = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(file)?;
    match opened.try_lock() {
        Ok(()) => Ok(Some(Lock(opened))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_ends_with_its_value() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("made/on/demand.lock");
        let held = acquire(&file).unwrap();
        assert!(held.is_some());
        assert!(acquire(&file).unwrap().is_none());
        drop(held);
        assert!(acquire(&file).unwrap().is_some());
    }
}
