//! What is measured: each scenario is a file here, and its settings are a table of `scenarios/*/*.toml`.

pub mod conflict;
pub mod drive;
mod equal;
pub mod faults;
pub mod file;
pub mod lag;
pub mod local;
pub mod partition;
mod place;
mod problem;
mod regions;
pub mod restart;
pub mod soak;

use std::path::Path;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use self::{
    conflict::{Conflict, ConflictReport},
    lag::{Lag, LagReport},
    local::{Local, LocalReport},
    partition::{Partition, PartitionReport},
    problem::Problem,
    restart::{Restart, RestartReport},
    soak::{Soak, SoakReport},
};
use crate::{
    interrupt,
    server::Adapter,
    wan::emulation::{Emulation, SOCKET},
};

/// What a scenario is given.
pub struct Stage<'a> {
    /// The servers that are installed.
    pub servers: Vec<&'a dyn Adapter>,
    /// Names of the regions.
    pub regions: Vec<&'a str>,
    /// How links between regions are emulated.
    pub emulation: Emulation,
    /// The congestion control of TCP between namespaces.
    pub tcp: &'a str,
    /// Where servers keep their files.
    pub directory: &'a Path,
    /// The same seed asks for the same things in the same order.
    pub seed: u64,
    /// Told of each step.
    pub tell: &'a dyn Fn(String),
}

impl Stage<'_> {
    /// Measures each server in turn. One that fails leaves the others their turn, an interrupt does not.
    ///
    /// # Errors
    /// Of all servers that failed.
    fn each(
        &self,
        mut measure: impl FnMut(&dyn Adapter) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut failures = Vec::new();
        for server in &self.servers {
            let result = measure(*server).with_context(|| server.name().to_owned());
            failures.extend(result.err());
            if interrupt::seen().is_some() {
                break;
            }
        }
        all_of(failures)
    }
}

/// One error of several.
fn all_of(mut errors: Vec<anyhow::Error>) -> anyhow::Result<()> {
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        _ => {
            let texts: Vec<String> = errors.iter().map(|error| format!("{error:#}")).collect();
            bail!(texts.join("; "))
        }
    }
}

impl std::fmt::Debug for Stage<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage")
            .field("regions", &self.regions)
            .finish_non_exhaustive()
    }
}

/// One of the scenarios, with its settings.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// One region beside others' servers.
    Local(Local),
    /// Replication lag behind emulated links.
    Lag(Lag),
    /// The same keys written everywhere at once.
    Conflict(Conflict),
    /// A region cut off, and its return.
    Partition(Partition),
    /// A region that starts empty beside full ones.
    Restart(Restart),
    /// Mixed load for long, with faults.
    Soak(Soak),
}

/// What a scenario showed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// One region beside others' servers.
    Local(LocalReport),
    /// Replication lag behind emulated links.
    Lag(LagReport),
    /// The same keys written everywhere at once.
    Conflict(ConflictReport),
    /// A region cut off, and its return.
    Partition(PartitionReport),
    /// A region that starts empty beside full ones.
    Restart(RestartReport),
    /// Mixed load for long, with faults.
    Soak(SoakReport),
}

