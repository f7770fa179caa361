//! What sessions say to each other, and the links that it travels on.

use greenwich_proto::{
    entry::EntryRef,
    hlc::Stamp,
    peer::{Input, Outbox, Output},
    store::Store,
    time::Time,
    wire::{
        batch::{Batch, Item},
        control::Control,
    },
};

use super::{Event, Parcel, World};
use crate::{
    invariants::{Broken, deletion, delivery::Waited},
    network::{Fate, Message, Route},
    region::name,
    workload::Key,
};

impl<S: Store> World<'_, S> {
    /// Gives a session something to take in, and does what it asks for.
    pub(super) fn tell(&mut self, route: Route, input: Input<'_>) -> Result<(), Broken> {
        if !self.tries(route) {
            return Ok(());
        }
        let wall = self.regions[route.from].clock.read(self.now);
        self.stamps.see(route.from, wall);
        // Where a batch is built, and nothing is applied that is still to be followed.
        let meanwhile = matches!(input, Input::Tick)
            .then(|| self.draw_meanwhile(route.from))
            .flatten();
        let command = meanwhile
            .as_ref()
            .map(|(looks, operation)| (*looks, operation, &*self.keys));
        let region = &mut self.regions[route.from];
        if self.plant.forgets_units {
            region.log.units().forget(Stamp(u64::MAX));
        }
        let (out, performed) = region.handle(self.now, route.to, input, command);
        if let Some(((_, operation), performed)) = meanwhile.as_ref().zip(performed) {
            self.summary.meanwhile += 1;
            self.note(route.from, operation, performed)?;
        }
        self.perform(route, out);
        let region = &self.regions[route.from];
        let deadline = region
            .session(route.to)
            .and_then(|session| session.deadline(&region.log));
        if let Some(deadline) = deadline {
            self.wake(route, deadline.max(Time(self.now.0 + 50)));
        }
        self.note_roster(route.from);
        self.look_whether_loaded(route.from)?;
        let (region, other) = (&self.regions[route.from], &self.regions[route.to]);
        self.verify
            .check(region, other, (&self.regions, &self.keys), self.now)?;
        let waited = match self.swarm.horizon_ms {
            0 => Waited::ForEver,
            _ => Waited::Within(&self.oracle),
        };
        self.delivery.check(region, other, waited, self.now)
    }

    pub(super) fn perform(&mut self, route: Route, out: Outbox) {
        let epoch = self.network.epoch(route);
        for output in out {
            match output {
                Output::Control(bytes) => {
                    let bytes = self.tampered_with(bytes);
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
                Output::Close(turned_away) => {
                    self.summary.refusals += 1;
                    self.trace.line(
                        self.now,
                        &name(route.from),
                        format_args!("closes {}: {}", name(route.to), turned_away.reason),
                    );
                    self.close(route, epoch);
                }
            }
        }
    }

    fn tampered_with(&self, bytes: Vec<u8>) -> Vec<u8> {
        let Some(tamper) = self.plant.tamper else {
            return bytes;
        };
        match Control::decode(&bytes) {
            Ok(Some(frame)) => tamper(frame).encode(),
            Ok(None) | Err(_) => bytes,
        }
    }

    pub(super) fn wake(&mut self, route: Route, at: Time) {
        let wake = &mut self.regions[route.from].wakes[route.to];
        if wake.is_none_or(|scheduled| scheduled > at) {
            *wake = Some(at);
            self.at(at, Event::Wake(route));
        }
    }

    pub(super) fn send(&mut self, route: Route, epoch: u64, message: Message) {
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

    pub(super) fn arrive(
        &mut self,
        route: Route,
        epoch: u64,
        message: Message,
    ) -> Result<(), Broken> {
        let back = route.back();
        if self.network.epoch(back) != epoch {
            return Ok(());
        }
        match message {
            Message::Control(number, bytes) => {
                for frame in self.network.in_order(route, number, bytes) {
                    let held = self.valued_before(route.to, &frame);
                    self.tell(back, Input::Control(&frame))?;
                    self.note_dropped(route, &held);
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

    /// The keys of which a region holds a value, if a frame may have it drop some.
    fn valued_before(&mut self, index: usize, frame: &[u8]) -> Vec<Key> {
        match Control::decode(frame) {
            Ok(Some(Control::Over(over))) => {
                for over in over {
                    let key = self.names.get(&over.key);
                    let text = format_args!("is told that {key:?} has ended at {}", over.newest);
                    self.trace.line(self.now, &name(index), text);
                }
                self.valued(index)
            }
            Ok(_) | Err(_) => Vec::new(),
        }
    }

    fn valued(&self, index: usize) -> Vec<Key> {
        let region = &self.regions[index];
        let has_value =
            |key: &&Key| region.with_entry(**key, |entry| entry.is_some_and(EntryRef::has_value));
        self.keys.iter().filter(has_value).copied().collect()
    }

    /// A region has dropped what its peer says has ended: it knows as much of that as the peer.
    fn note_dropped(&mut self, route: Route, valued: &[Key]) {
        if valued.is_empty() {
            return;
        }
        let left = self.valued(route.to);
        for &key in valued.iter().filter(|key| !left.contains(key)) {
            self.trace.line(
                self.now,
                &name(route.to),
                format_args!("drops {key}, which has ended"),
            );
            self.oracle.inherit_key(route.to, route.from, key);
            let wall = self.regions[route.to].clock.read(self.now);
            self.verify.change(route.to, key, Stamp::at(wall));
        }
    }

    /// Looks at what a batch made of the keys that it names.
    pub(super) fn follow(&mut self, route: Route, bytes: &[u8]) -> Result<(), Broken> {
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
        if batch.ranges.is_empty() {
            // Of a sweep or a repair: what it brings may be old.
            let wall = self.regions[index].clock.read(self.now);
            for &key in &keys {
                self.verify.change(index, key, Stamp::at(wall));
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
        self.note_absence(index);
        let wall = self.regions[index].clock.read(self.now);
        for key in keys {
            deletion::check(&self.regions[index], &self.oracle, key, wall)?;
            self.observe(index, key);
        }
        self.check_units(index)
    }

    pub(super) fn connect(&mut self, route: Route) -> Result<(), Broken> {
        if self.network.epoch(route) != 0 && self.network.epoch(route.back()) != 0 {
            return Ok(());
        }
        let tries = [route, route.back()].map(|way| self.tries(way));
        if tries == [false, false] {
            return Ok(());
        }
        let is_down = self.is_down(route.from) || self.is_down(route.to);
        if is_down || tries != [true, true] || !self.network.connect(route) {
            let in_us = 50_000 + self.rng.below(100_000);
            self.after(in_us, Event::Connect(route));
            return Ok(());
        }
        self.tell(route, Input::Connected)?;
        self.tell(route.back(), Input::Connected)
    }

    /// One end gives its connection up at once; the other notices later.
    pub(super) fn close(&mut self, route: Route, epoch: u64) {
        let in_us = self.rng.below(self.swarm.links.idle_us);
        self.after(0, Event::Drop(route, epoch));
        // What was said last still arrives before the end of the connection does.
        self.after(400_000 + in_us, Event::Drop(route.back(), epoch));
    }

    pub(super) fn drop_end(&mut self, route: Route, epoch: u64) -> Result<(), Broken> {
        if !self.network.drop_end(route, epoch) {
            return Ok(());
        }
        self.trace.line(
            self.now,
            &name(route.from),
            format_args!("lost the link to {}", name(route.to)),
        );
        self.tell(route, Input::Disconnected)?;
        self.survival.drop_end(route, epoch);
        self.bury();
        let in_us = 50_000 + self.rng.below(200_000);
        self.after(in_us, Event::Connect(route));
        Ok(())
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
