//! `greenwich-bench report`: the files for people, anew, from the one for programs.

use std::{io::Write, path::Path};

use super::say::say;
use crate::report::{Report, html::HTML_FILE};

pub(super) fn run(from: &Path) -> anyhow::Result<()> {
    let report = Report::read(from)?;
    let directory = match from.is_dir() {
        true => from,
        false => from.parent().unwrap_or_else(|| Path::new(".")),
    };
    report.write_readable(directory)?;
    let page = directory.join(HTML_FILE);
    say(|out| writeln!(out, "page: {}", page.display()))
}
