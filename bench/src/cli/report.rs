//! `greenwich-bench report`: the files for people, anew, from the one for programs.

use std::path::Path;

use crate::report::{JSON_FILE, Report, html::HTML_FILE};

pub(super) fn run(from: &Path) -> anyhow::Result<()> {
    let file = match from.is_dir() {
        true => from.join(JSON_FILE),
        false => from.to_owned(),
    };
    let directory = file.parent().unwrap_or(Path::new("."));
    Report::read(&file)?.write_readable(directory)?;
    println!("page: {}", directory.join(HTML_FILE).display());
    Ok(())
}
