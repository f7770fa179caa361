//! What goes wrong: cuts, restarts, clocks.

use std::time::Duration;

use greenwich_proto::{store::Store, time::Wall};

use super::{Event, World};
use crate::{
    network::Route,
    region::{Region, name},
    survival,
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
            self.cut_way(way, for_us);
        }
    }

    /// Cuts a region off from all others.
    pub(super) fn isolate(&mut self) {
        if self.is_quiet {
            return;
        }
        self.after_about(self.swarm.faults.away_every_ms, Event::Isolate);
        let from = self.any_region();
        let for_us = 1_000 * (1 + self.rng.below(self.swarm.faults.away_ms_max));
        for to in self.others(from) {
            let route = Route { from, to };
            self.cut_way(route, for_us);
            self.cut_way(route.back(), for_us);
        }
    }

    fn cut_way(&mut self, way: Route, for_us: u64) {
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

    /// Kills a node, with whatever it has not sent, and starts it again, empty.
    pub(super) fn restart(&mut self) {
        if self.is_quiet {
            return;
        }
        self.after_about(self.swarm.faults.restart_every_ms, Event::Restart);
        let index = self.any_region();
        if !self.cluster.runs(index) {
            return;
        }
        let down_us = self.rng.below(1_000 * self.swarm.faults.down_ms_max);
        self.summary.restarts += 1;
        self.trace.line(
            self.now,
            &name(index),
            format_args!("dies, and starts again {} ms later", down_us / 1_000),
        );
        let next = self.next_life(index);
        self.die(index, Some(down_us));
        self.begin(index, next);
        self.down_until[index] = self.now + Duration::from_micros(down_us);
    }

    /// The node of a region is no more, nor what only it had. The next one is there after so many microseconds, if one is.
    pub(super) fn die(&mut self, index: usize, down_us: Option<u64>) {
        let mut others = self.others(index).into_iter();
        self.is_torn_for_good |= others.any(|other| self.is_needed(index, other));
        self.delivery.restart(&self.regions[index]);
        self.oracle.restart(index);
        self.survival.die();
        for other in (0..self.swarm.regions).filter(|other| *other != index) {
            let route = Route {
                from: index,
                to: other,
            };
            let epoch = self.network.epoch(route);
            self.network.drop_end(route, epoch);
            self.survival.drop_end(route, epoch);
            self.survival
                .expect_drop(route.back(), self.network.epoch(route.back()));
            let in_us = self.rng.below(self.swarm.links.idle_us);
            self.after(in_us, Event::Drop(route.back(), epoch));
            if let Some(down_us) = down_us {
                // The other end may have died, too, and will not begin a connection.
                self.after(down_us + in_us, Event::Connect(route));
            }
        }
    }

    /// An empty node takes the place of one that died.
    pub(super) fn begin(&mut self, index: usize, node: Region<S>) {
        self.sweeps_before += self.sweeps();
        self.regions[index] = node;
        self.sweeps_before -= self.sweeps();
        self.inherited.retain(|(heir, _)| *heir != index);
        self.stamps.restart(index);
        self.readiness
            .restart(&self.regions, index, &self.keys, self.now);
        self.bury();
    }

    /// Whether the node of a region is yet to start again.
    pub(super) fn is_down(&self, index: usize) -> bool {
        self.down_until[index] > self.now
    }

    /// Whether a node is sweeping to one that has not yet received what it holds.
    fn is_needed(&self, index: usize, other: usize) -> bool {
        let report = self.regions[index].report(other, self.now);
        report.is_some_and(|report| report.is_sweeping)
            && self.regions[other].missing().contains(&index)
    }

    /// An empty node. Of its earlier life it knows the incarnation and the newest stamp.
    fn next_life(&self, index: usize) -> Region<S> {
        let last = &self.regions[index];
        let clock = last.clock;
        let incarnation = clock.read(self.now).0.max(last.incarnation() + 1);
        let life = (index, last.regions());
        let next = Region::new(life, incarnation, clock, &self.swarm, &self.wrap, self.now);
        next.log
            .clock()
            .advance(last.log.clock().stamp(Wall::default()));
        next
    }

    /// Tells the oracle what died with the only nodes that had it.
    pub(super) fn bury(&mut self) {
        if !self.survival.is_decided() {
            return;
        }
        let lost = survival::lost(&self.running(), &self.oracle, &self.folds);
        for (key, effect) in self.oracle.lose(&lost) {
            self.summary.lost += 1;
            self.trace.line(
                self.now,
                "world",
                format_args!("nobody has {effect:?} of {key}"),
            );
        }
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
