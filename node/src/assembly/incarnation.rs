//! Which life of a region's node this is.
//!
//! An incarnation is the start of the process in milliseconds since the Unix epoch, kept in a file so that a clock that
//! was set back does not give the same one twice: peers would take the new node for the old one.

use std::{fs, io, path::Path};

use anyhow::Context;
use greenwich_proto::time::Wall;

const FILE: &str = "incarnation";

/// Begins a life: later than the one that the file tells of, and not before `now`.
pub(super) fn begin(data_dir: &Path, now: Wall) -> anyhow::Result<u64> {
    let path = data_dir.join(FILE);
    let last = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().with_context(|| {
            format!(
                "{} does not hold a number; remove it if this node's region is known to be new",
                path.display()
            )
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let incarnation = now.0.max(last + 1);
    fs::write(&path, format!("{incarnation}\n"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(incarnation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_life_is_lived_twice_even_when_the_clock_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(begin(dir.path(), Wall(1_000)).unwrap(), 1_000);
        assert_eq!(begin(dir.path(), Wall(1_000)).unwrap(), 1_001);
        assert_eq!(begin(dir.path(), Wall(500)).unwrap(), 1_002);
        assert_eq!(begin(dir.path(), Wall(9_000)).unwrap(), 9_000);
    }

    #[test]
    fn a_damaged_file_is_an_error_that_names_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(FILE), "x").unwrap();
        let error = begin(dir.path(), Wall(1)).unwrap_err().to_string();
        assert!(error.contains(FILE), "{error}");
    }
}