impl Scenario {
    /// The table that has its settings.
    fn table(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Lag(_) => "lag",
            Self::Conflict(_) => "conflict",
            Self::Partition(_) => "partition",
            Self::Restart(_) => "restart",
            Self::Soak(_) => "soak",
        }
    }

    /// Why its settings make no sense for these regions, if so.
    fn problem(&self, regions: &[String]) -> Option<Problem> {
        let lone = match self {
            Self::Lag(_) | Self::Conflict(_) | Self::Partition(_) | Self::Restart(_) => {
                regions::lone(regions)
            }
            Self::Local(_) | Self::Soak(_) => None,
        };
        lone.map(Problem::from).or_else(|| match self {
            Self::Local(local) => local.problem(),
            Self::Lag(lag) => lag.problem(regions),
            Self::Conflict(conflict) => conflict.problem(regions).map(Problem::from),
            Self::Partition(partition) => partition.problem(regions),
            Self::Restart(restart) => restart.problem(regions),
            Self::Soak(soak) => soak.problem(regions).map(Problem::from),
        })
    }

    /// Whether regions are far apart in it, which something must emulate.
    #[must_use]
    pub fn has_links(&self) -> bool {
        !matches!(self, Self::Local(_))
    }

    /// What is left of it when links are emulated so, if anything, and sentences about what is left out.
    #[must_use]
    pub fn possible(
        &self,
        emulation: Emulation,
        regions: &[String],
    ) -> (Option<Self>, Vec<String>) {
        let mut possible = self.clone();
        let problem = match &mut possible {
            Self::Local(_) => None,
            Self::Lag(lag) => {
                let left_out = lag.leave_out(emulation, regions);
                return ((!lag.cases.is_empty()).then_some(possible), left_out);
            }
            Self::Conflict(conflict) => emulation.problem(&conflict.network, regions),
            Self::Partition(_) => match emulation {
                Emulation::Namespaces => None,
                Emulation::Socket => Some(format!("{SOCKET} cannot cut links")),
            },
            Self::Restart(restart) => restart.beyond(emulation, regions),
            Self::Soak(soak) => {
                faults::beyond_links(&soak.network, &soak.faults, emulation, regions)
            }
        };
        match problem {
            None => (Some(possible), Vec::new()),
            Some(problem) => (None, vec![format!("not measured: {problem}")]),
        }
    }

    /// What a run of it shows in which nothing is measured.
    #[must_use]
    pub fn nothing(&self) -> Outcome {
        match self {
            Self::Local(_) => Outcome::Local(LocalReport::default()),
            Self::Lag(_) => Outcome::Lag(LagReport::default()),
            Self::Conflict(_) => Outcome::Conflict(ConflictReport::default()),
            Self::Partition(_) => Outcome::Partition(PartitionReport::default()),
            Self::Restart(_) => Outcome::Restart(RestartReport::default()),
            Self::Soak(_) => Outcome::Soak(SoakReport::default()),
        }
    }

    /// Whether servers take turns within it. If not, a whole run of it is a turn.
    #[must_use]
    pub fn has_rounds(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Runs it. What was measured before a failure is in the outcome.
    ///
    /// # Errors
    /// What went wrong, for a person, beside what was measured until then.
    pub fn run(&self, stage: &Stage<'_>) -> (Outcome, anyhow::Result<()>) {
        match self {
            Self::Local(local) => {
                let mut report = LocalReport::default();
                let result = local.run(stage, &mut report);
                (Outcome::Local(report), result)
            }
            Self::Lag(lag) => {
                let mut report = LagReport::default();
                let result = lag.run(stage, &mut report);
                (Outcome::Lag(report), result)
            }
            Self::Conflict(conflict) => {
                let mut report = ConflictReport::default();
                let result = conflict.run(stage, &mut report);
                (Outcome::Conflict(report), result)
            }
            Self::Partition(partition) => {
                let mut report = PartitionReport::default();
                let result = partition.run(stage, &mut report);
                (Outcome::Partition(report), result)
            }
            Self::Restart(restart) => {
                let mut report = RestartReport::default();
                let result = restart.run(stage, &mut report);
                (Outcome::Restart(report), result)
            }
            Self::Soak(soak) => {
                let mut report = SoakReport::default();
                let result = soak.run(stage, &mut report);
                (Outcome::Soak(report), result)
            }
        }
    }
}

