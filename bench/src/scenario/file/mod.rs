//! Files that describe scenarios.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{
    Scenario, conflict::Conflict, lag::Lag, local::Local, partition::Partition, problem::line,
    regions, restart::Restart, soak::Soak,
};

/// A described scenario.
#[derive(Clone, Debug)]
pub struct ScenarioFile {
    /// Its name: the file's.
    pub name: String,
    /// Servers to measure, by name.
    pub servers: Vec<String>,
    /// Names of the regions.
    pub regions: Vec<String>,
    /// What is measured.
    pub scenario: Scenario,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the scenario {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It does not describe a scenario.
    #[error("the scenario {name} is wrong: {reason}")]
    Wrong {
        /// The scenario, or its file.
        name: String,
        /// What is wrong, with the line.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    servers: Vec<String>,
    regions: Vec<String>,
    local: Option<Local>,
    lag: Option<Lag>,
    conflict: Option<Conflict>,
    partition: Option<Partition>,
    restart: Option<Restart>,
    soak: Option<Soak>,
}

impl ScenarioFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = std::fs::read_to_string(path).map_err(|source| FileError::Read {
            path: path.to_owned(),
            source,
        })?;
        let name = path
            .file_stem()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        Self::of_text(&name, &text).map_err(|reason| FileError::Wrong {
            name: path.display().to_string(),
            reason,
        })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`FileError::Wrong`].
    pub fn parse(name: &str, text: &str) -> Result<Self, FileError> {
        Self::of_text(name, text).map_err(|reason| FileError::Wrong {
            name: name.to_owned(),
            reason,
        })
    }

    /// The error says what is wrong, with the line.
    fn of_text(name: &str, text: &str) -> Result<Self, String> {
        let Text {
            servers,
            regions,
            local,
            lag,
            conflict,
            partition,
            restart,
            soak,
        } = toml::from_str(text).map_err(|error| error.to_string())?;
        let at = |key: &str, problem: String| format!("line {}, {problem}", line(text, &[key]));
        if servers.is_empty() {
            return Err(at("servers", "servers: it names no server".to_owned()));
        }
        if let Some(problem) = regions::refusal(&regions) {
            return Err(at("regions", problem));
        }
        let given = [
            local.map(Scenario::Local),
            lag.map(Scenario::Lag),
            conflict.map(Scenario::Conflict),
            partition.map(Scenario::Partition),
            restart.map(Scenario::Restart),
            soak.map(Scenario::Soak),
        ];
        let mut given = given.into_iter().flatten();
        let (Some(scenario), None) = (given.next(), given.next()) else {
            return Err(
                "exactly one table says what is measured: [local], [lag], [conflict], [partition], [restart] or [soak]"
                    .to_owned(),
            );
        };
        if let Some(problem) = scenario.problem(&regions) {
            return Err(problem.sentence(scenario.table(), text));
        }
        Ok(Self {
            name: name.to_owned(),
            servers,
            regions,
            scenario,
        })
    }
}

/// A suite of scenarios that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Within five minutes.
    Quick,
    /// Within an hour.
    Full,
}

impl Suite {
    /// Its scenarios.
    ///
    /// # Panics
    /// When a file that comes with the program is wrong, which a test excludes.
    #[must_use]
    pub fn scenarios(self) -> Vec<ScenarioFile> {
        let files = match self {
            Self::Quick => [
                ("local", include_str!("../../../scenarios/quick/local.toml")),
                ("lag", include_str!("../../../scenarios/quick/lag.toml")),
                (
                    "overload",
                    include_str!("../../../scenarios/quick/overload.toml"),
                ),
                ("bytes", include_str!("../../../scenarios/quick/bytes.toml")),
                (
                    "conflict",
                    include_str!("../../../scenarios/quick/conflict.toml"),
                ),
                (
                    "partition",
                    include_str!("../../../scenarios/quick/partition.toml"),
                ),
                (
                    "restart",
                    include_str!("../../../scenarios/quick/restart.toml"),
                ),
                ("soak", include_str!("../../../scenarios/quick/soak.toml")),
            ],
            Self::Full => [
                ("local", include_str!("../../../scenarios/full/local.toml")),
                ("lag", include_str!("../../../scenarios/full/lag.toml")),
                (
                    "overload",
                    include_str!("../../../scenarios/full/overload.toml"),
                ),
                ("bytes", include_str!("../../../scenarios/full/bytes.toml")),
                (
                    "conflict",
                    include_str!("../../../scenarios/full/conflict.toml"),
                ),
                (
                    "partition",
                    include_str!("../../../scenarios/full/partition.toml"),
                ),
                (
                    "restart",
                    include_str!("../../../scenarios/full/restart.toml"),
                ),
                ("soak", include_str!("../../../scenarios/full/soak.toml")),
            ],
        };
        files
            .into_iter()
            .map(|(name, text)| ScenarioFile::parse(name, text).expect("a test reads every file"))
            .collect()
    }
}

#[cfg(test)]
mod tests;
