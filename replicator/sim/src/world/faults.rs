//! What goes wrong: cuts, restarts, clocks.

use greenwich_proto::{peer::State, store::Store};

use super::{Event, World};
use crate::{
    invariants::Broken,
    network::Route,
    region::{Region, name},
};

impl<S: Store> World<'_, S> {
    pub(super) fn cut(&mut self) {
        if self.is_quiet {
            return;
        }
        self.after_about(self.swarm.faults.cut_every_ms, Event::Cut);
        let from = self.any_region();
        let to = (from + 1 + self.below(self.swarm.regions - 1)) % self.swarm.regions;
        let route = Route { from, to };
        let for_us = 1_000 * (1 + self.rng.below(self.swarm.faults.cut_ms_max));
        let is_whole = self.rng.chance(0.6);
        let ways = [Some(route), is_whole.then_some(route.back())];
        for way in ways.into_iter().flatten() {
            let cut = self.network.cut(way);
            self.trace.line(
                self.now,
                "world",
                format_args!("cut {way:?} for {} ms", for_us / 1_000),
            );
            self.after(for_us, Event::Heal(way, cut));
            let epoch = self.network.epoch(way);
            self.after(self.swarm.links.idle_us, Event::Idle(way, cut, epoch));
        }
    }

    /// Restarts a node whose writes everybody has and while nobody else catches up, so that nothing accepted is lost: what
    /// becomes of writes that only some regions received is a matter of repair.
    pub(super) fn restart(&mut self) -> Result<(), Broken> {
        if self.is_quiet {
            return Ok(());
        }
        self.after_about(self.swarm.faults.restart_every_ms, Event::Restart);
        let index = self.any_region();
        self.note_sweeps();
        let is_complete = |region: &Region<S>| {
            self.others(region.index).all(|other| {
                let report = region
                    .peer(other)
                    .report(&region.log, region.clock.read(self.now));
                report.state == State::Up
                    && !report.is_sweeping
                    && (region.index != index || report.lag_updates == 0)
            })
        };
        if !self
            .regions
            .iter()
            .all(|region| is_complete(region) && !region.is_catching_up)
        {
            return Ok(());
        }
        self.summary.restarts += 1;
        self.trace
            .line(self.now, &name(index), format_args!("restarts empty"));
        let clock = self.regions[index].clock;
        let incarnation = clock
            .read(self.now)
            .0
            .max(self.regions[index].incarnation() + 1);
        let mut region = Region::new(index, incarnation, clock, &self.swarm, &self.wrap, self.now);
        region.is_catching_up = true;
        self.delivery.restart(&self.regions[index]);
        self.regions[index] = region;
        self.stamps.restart(index);
        for other in self.others(index) {
            let route = Route {
                from: index,
                to: other,
            };
            let epoch = self.network.epoch(route);
            self.network.drop_end(route, epoch);
            let in_us = self.rng.below(self.swarm.links.idle_us);
            self.after(in_us, Event::Drop(route.back(), epoch));
        }
        Ok(())
    }

    pub(super) fn step_clock(&mut self) {
        if self.is_quiet {
            return;
        }
        self.after_about(self.swarm.faults.clock_step_every_ms, Event::ClockStep);
        let index = self.any_region();
        let offset_ms = self.draw_offset();
        self.regions[index].clock.offset_ms = offset_ms;
        self.trace.line(
            self.now,
            &name(index),
            format_args!("clock is {offset_ms} ms off"),
        );
    }

    pub(super) fn draw_offset(&mut self) -> i64 {
        let reach = i64::try_from(self.swarm.faults.clock_offset_ms_max).expect("small");
        i64::try_from(
            self.rng
                .below(self.swarm.faults.clock_offset_ms_max * 2 + 1),
        )
        .expect("small")
            - reach
    }

    pub(super) fn draw_drift(&mut self) -> i64 {
        i64::try_from(self.rng.below(401)).expect("small") - 200
    }

    pub(super) fn any_region(&mut self) -> usize {
        self.below(self.swarm.regions)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.rng.below(limit as u64)).expect("an index")
    }
}
