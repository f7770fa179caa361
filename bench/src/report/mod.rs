//! What was measured, for people and for programs.

pub mod compare;
pub mod conflict;
pub mod distribution;
pub mod figure;
pub mod hgrm;
pub mod html;
mod knee;
pub mod lag;
pub mod local;
mod own_error;
pub mod partition;
pub mod provenance;
mod read;
pub mod restart;
pub mod soak;
pub mod terminal;

use std::{
    io::{self, Write},
    path::Path,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use self::{figure::Section, provenance::Provenance};
use crate::scenario::{Outcome, Scenario};

/// The layout of `report.json`. It rises when something in it changes its meaning, or is no longer there.
pub const FORMAT: u32 = 1;

/// Everything that a run showed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Report {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// Where, when, how and with what it was measured.
    pub provenance: Provenance,
    /// What each scenario showed.
    pub scenarios: Vec<ScenarioReport>,
    /// Names of scenarios that have not ended: of a run that goes on, or was killed.
    pub unfinished: Vec<String>,
}

/// What one scenario showed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ScenarioReport {
    /// Its name.
    pub name: String,
    /// Names of the regions.
    pub regions: Vec<String>,
    /// Its settings.
    pub settings: Scenario,
    /// What was measured.
    pub outcome: Outcome,
    /// Sentences about servers and cases that were not measured, because the emulation of links cannot do them.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Why it ended early; what was measured until then is in the outcome.
    pub partial: Option<String>,
}

/// The file that programs read.
pub const JSON_FILE: &str = "report.json";

impl ScenarioReport {
    /// What terminals and pages show of it.
    #[must_use]
    pub fn section(&self) -> Section {
        match &self.outcome {
            nothing if nothing.is_empty() => Section::default(),
            Outcome::Local(report) => local::section(report),
            Outcome::Lag(report) => lag::section(report),
            Outcome::Conflict(report) => conflict::section(report),
            Outcome::Partition(report) => partition::section(report),
            Outcome::Restart(report) => restart::section(report),
            Outcome::Soak(report) => soak::section(report),
        }
    }
}

impl Report {
    /// One in which nothing has been measured yet.
    #[must_use]
    pub fn new(provenance: Provenance) -> Self {
        Self {
            format: FORMAT,
            provenance,
            scenarios: Vec::new(),
            unfinished: Vec::new(),
        }
    }

    /// Writes `report.json`, `report.html` and the `.hgrm` files into `directory`.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let path = directory.join(JSON_FILE);
        let text = serde_json::to_string(self).context("the report cannot be written as JSON")?;
        // Whoever kills this finds the old report or the new one.
        let part = directory.join(format!("{JSON_FILE}.part"));
        std::fs::write(&part, text + "\n")
            .and_then(|()| std::fs::rename(&part, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        self.write_readable(directory)
    }

    /// Writes what [`Report::write`] does, except `report.json`.
    ///
    /// # Errors
    /// When the directory cannot be written to.
    pub fn write_readable(&self, directory: &Path) -> anyhow::Result<()> {
        html::write(self, directory)?;
        hgrm::write(self, directory)
    }

    /// Writes its tables for a terminal.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "links: {}", self.provenance.emulation)?;
        if let Some(tcp) = &self.provenance.tcp {
            writeln!(out, "TCP over links: {tcp}")?;
        }
        for (server, version) in &self.provenance.servers {
            match version {
                Some(version) => writeln!(out, "{server}: {version}")?,
                None => writeln!(out, "{server}: not run, it is not installed")?,
            }
        }
        for scenario in &self.scenarios {
            writeln!(out, "\n{}", scenario.name)?;
            for said in &scenario.left_out {
                writeln!(out, "{said}")?;
            }
            terminal::print(&scenario.section(), out)?;
            if let Some(reason) = &scenario.partial {
                writeln!(out, "PARTIAL: {reason}")?;
            }
        }
        match self.unfinished.is_empty() {
            true => Ok(()),
            false => writeln!(out, "\nnot measured: {}", self.unfinished.join(", ")),
        }
    }
}
