//! What is said on standard output, which may be a closed pipe or a full disk.

use std::io::{self, StdoutLock, Write};

use anyhow::Context;

/// Says something. Who reads no further, as `head` does, has read enough.
///
/// # Errors
/// When it cannot be said for any other reason.
pub(super) fn say(write: impl FnOnce(&mut StdoutLock<'_>) -> io::Result<()>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        said => said.context("cannot write to standard output"),
    }
}
