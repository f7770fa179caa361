//! Where a figure comes from.

use std::{collections::BTreeMap, fs, process::Command, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::wan::emulation::Emulation;

/// What makes a figure worth something.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Provenance {
    /// The commit of the tree that this program was built in, with `-dirty` behind it when files differ; `None` when that is gone.
    pub commit: Option<String>,
    /// When it began, in UTC.
    pub began: String,
    /// When the newest of its scenarios ended; `None` until one has.
    #[serde(default)]
    pub ended: Option<String>,
    /// The command line.
    pub command: Vec<String>,
    /// Of every random choice.
    pub seed: u64,
    /// Kind of the processors.
    pub processor: String,
    /// How many there are.
    pub cores: usize,
    /// Memory of the machine.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// How links between regions were emulated.
    #[serde(default)]
    pub emulation: Emulation,
    /// The congestion control of servers that replicate over TCP; `None` when no such link was emulated.
    #[serde(default)]
    pub tcp: Option<String>,
    /// Servers that were asked for, and their versions; `None` when one is not installed.
    pub servers: BTreeMap<String, Option<String>>,
}

impl Provenance {
    /// Looks at this machine and this tree.
    #[must_use]
    pub fn look(
        seed: u64,
        emulation: Emulation,
        servers: BTreeMap<String, Option<String>>,
    ) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory_kib = field(&read("/proc/meminfo"), "MemTotal")
            .and_then(|value| value.trim_end_matches(" kB").parse::<u64>().ok());
        Self {
            commit: commit(),
            began: now(),
            ended: None,
            command: std::env::args().collect(),
            seed,
            processor: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_kib.unwrap_or(0) * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            emulation,
            tcp: None,
            servers,
        }
    }
}

/// This second, in UTC.
#[must_use]
pub fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// The value behind `name` and a colon.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR")])
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let provenance = Provenance::look(7, Emulation::Socket, BTreeMap::new());
        assert!(provenance.memory_bytes > 0 && provenance.cores > 0);
        assert!(!provenance.kernel.is_empty());
        assert_eq!(
            field("a : 1\nmodel name\t: X 5\n", "model name").as_deref(),
            Some("X 5")
        );
        assert_eq!(field("a : 1\n", "b"), None);
    }
}
