//! Regions, links and faults, moved by one queue of events in virtual time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    sync::Arc,
    time::Duration,
};

use greenwich::keyspace::Keyspace;
use greenwich_proto::{
    hlc::Version,
    peer::{Input, Outbox, Output, State},
    rng::Rng,
    store::Store,
    time::Time,
    wire::batch::{Batch, Item},
};

use crate::{
    clock::WallClock,
    invariants::{
        Broken, bounds, convergence, deletion, delivery::Delivery, stamps::Stamps, units,
    },
    network::{Fate, Message, Network, Route},
    oracle::{Effect, Oracle},
    region::{Changed, Region, name},
    swarm::Swarm,
    trace::Trace,
    workload::{Key, Operation, Workload},
};

/// How often a node tends its keys, and what is checked all the time is checked.
const TEND_US: u64 = 50_000;
/// How long a quiet world may take to agree, beyond the lead that clocks may have: with the smallest window and the
/// longest delay, a batch of one key goes out every 200 ms.
const QUIET_MS_MAX: u64 = 200_000;
/// The shortest quiet, beyond the error that clocks had: every short deadline passes.
const QUIET_MS_MIN: u64 = 1_500;

/// What happens next, and to whom.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Operation(usize),
    Tend(usize),
    Wake(Route),
    Connect(Route),
    Drop(Route, u64),
    Idle(Route, u64, u64),
    Heal(Route, u64),
    Resend(Route, u64, Parcel),
    Arrive(Route, u64, Parcel),
    Cut,
    Restart,
    ClockStep,
}

/// A message in the queue. Events at one time come in the order in which they were put in, never by what they carry.
#[derive(Debug)]
struct Parcel(Message);

