//! One TOML file a node: read, checked, and printable with every default and what it means.
//!
//! A file is either accepted whole or refused with its name, the line, and what is allowed there.
//! Nothing here opens a port or reads an environment variable.

mod apply;
mod check;
mod documented;
mod sections;
#[cfg(test)]
mod tests;
mod units;

use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use documented::write_table;
pub use sections::{
    Admin, Client, Compression, Config, Congestion, Emulation, Format, Level, Log, Peer, Region,
    Replication,
};
pub use units::{BitRate, Bytes, Percent, Period, Secret};

/// Why a configuration is refused. Every message names the file and, where there is one, the line; what the system said
/// is the error's source.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}", file.display())]
    Read {
        /// The file as it was asked for.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is read, and something in it is not allowed.
    #[error("{}:{line}: {problem}", file.display())]
    Refused {
        /// The file as it was asked for.
        file: PathBuf,
        /// Line in the file, from 1.
        line: usize,
        /// What is wrong and what is allowed.
        problem: String,
    },
}

impl Config {
    /// A region with every default: what `--print-config` shows without a file.
    pub fn example(name: &str, id: u8) -> Self {
        let region = format!("[region]\nname = \"{name}\"\nid = {id}\n");
        toml::from_str(&region).expect("everything but the region has a default")
    }

    /// Reads and checks a file; relative paths in the result start at the file's directory.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|source| ConfigError::Read {
            file: file.to_owned(),
            source,
        })?;
        let mut config = Self::parse(&text, file)?;
        config.resolve(file.parent().unwrap_or_else(|| Path::new("")));
        Ok(config)
    }

    /// Checks `text` as the content of `file`, which is used in messages only.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let refused = |line, problem| ConfigError::Refused {
            file: file.to_owned(),
            line,
            problem,
        };
        let config: Self = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| check::line_of(text, span.start));
            refused(line, error.message().trim_end().replace('\n', ": "))
        })?;
        match check::first_problem(&config) {
            None => Ok(config),
            Some(found) => Err(refused(
                check::find_line(text, &found.path),
                found.to_string(),
            )),
        }
    }

    /// The whole configuration as TOML with the description of every setting. Secrets are hidden.
    pub fn to_commented_toml(&self) -> String {
        let mut out = String::new();
        write_table(&mut out, "", self);
        write_table(&mut out, "[region]", &self.region);
        write_table(&mut out, "[client]", &self.client);
        write_table(&mut out, "[admin]", &self.admin);
        write_table(&mut out, "[replication]", &self.replication);
        for peer in &self.replication.peers {
            write_table(&mut out, "[[replication.peers]]", peer);
        }
        for emulation in &self.emulation {
            write_table(&mut out, "[[emulation]]", emulation);
        }
        write_table(&mut out, "[log]", &self.log);
        out
    }

    fn resolve(&mut self, directory: &Path) {
        let replication = &mut self.replication;
        for path in [
            &mut self.data_dir,
            &mut replication.ca,
            &mut replication.cert,
            &mut replication.key,
        ] {
            *path = directory.join(&*path);
        }
    }
}
