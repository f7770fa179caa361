//! The end of a run: what has to be so once faults are over and clients are gone.

use std::time::Duration;

use greenwich_proto::{hlc::Stamp, peer::State, store::Store};

use super::{Summary, World};
use crate::{
    clock::WallClock,
    invariants::{Broken, convergence, fingerprints},
    region::name,
    workload::Key,
};

/// How long a quiet world may take to agree, beyond the lead that clocks may have: with the smallest window and the
/// longest delay, a batch of one key goes out every 200 ms.
const QUIET_MS_MAX: u64 = 200_000;
/// The shortest quiet, beyond the error that clocks had: every short deadline passes.
const QUIET_MS_MIN: u64 = 1_500;

impl<S: Store> World<'_, S> {
    /// Runs until everything is quiet and compared.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run(&mut self) -> Result<Summary, Broken> {
        self.run_until(self.swarm.busy_ms)?;
        self.trace.line(
            self.now,
            "world",
            format_args!("faults off, clocks right, clients gone"),
        );
        self.is_quiet = true;
        self.network.make_quiet();
        for region in &mut self.regions {
            region.clock = WallClock::default();
        }
        let quiet_from_ms = self.elapsed_ms();
        let latest_ms = quiet_from_ms + QUIET_MS_MAX + 4 * self.swarm.max_skew_ms;
        let error_ms = self.swarm.clock_error_ms();
        self.run_until(quiet_from_ms + QUIET_MS_MIN + error_ms)?;
        let calm = Stamp::at(WallClock::default().read(self.now));
        while let Some(waiting) = self.waiting_for(calm) {
            if self.elapsed_ms() > latest_ms {
                let wall = WallClock::default().read(self.now);
                let differs = convergence::check(&self.members(), &self.oracle, &self.keys, wall);
                let what = differs.err().map_or_else(String::new, |broken| broken.text);
                return Err(Broken::new("liveness", format!("{waiting}\n    {what}")));
            }
            self.run_until(self.elapsed_ms() + 100)?;
        }
        let wall = WallClock::default().read(self.now);
        convergence::check(&self.members(), &self.oracle, &self.keys, wall)?;
        (0..self.swarm.regions).try_for_each(|index| self.check_units(index))?;
        fingerprints::check(&self.members(), wall)?;
        self.summary.elapsed_ms = self.elapsed_ms();
        self.summary.sweeps = self.sweeps_before + self.sweeps();
        self.summary.is_excused = self.is_torn_for_good;
        let folded = self.regions.iter().map(|region| region.keyspace.folded());
        self.summary.folded = folded.sum();
        self.summary.contested = self.oracle.contested();
        Ok(self.summary)
    }

    /// What a world that is quiet since `calm` still waits for.
    fn waiting_for(&self, calm: Stamp) -> Option<String> {
        if let Some(changing) = self.is_changing() {
            return Some(changing);
        }
        let members = self.members();
        for region in &members {
            for other in self.others(region.index) {
                let Some(report) = region.report(other, self.now) else {
                    continue;
                };
                // What somebody had who is no more, and what has ended for whoever was away, is found by a comparison.
                let equal_as_of = report.compares.equal_as_of;
                let is_compared = equal_as_of.is_some_and(|as_of| as_of >= calm);
                let is_level = report.lag_updates == 0 && !report.is_sweeping && is_compared;
                if report.state != State::Up || !is_level {
                    return Some(format!(
                        "{} to {}: {report:?}",
                        name(region.index),
                        name(other)
                    ));
                }
            }
        }
        for region in &members {
            let wall = region.clock.read(self.now);
            let is_dead = |key: &&Key| {
                region.with_entry(**key, |entry| {
                    entry.is_some_and(|entry| {
                        entry.forgettable_after(wall, Duration::ZERO).is_some()
                    })
                })
            };
            if let Some(dead) = self.keys.iter().find(is_dead) {
                return Some(format!(
                    "{} remembers {dead}, which is dead, and knows {}",
                    name(region.index),
                    region.lives()
                ));
            }
        }
        None
    }
}