impl Outcome {
    /// Whether nothing has been measured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Local(report) => report.memory.is_empty() && report.turns.is_empty(),
            Self::Lag(report) => report.runs.is_empty(),
            Self::Conflict(report) => report.runs.is_empty(),
            Self::Partition(report) => report.runs.is_empty(),
            Self::Restart(report) => report.runs.is_empty(),
            Self::Soak(report) => report.runs.is_empty(),
        }
    }

    /// Adds what a later turn of the same scenario showed.
    pub fn add(&mut self, later: Self) {
        match (self, later) {
            (Self::Local(all), Self::Local(later)) => {
                all.memory.extend(later.memory);
                all.turns.extend(later.turns);
            }
            (Self::Lag(all), Self::Lag(later)) => all.runs.extend(later.runs),
            (Self::Conflict(all), Self::Conflict(later)) => all.runs.extend(later.runs),
            (Self::Partition(all), Self::Partition(later)) => all.runs.extend(later.runs),
            (Self::Restart(all), Self::Restart(later)) => all.runs.extend(later.runs),
            (Self::Soak(all), Self::Soak(later)) => all.runs.extend(later.runs),
            (
                Self::Local(_)
                | Self::Lag(_)
                | Self::Conflict(_)
                | Self::Partition(_)
                | Self::Restart(_)
                | Self::Soak(_),
                _,
            ) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::{
        file::{ScenarioFile, Suite},
        *,
    };
    use crate::server::{Running, ServerError, Site};

    #[test]
    fn what_the_emulation_cannot_do_is_left_out_and_said() {
        for ScenarioFile {
            name,
            regions,
            scenario,
            ..
        } in Suite::Full.scenarios()
        {
            let (whole, left_out) = scenario.possible(Emulation::Namespaces, &regions);
            assert!(whole.is_some() && left_out.is_empty(), "{name}");
            let (possible, left_out) = scenario.possible(Emulation::Socket, &regions);
            let said = left_out.join("\n");
            match (&scenario, possible) {
                (Scenario::Lag(all), Some(Scenario::Lag(possible))) => {
                    let count = possible.cases.len() + left_out.len();
                    assert_eq!(count, all.cases.len(), "{name}");
                }
                (Scenario::Local(_) | Scenario::Conflict(_) | Scenario::Restart(_), possible) => {
                    assert!(possible.is_some() && said.is_empty(), "{name}");
                }
                (Scenario::Partition(_) | Scenario::Soak(_), None) => {
                    assert!(said.contains("cannot cut links"), "{name}: {said}");
                }
                (_, possible) => panic!("{name}: {possible:?}"),
            }
        }
    }

    /// A server that is never started.
    struct Named(&'static str);

    impl Adapter for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn version(&self) -> Option<String> {
            None
        }

        fn start(&self, _: &[Site], _: &Path) -> Result<Vec<Running>, ServerError> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn servers_that_fail_leave_the_others_their_turn() {
        let (first, second, third) = (Named("first"), Named("second"), Named("third"));
        let stage = Stage {
            servers: vec![&first, &second, &third],
            regions: Vec::new(),
            emulation: Emulation::Socket,
            tcp: "unused",
            directory: Path::new("unused"),
            seed: 1,
            tell: &|_| {},
        };
        let mut measured = Vec::new();
        let result = stage.each(|server| {
            measured.push(server.name());
            ensure!(server.name() == "second", "it is broken");
            Ok(())
        });
        assert_eq!(measured, ["first", "second", "third"]);
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "first: it is broken; third: it is broken");
        stage.each(|_| Ok(())).unwrap();
    }

    #[test]
    fn servers_can_be_stopped_and_killed_without_a_forwarder() {
        let text = "servers = [\"greenwich\"]\nregions = [\"a\", \"b\"]\n[lag]\n\
            data = { keys = 1, spread = \"uniform\", value_size = \"1\" }\n\
            connections = 1\nlength = \"9s\"\nwarm_up = \"1s\"\ncases = [\n\
            { rate = 1, faults = [{ at = \"1s\", stop = \"a\" }, { at = \"2s\", kill = \"b\" }] },\n\
            { rate = 2, faults = [{ at = \"1s\", cut = [\"a\", \"b\"] }], network.link = { loss_percent = 1, loss_burst_packets = 2 } },\n]\n";
        let file = ScenarioFile::parse("x", text).unwrap();
        let (possible, left_out) = file.scenario.possible(Emulation::Socket, &file.regions);
        let Some(Scenario::Lag(lag)) = possible else {
            panic!("{possible:?}");
        };
        assert_eq!((lag.cases.len(), lag.cases[0].rate), (1, 1.0));
        let [said] = left_out.as_slice() else {
            panic!("{left_out:?}");
        };
        for part in [
            "2 updates/s",
            "lose packets in bursts",
            "cannot cut links (cut a – b)",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }
}
