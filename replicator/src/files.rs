//! Small files that are written whole: whoever reads one, now or after a crash or on a full disk, finds what it held
//! before or all that it was to hold.
//!
//! It does not know what is in them.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Readable by everybody, as far as the process' mask lets it.
pub const PUBLIC: u32 = 0o644;
/// Readable by nobody else: keys.
pub const PRIVATE: u32 = 0o600;

/// Puts `content` in place of what `file` holds, or makes it with these permissions. Once this returns, it is on disk.
///
/// # Errors
/// When it cannot be written; `file` is then as it was.
pub fn write_whole(file: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace(file, mode, |draft| draft.write_all(content))
}

fn replace(
    file: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let draft = draft_of(file);
    let written = write_draft(&draft, mode, fill).and_then(|()| fs::rename(&draft, file));
    if let Err(error) = written {
        // It is of no use, and on a full disk in the way. What went wrong first is what counts.
        let _gone = fs::remove_file(&draft);
        return Err(error);
    }
    // The rename itself is on disk only with the directory.
    File::open(directory_of(file))?.sync_all()
}

fn write_draft(
    draft: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    // One that a crash left behind may have other permissions; these are given to new files only, so that a key is never
    // readable by others, not even for a moment.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut opened = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(draft)?;
    fill(&mut opened)?;
    opened.sync_all()
}

fn draft_of(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".draft");
    name.into()
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Vec<OsString> {
        let found = fs::read_dir(directory).unwrap();
        found.map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("up.json");
        for content in ["old and longer", "new"] {
            write_whole(&file, content.as_bytes(), PUBLIC).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
        assert_eq!(names(directory.path()), ["up.json"], "no draft is left");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_as_it_was_and_leaves_no_draft() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("life");
        let fails_half_way = |draft: &mut File| {
            draft.write_all(b"ha")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let error = replace(&file, PUBLIC, fails_half_way).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(names(directory.path()).is_empty());
        write_whole(&file, b"whole", PUBLIC).unwrap();
        replace(&file, PUBLIC, fails_half_way).unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), b"whole");
        assert_eq!(names(directory.path()), ["life"]);
    }

    #[test]
    fn a_draft_that_a_crash_left_behind_does_not_give_its_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("reset.key");
        fs::write(draft_of(&file), "half").unwrap();
        write_whole(&file, b"secret", PRIVATE).unwrap();
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, PRIVATE);
    }
}
