//! What a repair moves: two regions hold the same but for some keys, find out over one link, and mend it.
//!
//! The link has a rate and a delay and loses nothing; messages count as the bytes that the sessions give to it. Region 0 is
//! the one that asks. A third region has no link, so that nothing that is dead is forgotten meanwhile.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    fmt,
    time::Duration,
};

use greenwich_proto::{
    entry::{Body, Deadline, EntryRef, layout},
    hlc::{Origin, Stamp, Version},
    peer::{Input, Limits, Output},
    rng::Rng,
    settled::Settled,
    store::Store,
    time::{Time, Wall},
    wire::{batch, control::Control},
};

use crate::{
    Direct, Swarm,
    clock::{START, WallClock},
    region::{Region, Regions},
};

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Keys that both regions hold, of 16 bytes with values of 100.
    pub keys: usize,
    /// Of them, those that one region or the other has changed: six in ten overwritten, two prolonged, one deleted, and one
    /// new.
    pub changed: usize,
    /// Bytes per second in each direction.
    pub rate: u64,
    /// One way.
    pub delay: Duration,
}

/// Bytes both ways, by kind, and how long it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Repair {
    /// Fingerprints of groups and slots.
    pub fingerprints: u64,
    /// What regions told each other of the slots that differ.
    pub sketches: u64,
    /// What was found, and what was chosen of it.
    pub names: u64,
    /// Batches.
    pub entries: u64,
    /// Acknowledgements.
    pub acks: u64,
    /// The new states of the changed keys, as they travel.
    pub differing: u64,
    /// From the question until the last entry was applied, in virtual time.
    pub took: Duration,
    /// What each region computed, as `clock` says.
    pub cpu: [Duration; 2],
    /// Comparisons until both regions found that they were equal, that one included.
    pub rounds: u64,
}

/// What a repair may move beside the differing entries and a quarter of them, in bytes.
pub const SLACK_BYTES: u64 = 64 * 1024;

impl Repair {
    /// Everything that crossed.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.fingerprints + self.sketches + self.names + self.entries + self.acks
    }

    /// What it may be.
    #[must_use]
    pub const fn aim_bytes(&self) -> u64 {
        self.differing + self.differing / 4 + SLACK_BYTES
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (bytes, aim) = (self.bytes(), self.aim_bytes());
        let [asks, answers] = self.cpu.map(|cpu| cpu.as_millis());
        write!(
            f,
            "{bytes} B, aim {aim} ({:.2}): fingerprints {}, sketches {}, names {}, entries {} of {}, acks {}; \
             {} ms, {} comparisons, cpu {asks} and {answers} ms",
            bytes as f64 / aim as f64,
            self.fingerprints,
            self.sketches,
            self.names,
            self.entries,
            self.differing,
            self.acks,
            self.took.as_millis(),
            self.rounds,
        )
    }
}

/// Mends what differs. `clock` says how much was computed so far; it has no influence on what is done.
#[must_use]
pub fn measure(case: Case, clock: &dyn Fn() -> Duration) -> Repair {
    let mut pair = Pair::new(case, clock);
    pair.run_until(|pair| pair.equals() > 0);
    pair.fill();
    pair.found = Repair {
        differing: pair.change(),
        ..Repair::default()
    };
    let before = (pair.now, pair.equals());
    pair.asked = None;
    pair.run_until(|pair| pair.equal_as_of() > Some(Stamp::at(pair.wall(before.0))));
    pair.found.took = pair.changed_last.since(pair.asked.unwrap_or_default());
    pair.found
}

/// A message on its way: when it arrives, in which order it was sent, and to whom.
type Parcel = Reverse<(Time, u64, usize, Message)>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Message {
    Control(Vec<u8>),
    Batch(Vec<u8>),
}

struct Pair<'a> {
    case: Case,
    clock: &'a dyn Fn() -> Duration,
    regions: [Region<Direct>; 2],
    now: Time,
    /// When each direction can carry more.
    free: [Time; 2],
    under_way: BinaryHeap<Parcel>,
    sent: u64,
    found: Repair,
    /// When the comparison began that is measured, and when an entry arrived last.
    asked: Option<Time>,
    changed_last: Time,
}

impl<'a> Pair<'a> {
    fn new(case: Case, clock: &'a dyn Fn() -> Duration) -> Self {
        let mut swarm = Swarm::draw(0);
        (swarm.regions, swarm.limits) = (3, Limits::default());
        (swarm.log_bytes, swarm.loading_patience_ms) = (1 << 20, 0);
        let wall = WallClock::default();
        let region = |at| {
            let configured = (0..3).filter(|other| *other != at).collect();
            let regions = Regions {
                configured,
                ..Regions::default()
            };
            Region::new((at, regions), 1, wall, &swarm, &Direct, Time(0))
        };
        let mut pair = Self {
            case,
            clock,
            regions: [region(0), region(1)],
            now: Time(0),
            free: [Time(0); 2],
            under_way: BinaryHeap::new(),
            sent: 0,
            found: Repair::default(),
            asked: None,
            changed_last: Time(0),
        };
        (0..2).for_each(|at| pair.tell(at, Input::Connected));
        pair
    }

    fn wall(&self, at: Time) -> Wall {
        self.regions[0].clock.read(at)
    }

    fn equal_as_of(&self) -> Option<Stamp> {
        let of = |at: usize| {
            let report = self.regions[at].report(1 - at, self.now)?;
            report.compares.equal_as_of
        };
        of(0).min(of(1))
    }

    fn equals(&self) -> u64 {
        u64::from(self.equal_as_of().is_some())
    }

