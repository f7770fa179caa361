//! `local`: throughput, CPU per command and memory per key of the first region, while the others replicate from it.
//!
//! Servers take turns: A B C, A B C, so that what else the machine does falls on all of them alike.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::problem::{self, Problem};
use crate::{
    as_duration,
    load::{Load, dataset::Dataset, fill::fill, generator::Progress, mix::Mix, record::Record},
    scenario::{Stage, all_of},
    server::{
        Running, Site,
        process::{ProcessError, usage},
    },
};

/// What to measure.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// What each server holds.
    pub data: Dataset,
    /// Connections of the load.
    pub connections: usize,
    /// Turns of each server in each case.
    pub rounds: usize,
    /// Length of one turn.
    #[serde(with = "as_duration")]
    pub turn: Duration,
    /// What is asked.
    pub cases: Vec<Case>,
}

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What is asked.
    pub mix: Mix,
    /// Requests that are sent together on a connection.
    pub pipeline: usize,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at pipeline {}", self.mix, self.pipeline)
    }
}

/// What was found.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct LocalReport {
    /// Per server: resident memory of the first region when empty and with all keys.
    pub memory: Vec<Memory>,
    /// Every turn.
    pub turns: Vec<Turn>,
}

/// Memory of a server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Memory {
    /// Of which server.
    pub server: String,
    /// Without a key.
    pub empty_bytes: u64,
    /// With all keys.
    pub full_bytes: u64,
    /// The difference by the number of keys.
    pub bytes_per_key: f64,
}

/// One turn of one server.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Turn {
    /// Of which server.
    pub server: String,
    /// Under which load.
    pub case: Case,
    /// Which round, from zero.
    pub round: usize,
    /// Answered requests a second: as many as the server gives, in a closed loop.
    pub per_second: f64,
    /// Time of the server's process on processors for each request, replication included, in microseconds.
    pub cpu_us_per_command: f64,
    /// Replies that were errors.
    pub errors: u64,
}

/// A process is quiet when it uses no more than this share of a processor for the window.
const QUIET_SHARE: f64 = 0.05;
const QUIET_WINDOW: Duration = Duration::from_millis(200);
const QUIET_LIMIT: Duration = Duration::from_secs(60);

impl Local {
    /// Why this cannot be measured, if so.
    pub(super) fn problem(&self) -> Option<Problem> {
        let counts = [self.cases.len(), self.rounds, self.connections];
        let problem = || "cases, rounds and connections must be at least one".to_owned();
        let common = counts.contains(&0).then(problem);
        let common = common
            .or_else(|| problem::zero(&[("turn", self.turn)]))
            .or_else(|| self.data.problem());
        let of_case =
            |case: &Case| (case.pipeline == 0).then(|| "pipeline must be at least one".to_owned());
        let common = common.map(Problem::from);
        common.or_else(|| Problem::of_cases(&self.cases, of_case))
    }

    /// Measures the stage's servers beside each other, and adds what it finds to `report`.
    pub(super) fn run(&self, stage: &Stage<'_>, report: &mut LocalReport) -> anyhow::Result<()> {
        let mut running = Vec::new();
        let started = stage.each(|server| {
            (stage.tell)(format!(
                "{}: loading {} keys",
                server.name(),
                self.data.keys
            ));
            let sites = Site::on_loopback(&stage.regions).context("no free port")?;
            let home = stage.directory.join(server.name());
            let regions = server.start(&sites, &home).context("cannot start it")?;
            report
                .memory
                .push(self.load(server.name(), &regions, stage.seed)?);
            running.push((server.name().to_owned(), regions));
            Ok(())
        });
        let mut failures: Vec<_> = started.err().into_iter().collect();
        for round in 0..self.rounds {
            for case in &self.cases {
                // One that fails leaves the others their turns.
                running.retain(|(server, regions)| {
                    let (number, rounds) = (round + 1, self.rounds);
                    (stage.tell)(format!("round {number} of {rounds}: {server}, {case}"));
                    let turn = self.turn(server, regions, *case, round, stage.seed);
                    let turn = turn.map_err(|error| failures.push(error.context(server.clone())));
                    turn.map(|turn| report.turns.push(turn)).is_ok()
                });
            }
            if running.is_empty() {
                break;
            }
        }
        all_of(failures)
    }