impl PartialEq for Parcel {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Parcel {}
impl PartialOrd for Parcel {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Parcel {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

/// What a run amounted to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Client commands.
    pub operations: u64,
    /// Batches that arrived.
    pub batches: u64,
    /// Connections that were agreed upon.
    pub connections: u64,
    /// Links that were refused.
    pub refusals: u64,
    /// Sweeps over a whole keyspace.
    pub sweeps: u64,
    /// Nodes that started again.
    pub restarts: u64,
    /// Keys that are not compared.
    pub dropped: u64,
    /// Virtual milliseconds.
    pub elapsed_ms: u64,
}

/// A run.
pub struct World<'a, S> {
    swarm: Swarm,
    wrap: &'a dyn Fn(Arc<Keyspace>) -> S,
    trace: &'a mut Trace,
    now: Time,
    queue: BinaryHeap<Reverse<(Time, u64, Event)>>,
    next_event: u64,
    regions: Vec<Region<S>>,
    /// Whether regions may show parts of units: a sweep has begun since every region last had everything. What is
    /// torn in one region spreads to others with its own units.
    is_torn: bool,
    /// How many sweeps all regions have started, at the last look.
    sweeps: u64,
    network: Network,
    workload: Workload,
    rng: Rng,
    keys: Vec<Key>,
    names: BTreeMap<Vec<u8>, Key>,
    /// Keys that are not compared, see [`convergence::note_dropped`].
    dropped: BTreeSet<Key>,
    oracle: Oracle,
    stamps: Stamps,
    delivery: Delivery,
    is_quiet: bool,
    summary: Summary,
}

impl<S> std::fmt::Debug for World<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("swarm", &self.swarm)
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl<'a, S: Store> World<'a, S> {
    /// A world at its start.
    pub fn new(swarm: Swarm, wrap: &'a dyn Fn(Arc<Keyspace>) -> S, trace: &'a mut Trace) -> Self {
        let mut rng = Rng::new(swarm.seed);
        let keys = Key::all(swarm.mix.keys);
        let names = keys
            .iter()
            .map(|&key| (key.bytes(swarm.key_padding), key))
            .collect();
        let mut world = Self {
            wrap,
            trace,
            now: Time(0),
            queue: BinaryHeap::new(),
            next_event: 0,
            regions: Vec::new(),
            is_torn: true,
            sweeps: 0,
            network: Network::new(swarm.regions, &swarm.links, &mut rng.fork()),
            workload: Workload::new(rng.fork()),
            rng,
            keys,
            names,
            dropped: BTreeSet::new(),
            oracle: Oracle::new(swarm.regions),
            stamps: Stamps::new(swarm.regions, swarm.max_skew_ms),
            delivery: Delivery::default(),
            is_quiet: false,
            summary: Summary::default(),
            swarm,
        };
        world.start();
        world
    }

    /// Virtual milliseconds since the start.
    #[must_use]
    pub fn elapsed_ms(&self) -> u64 {
        self.now.0 / 1_000
    }

    fn start(&mut self) {
        for index in 0..self.swarm.regions {
            let clock = WallClock {
                offset_ms: self.draw_offset(),
                drift_ppm: self.draw_drift(),
            };
            let incarnation = clock.read(self.now).0;
            let region = Region::new(index, incarnation, clock, &self.swarm, &self.wrap, self.now);
            self.regions.push(region);
            self.after(self.rng.clone().below(TEND_US), Event::Tend(index));
            let first_us = self.swarm.warm_up_ms * 1_000;
            self.after(first_us, Event::Operation(index));
            for other in 0..index {
                let in_us = self.rng.below(50_000);
                self.after(
                    in_us,
                    Event::Connect(Route {
                        from: index,
                        to: other,
                    }),
                );
            }
        }
        let faults = self.swarm.faults;
        self.after_about(faults.cut_every_ms, Event::Cut);
        self.after_about(faults.restart_every_ms, Event::Restart);
        self.after_about(faults.clock_step_every_ms, Event::ClockStep);
    }

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
        let error_ms = 2 * self.swarm.faults.clock_offset_ms_max;
        self.run_until(quiet_from_ms + QUIET_MS_MIN + error_ms)?;
        while let Some(waiting) = self.waiting_for() {
            if self.elapsed_ms() > latest_ms {
                return Err(Broken::new("liveness", waiting));
            }
            self.run_until(self.elapsed_ms() + 100)?;
        }
        let wall = WallClock::default().read(self.now);
        self.keys.retain(|key| !self.dropped.contains(key));
        self.summary.dropped = self.dropped.len() as u64;
        convergence::check(&self.regions, &self.oracle, &self.keys, wall)?;
        self.regions
            .iter()
            .try_for_each(|region| units::check(region, wall))?;
        self.summary.elapsed_ms = self.elapsed_ms();
        self.summary.sweeps = self.sweeps;
        Ok(self.summary)
    }

    fn run_until(&mut self, until_ms: u64) -> Result<(), Broken> {
        let until = Time(until_ms * 1_000);
        while self
            .queue
            .peek()
            .is_some_and(|Reverse((at, ..))| *at <= until)
        {
            if let Some(Reverse((at, _, event))) = self.queue.pop() {
                self.now = at;
                self.process(event)?;
            }
        }
        self.now = until;
        Ok(())
    }