    /// Lets time pass until something is so.
    fn run_until(&mut self, mut is_so: impl FnMut(&Self) -> bool) {
        while !is_so(self) {
            let due = |at: usize| {
                let session = self.regions[at].session(1 - at)?;
                session.deadline(&self.regions[at].log)
            };
            let ticks = [0, 1].map(|at| due(at).map(|due| (due.max(Time(self.now.0 + 50)), at)));
            let tick = ticks.into_iter().flatten().min().expect("the link is up");
            match self.under_way.peek() {
                Some(Reverse((arrives, ..))) if *arrives <= tick.0 => {
                    let Reverse((arrives, _, to, message)) = self.under_way.pop().expect("peeked");
                    self.now = arrives.max(self.now);
                    self.arrive(to, &message);
                }
                _ => {
                    self.now = tick.0;
                    self.tell(tick.1, Input::Tick);
                }
            }
        }
    }

    fn arrive(&mut self, to: usize, message: &Message) {
        match message {
            Message::Control(bytes) => self.tell(to, Input::Control(bytes)),
            Message::Batch(bytes) => {
                self.changed_last = self.now;
                self.tell(to, Input::Batch(bytes));
            }
        }
    }

    fn tell(&mut self, at: usize, input: Input<'_>) {
        let began = (self.clock)();
        let (out, _) = self.regions[at].handle(self.now, 1 - at, input, None);
        self.found.cpu[at] += (self.clock)() - began;
        for output in out {
            match output {
                Output::Control(bytes) => self.send(at, Message::Control(bytes)),
                Output::Batch(bytes) => self.send(at, Message::Batch(bytes)),
                Output::Established => {}
                Output::Close(why) => panic!("a link was closed: {}", why.reason),
            }
        }
    }

    fn send(&mut self, from: usize, message: Message) {
        self.count(&message);
        let (Message::Control(bytes) | Message::Batch(bytes)) = &message;
        let takes_us = bytes.len() as u64 * 1_000_000 / self.case.rate;
        self.free[from] = self.free[from].max(self.now) + Duration::from_micros(takes_us);
        let arrives = self.free[from] + self.case.delay;
        self.sent += 1;
        let parcel = (arrives, self.sent, 1 - from, message);
        self.under_way.push(Reverse(parcel));
    }

    fn count(&mut self, message: &Message) {
        let bytes = match message {
            Message::Control(bytes) => bytes,
            Message::Batch(bytes) => {
                self.found.entries += bytes.len() as u64;
                return;
            }
        };
        let frame = Control::decode(bytes).expect("sessions send frames");
        let kind = match frame.expect("of kinds that they know") {
            Control::Compare(_) => {
                self.found.rounds += 1;
                self.asked.get_or_insert(self.now);
                &mut self.found.fingerprints
            }
            Control::Compared(_) => &mut self.found.fingerprints,
            Control::Listing(_) | Control::Sketches(_) => &mut self.found.sketches,
            Control::Wanted(_)
            | Control::Found(_)
            | Control::Chosen(_)
            | Control::Pushed(_)
            | Control::Repaired(_) => &mut self.found.names,
            Control::Ack(_) => &mut self.found.acks,
            // Of every link, whether something is repaired or not.
            Control::Hello(_)
            | Control::Ready
            | Control::Refuse(_)
            | Control::Watermark(_)
            | Control::Want
            | Control::Sent(_)
            | Control::Clock(_)
            | Control::Hearsay(_)
            | Control::Over(_)
            | Control::Regions(_)
            | Control::Twin(_)
            | Control::Count(_) => return,
        };
        *kind += bytes.len() as u64;
    }

    /// Gives both regions the same keys, written within the hour before.
    fn fill(&mut self) {
        let mut rng = Rng::new(1);
        for key in 0..self.case.keys {
            let version = version(START.0 - rng.below(3_600_000), 1);
            let key = name(key);
            self.join(&[0, 1], &plain(&key, version));
        }
    }

    /// Changes keys in one region or the other. Returns how many bytes the new states take on their way.
    fn change(&mut self) -> u64 {
        let mut rng = Rng::new(2);
        let mut chosen = BTreeSet::new();
        while chosen.len() < self.case.changed {
            chosen.insert(rng.below(self.case.keys as u64) as usize);
        }
        let wall = self.wall(self.now);
        let mut bytes = Vec::new();
        for (at, key) in chosen.into_iter().enumerate() {
            let (to, kind) = (rng.below(2) as usize, at % 10);
            let new = version(wall.0 - rng.below(1_000), to as u8 + 1);
            let key = match kind {
                0 => name(self.case.keys + key),
                _ => name(key),
            };
            let mut entry = plain(&key, new);
            if kind == 1 {
                entry = EntryRef::absent(&key, new);
            } else if kind < 4 {
                self.regions[to].keyspace.export(&[&key], &mut |held| {
                    entry.version = layout::view(held).version;
                });
                entry.deadline.at = Some(wall + Duration::from_hours(1));
            }
            batch::put_entry(&layout::to_box(&entry), &mut bytes);
            self.join(&[to], &entry);
        }
        bytes.len() as u64
    }

    fn join(&self, to: &[usize], entry: &EntryRef<'_>) {
        for at in to {
            let now = self.wall(self.now);
            self.regions[*at]
                .keyspace
                .join(&[*entry], Settled::NOTHING, now);
        }
    }
}

fn name(key: usize) -> Vec<u8> {
    format!("key:{key:012}").into_bytes()
}

fn version(at_ms: u64, origin: u8) -> Version {
    let (stamp, origin) = (Stamp::at(Wall(at_ms)), Origin(origin));
    Version { stamp, origin }
}

fn plain(key: &[u8], version: Version) -> EntryRef<'_> {
    EntryRef {
        body: Body::Bytes(&[b'v'; 100]),
        deadline: Deadline { version, at: None },
        ..EntryRef::absent(key, version)
    }
}