    fn load(&self, server: &str, regions: &[Running], seed: u64) -> anyhow::Result<Memory> {
        let first = &regions[0];
        let empty_bytes = usage(first.process.pid())?.resident_bytes;
        fill(first.site.client, &self.data, seed)?;
        regions
            .iter()
            .try_for_each(|region| settle(region.process.pid()))?;
        let full_bytes = usage(first.process.pid())?.resident_bytes;
        Ok(self.memory(server, empty_bytes, full_bytes))
    }

    fn turn(
        &self,
        server: &str,
        regions: &[Running],
        case: Case,
        round: usize,
        seed: u64,
    ) -> anyhow::Result<Turn> {
        let first = &regions[0];
        let load = Load {
            address: first.site.client,
            mix: case.mix,
            data: self.data,
            rate: None,
            length: self.turn,
            warm_up: Duration::ZERO,
            connections: self.connections,
            pipeline: case.pipeline,
            threads: 1,
            resp3: false,
            reconnects: false,
            seed: seed.wrapping_add(round as u64),
            inserter: round,
        };
        let before = usage(first.process.pid())?.cpu;
        let record = load.run(&Progress::default())?;
        regions
            .iter()
            .try_for_each(|region| settle(region.process.pid()))?;
        let cpu = usage(first.process.pid())?.cpu - before;
        Ok(self.turn_of(server, case, round, &record, cpu))
    }

    fn memory(&self, server: &str, empty_bytes: u64, full_bytes: u64) -> Memory {
        Memory {
            server: server.to_owned(),
            empty_bytes,
            full_bytes,
            bytes_per_key: full_bytes.saturating_sub(empty_bytes) as f64 / self.data.keys as f64,
        }
    }

    /// A turn in which the server used so much of processors.
    fn turn_of(
        &self,
        server: &str,
        case: Case,
        round: usize,
        record: &Record,
        cpu: Duration,
    ) -> Turn {
        Turn {
            server: server.to_owned(),
            case,
            round,
            per_second: record.answered as f64 / record.last_at.max(self.turn).as_secs_f64(),
            cpu_us_per_command: cpu.as_secs_f64() * 1e6 / (record.answered as f64).max(1.0),
            errors: record.errors(),
        }
    }
}

/// Waits until a process is quiet, so that what a load leaves behind counts as its cost and not as the next one's.
fn settle(pid: u32) -> Result<(), ProcessError> {
    let deadline = Instant::now() + QUIET_LIMIT;
    loop {
        let before = usage(pid)?.cpu;
        thread::sleep(QUIET_WINDOW);
        let share = (usage(pid)?.cpu - before).as_secs_f64() / QUIET_WINDOW.as_secs_f64();
        if share <= QUIET_SHARE {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(ProcessError::Restless {
                pid,
                limit: QUIET_LIMIT,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{connection::Answer, mix::Operation};

    #[test]
    fn figures_are_by_command_and_second_and_key() {
        let case = Case {
            mix: Mix::Get,
            pipeline: 1,
        };
        let local = Local {
            data: Dataset {
                keys: 1_000,
                ..Load::pings(([127, 0, 0, 1], 1).into()).data
            },
            connections: 1,
            rounds: 1,
            turn: Duration::from_secs(2),
            cases: vec![case],
        };
        let memory = local.memory("x", 5_000_000, 5_120_000);
        assert_eq!(
            (memory.empty_bytes, memory.full_bytes),
            (5_000_000, 5_120_000)
        );
        assert_eq!(memory.bytes_per_key, 120.0);
        let mut record = Record::default();
        for number in 0..500 {
            let answer = Answer {
                intended: Duration::from_millis(number),
                operation: Operation::Read,
                is_error: number < 7,
            };
            record.answer(answer, Duration::from_millis(1));
        }
        let cpu = Duration::from_millis(10);
        let turn = local.turn_of("x", case, 4, &record, cpu);
        assert_eq!((turn.case, turn.round, turn.errors), (case, 4, 7));
        assert_eq!((turn.per_second, turn.cpu_us_per_command), (250.0, 20.0));
        // A server that is behind at the end of the turn takes longer.
        record.last_at = Duration::from_secs(5);
        assert_eq!(local.turn_of("x", case, 0, &record, cpu).per_second, 100.0);
    }
}