    /// What a quiet world still waits for.
    fn waiting_for(&self) -> Option<String> {
        for region in &self.regions {
            for other in self.others(region.index) {
                let report = region
                    .peer(other)
                    .report(&region.log, region.clock.read(self.now));
                if report.state != State::Up || report.lag_updates > 0 || report.is_sweeping {
                    return Some(format!(
                        "{} to {}: {report:?}",
                        name(region.index),
                        name(other)
                    ));
                }
            }
        }
        for region in &self.regions {
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
                    "{} remembers {dead}, which is dead",
                    name(region.index)
                ));
            }
        }
        None
    }

    fn process(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Operation(region) => self.operate(region),
            Event::Tend(region) => self.tend(region),
            Event::Wake(route) => {
                if self.regions[route.from].wakes[route.to] == Some(self.now) {
                    self.regions[route.from].wakes[route.to] = None;
                    return self.tell(route, Input::Tick);
                }
                Ok(())
            }
            Event::Connect(route) => self.connect(route),
            Event::Drop(route, epoch) => self.drop_end(route, epoch),
            Event::Idle(route, cut, epoch) => {
                if self.network.is_cut(route) && self.network.cuts(route) == cut {
                    self.close(route.back(), epoch);
                }
                Ok(())
            }
            Event::Heal(route, cut) => {
                self.network.heal(route, cut);
                Ok(())
            }
            Event::Resend(route, epoch, Parcel(message)) => {
                self.send(route, epoch, message);
                Ok(())
            }
            Event::Arrive(route, epoch, Parcel(message)) => self.arrive(route, epoch, message),
            Event::Cut => {
                self.cut();
                Ok(())
            }
            Event::Restart => self.restart(),
            Event::ClockStep => {
                self.step_clock();
                Ok(())
            }
        }
    }

    fn operate(&mut self, index: usize) -> Result<(), Broken> {
        if self.is_quiet {
            return Ok(());
        }
        self.after_operation(index);
        if self.regions[index].is_catching_up {
            return Ok(());
        }
        self.summary.operations += 1;
        let operation = self.workload.next(&self.swarm);
        let region = &self.regions[index];
        let before = region.heads();
        let changed = region.perform(self.now, &operation, &self.keys);
        let after = region.heads();
        self.trace.line(
            self.now,
            &name(index),
            format_args!("{operation} -> {} keys", changed.len()),
        );
        if changed.is_empty() {
            return if before == after {
                Ok(())
            } else {
                Delivery::place(index, &before, &after).map(|_| ())
            };
        }
        self.accept(
            index,
            &operation,
            changed,
            Delivery::place(index, &before, &after)?,
        )?;
        for other in self.others(index) {
            // A real driver is woken through the operating system: other commands may come first.
            let in_us = self.rng.below(300);
            self.wake(
                Route {
                    from: index,
                    to: other,
                },
                Time(self.now.0 + in_us),
            );
        }
        Ok(())
    }

    fn accept(
        &mut self,
        index: usize,
        operation: &Operation,
        changed: Vec<Changed>,
        place: (usize, u64),
    ) -> Result<(), Broken> {
        let wall = self.regions[index].clock.read(self.now);
        let mut version = None;
        for Changed { key, effect } in changed {
            if let Effect::Base {
                version: written, ..
            }
            | Effect::Deadline {
                version: written, ..
            } = &effect
            {
                if version.is_some_and(|version| version != *written) {
                    return Err(Broken::new(
                        "stamps",
                        format!("{operation} wrote {version:?} and {written:?}"),
                    ));
                }
                version = Some(*written);
            }
            if let Effect::Base { version, .. } = &effect {
                for other in self.others(index) {
                    self.delivery.expect(index, other, place, key, *version);
                }
            }
            self.oracle.accept(index, key, effect, wall);
            self.observe(index, key);
        }
        version.map_or(Ok(()), |version: Version| {
            self.stamps.note(index, version, wall)
        })
    }

    fn observe(&mut self, index: usize, key: Key) {
        let region = &self.regions[index];
        let flushed = region.flushed();
        region.with_entry(key, |entry| self.oracle.observe(index, key, entry, flushed));
    }

    fn tend(&mut self, index: usize) -> Result<(), Broken> {
        self.after(TEND_US, Event::Tend(index));
        let region = &self.regions[index];
        let wall = region.clock.read(self.now);
        convergence::note_dropped(region, &self.keys, wall, &mut self.dropped);
        region.tend(self.now);
        bounds::check(region, &self.swarm, self.now)?;
        self.note_sweeps();
        if self.is_torn {
            return Ok(());
        }
        let region = &self.regions[index];
        units::check(region, region.clock.read(self.now))
    }

    /// Ends the catching up of regions that have everything, and the tearing of units when all have.
    fn note_sweeps(&mut self) {
        let mut sweeps = 0;
        let mut all_have_all = true;
        for index in 0..self.swarm.regions {
            let mut has_all = true;
            for other in self.others(index) {
                let sender = &self.regions[other];
                let report = sender
                    .peer(index)
                    .report(&sender.log, sender.clock.read(self.now));
                let knows_us = report.incarnation == self.regions[index].incarnation();
                sweeps += report.sent.sweeps;
                has_all &= knows_us
                    && report.state == State::Up
                    && !report.is_sweeping
                    && report.lag_updates == 0;
                has_all &= *self.regions[index].peer(other).state() == State::Up;
            }
            all_have_all &= has_all;
            if self.regions[index].is_catching_up && has_all {
                self.regions[index].is_catching_up = false;
                self.trace
                    .line(self.now, &name(index), format_args!("has caught up"));
            }
        }
        self.is_torn = (self.is_torn || sweeps != self.sweeps) && !all_have_all;
        self.sweeps = sweeps;
    }

    /// Gives a session something to take in, and does what it asks for.
    fn tell(&mut self, route: Route, input: Input<'_>) -> Result<(), Broken> {
        let wall = self.regions[route.from].clock.read(self.now);
        self.stamps.see(route.from, wall);
        let out = self.regions[route.from].handle(self.now, route.to, input);
        self.perform(route, out);
        let region = &self.regions[route.from];
        if let Some(deadline) = region.peer(route.to).deadline(&region.log) {
            self.wake(route, deadline.max(Time(self.now.0 + 50)));
        }
        self.delivery
            .check(&self.regions[route.from], &self.regions[route.to])
    }

    fn perform(&mut self, route: Route, out: Outbox) {
        let epoch = self.network.epoch(route);
        for output in out {
            match output {
                Output::Control(bytes) => {
                    let message = self.network.control(route, bytes);
                    self.send(route, epoch, message);
                }
                Output::Batch(bytes) => self.send(route, epoch, Message::Batch(bytes)),
                Output::Established => {
                    self.summary.connections += 1;
                    self.trace.line(
                        self.now,
                        &name(route.from),
                        format_args!("established with {}", name(route.to)),
                    );
                }
                Output::Close(reason) => {
                    self.summary.refusals += 1;
                    self.trace.line(
                        self.now,
                        &name(route.from),
                        format_args!("closes {}: {reason}", name(route.to)),
                    );
                    self.close(route, epoch);
                }
            }
        }
    }

    fn wake(&mut self, route: Route, at: Time) {
        let wake = &mut self.regions[route.from].wakes[route.to];
        if wake.is_none_or(|scheduled| scheduled > at) {
            *wake = Some(at);
            self.at(at, Event::Wake(route));
        }
    }

    fn send(&mut self, route: Route, epoch: u64, message: Message) {
        if epoch == 0 || self.network.epoch(route) != epoch {
            return;
        }
        match self.network.send(self.now, route, &message) {
            Fate::Arrives(at, again) => {
                if let Some(again) = again {
                    self.at(again, Event::Arrive(route, epoch, Parcel(message.clone())));
                }
                self.at(at, Event::Arrive(route, epoch, Parcel(message)));
            }
            Fate::Lost(noticed) => self.at(noticed, Event::Resend(route, epoch, Parcel(message))),
        }
    }

    fn arrive(&mut self, route: Route, epoch: u64, message: Message) -> Result<(), Broken> {
        let back = route.back();
        if self.network.epoch(back) != epoch {
            return Ok(());
        }
        match message {
            Message::Control(number, bytes) => {
                for frame in self.network.in_order(route, number, bytes) {
                    self.tell(back, Input::Control(&frame))?;
                }
                Ok(())
            }
            Message::Batch(bytes) => {
                self.summary.batches += 1;
                self.tell(back, Input::Batch(&bytes))?;
                self.follow(route, &bytes)
            }
        }
    }

    /// Looks at what a batch made of the keys that it names.
    fn follow(&mut self, route: Route, bytes: &[u8]) -> Result<(), Broken> {
        let index = route.to;
        let batch =
            Batch::decode(bytes).map_err(|error| Broken::new("delivery", error.to_string()))?;
        let mut keys: Vec<Key> = Vec::new();
        for item in batch.items() {
            match item {
                Item::Entry(entry) => keys.extend(self.names.get(entry.key)),
                Item::Unit(unit) => keys.extend(
                    unit.entries()
                        .filter_map(|entry| self.names.get(entry.key).copied()),
                ),
                Item::Flush(_) => keys.extend(&self.keys),
            }
        }
        if self.trace.is_on() {
            let text = describe(&batch, &keys);
            let from = name(route.from);
            self.trace.line(
                self.now,
                &name(index),
                format_args!("batch {} of {from}:{text}", batch.id),
            );
        }
        for key in keys {
            deletion::check(&self.regions[index], &self.oracle, key)?;
            self.observe(index, key);
        }
        Ok(())
    }

    fn connect(&mut self, route: Route) -> Result<(), Broken> {
        if self.network.epoch(route) != 0 && self.network.epoch(route.back()) != 0 {
            return Ok(());
        }
        if !self.network.connect(route) {
            let in_us = 50_000 + self.rng.below(100_000);
            self.after(in_us, Event::Connect(route));
            return Ok(());
        }
        self.tell(route, Input::Connected)?;
        self.tell(route.back(), Input::Connected)
    }

    /// One end gives its connection up at once; the other notices later.
    fn close(&mut self, route: Route, epoch: u64) {
        let in_us = self.rng.below(self.swarm.links.idle_us);
        self.after(0, Event::Drop(route, epoch));
        // What was said last still arrives before the end of the connection does.
        self.after(400_000 + in_us, Event::Drop(route.back(), epoch));
    }

    fn drop_end(&mut self, route: Route, epoch: u64) -> Result<(), Broken> {
        if !self.network.drop_end(route, epoch) {
            return Ok(());
        }
        self.trace.line(
            self.now,
            &name(route.from),
            format_args!("lost the link to {}", name(route.to)),
        );
        self.tell(route, Input::Disconnected)?;
        let in_us = 50_000 + self.rng.below(200_000);
        self.after(in_us, Event::Connect(route));
        Ok(())
    }

    fn cut(&mut self) {
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
    fn restart(&mut self) -> Result<(), Broken> {
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
        self.regions[index] = region;
        self.stamps.restart(index);
        self.delivery.restart(index);
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

    fn step_clock(&mut self) {
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

    fn draw_offset(&mut self) -> i64 {
        let reach = i64::try_from(self.swarm.faults.clock_offset_ms_max).expect("small");
        i64::try_from(
            self.rng
                .below(self.swarm.faults.clock_offset_ms_max * 2 + 1),
        )
        .expect("small")
            - reach
    }

    fn draw_drift(&mut self) -> i64 {
        i64::try_from(self.rng.below(401)).expect("small") - 200
    }

    fn any_region(&mut self) -> usize {
        self.below(self.swarm.regions)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.rng.below(limit as u64)).expect("an index")
    }

    fn others(&self, index: usize) -> impl Iterator<Item = usize> + use<S> {
        (0..self.swarm.regions).filter(move |&other| other != index)
    }

    fn after_operation(&mut self, index: usize) {
        let in_us = self
            .rng
            .below(2_000_000 / self.swarm.operations_per_s.max(1));
        self.after(in_us, Event::Operation(index));
    }

    fn after_about(&mut self, every_ms: u64, event: Event) {
        if every_ms > 0 {
            let in_us = self.rng.below(2_000 * every_ms);
            self.after(in_us, event);
        }
    }

    fn after(&mut self, in_us: u64, event: Event) {
        self.at(self.now + Duration::from_micros(in_us), event);
    }

    fn at(&mut self, at: Time, event: Event) {
        self.queue.push(Reverse((at, self.next_event, event)));
        self.next_event += 1;
    }
}

/// The parts of the log and the keys of a batch.
fn describe(batch: &Batch<'_>, keys: &[Key]) -> String {
    let ranges = batch
        .ranges
        .iter()
        .map(|range| format!(" {}:{}-{}", range.lane, range.after + 1, range.up_to));
    ranges
        .chain(keys.iter().map(|key| format!(" {key}")))
        .collect()
}
