//! A trivial keyspace, and two nodes whose sessions are wired to each other.

#![allow(unreachable_pub, reason = "a module of test crates")]

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use greenwich_proto::{
    entry::{
        Body, Deadline, EntryRef,
        join::{Forgotten, Joined, join},
        layout,
        totals::{Actor, Totals},
    },
    hlc::{Clock, Origin, Stamp, Version},
    lives::Lives,
    log::{LANES, Log, PeerIndex},
    members::Members,
    peer::{
        Builder, Input, Limits, Node, Outbox, Output, Peer, Report,
        handshake::{Contest, Expected, Identity, Sign, TurnedAway},
    },
    roster::Roster,
    settled::Settled,
    store::{Applied, Store},
    time::{Time, Wall},
};
use parking_lot::Mutex;

/// The wall clock of every node at the start.
pub const WALL: Wall = Wall(1_000_000);

/// A keyspace that counts what is joined into it.
#[derive(Debug, Default)]
pub struct Memory {
    entries: RefCell<BTreeMap<Vec<u8>, Box<[u8]>>>,
    pub joins: Cell<usize>,
    pub settled: Cell<Stamp>,
}

impl Memory {
    pub fn value(&self, key: &str) -> Option<String> {
        let entries = self.entries.borrow();
        match layout::view(entries.get(key.as_bytes())?).body {
            Body::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            Body::Dead => None,
        }
    }
}

impl Store for Memory {
    fn export(&self, keys: &[&[u8]], visit: &mut dyn FnMut(&[u8])) {
        let entries = self.entries.borrow();
        keys.iter()
            .filter_map(|key| entries.get(*key))
            .for_each(|entry| visit(entry));
    }

    fn join(&self, incoming: &[EntryRef<'_>], _: &Settled, _: Wall) -> Applied {
        let mut entries = self.entries.borrow_mut();
        for entry in incoming {
            self.joins.set(self.joins.get() + 1);
            let held = entries.get(entry.key).cloned();
            let joined = join(
                held.as_deref().map(layout::view).as_ref(),
                entry,
                Forgotten::default(),
            );
            match joined {
                None | Some(Joined::Local) => {}
                Some(Joined::Incoming) => {
                    drop(entries.insert(entry.key.to_vec(), layout::to_box(entry)))
                }
                Some(Joined::Mixed(bytes)) => drop(entries.insert(entry.key.to_vec(), bytes)),
            }
        }
        Applied {
            changed: incoming.len() as u64,
            superseded: 0,
        }
    }

    fn flush(&self, _: Version) {
        self.entries.borrow_mut().clear();
    }

    fn flushed(&self) -> Version {
        Version::ZERO
    }

    fn settle(&self, _: Settled) {}

    fn settled(&self) -> Settled {
        Settled::up_to(self.settled.get())
    }

    fn has_folded(&self) -> bool {
        let entries = self.entries.borrow();
        let mut held = entries.values().map(|entry| layout::view(entry));
        held.any(|entry| entry.totals.has_folded())
    }

    fn keys(&self) -> Option<u64> {
        Some(self.entries.borrow().len() as u64)
    }

    fn sweep(&self, _: u64, _: usize, visit: &mut dyn FnMut(&[u8])) -> Option<u64> {
        self.entries
            .borrow()
            .values()
            .for_each(|entry| visit(entry));
        None
    }
}

/// One node with one peer.
pub struct Side {
    pub identity: Identity,
    pub log: Log,
    pub store: Memory,
    pub wall: Wall,
    pub peer: Peer,
    pub closed: Option<TurnedAway>,
    pub times_up: usize,
    pub lives: Lives,
    pub roster: Roster,
    builder: Mutex<Builder>,
}

/// What a test changes of a side.
pub struct Setup {
    pub limits: Limits,
    pub log_bytes: usize,
    pub incarnation: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            log_bytes: 64 << 20,
            incarnation: 1_000,
        }
    }
}

impl Side {
    pub fn new(origin: u8, setup: &Setup) -> Self {
        let name = |origin| format!("region{origin}");
        let other = 3 - origin;
        let expected = Expected {
            region: name(other),
            origin: Origin(other),
        };
        let region = Expected {
            region: name(origin),
            origin: Origin(origin),
        };
        let address = format!("{}:7401", expected.region);
        let configured = [(expected.clone(), address)];
        let roster = Roster::new(region, configured, Members::default());
        let own = Actor {
            origin: Origin(origin),
            incarnation: setup.incarnation,
        };
        Self {
            identity: Identity {
                cluster: "test".into(),
                region: name(origin),
                origin: Origin(origin),
                incarnation: setup.incarnation,
                rules: 7,
            },
            log: Log::new(Clock::new(Duration::from_secs(5)), 1, setup.log_bytes),
            store: Memory::default(),
            wall: WALL,
            peer: Peer::new(PeerIndex(0), expected, setup.limits, Time(0)),
            closed: None,
            times_up: 0,
            lives: Lives::new(own, [Origin(other)], Time(0), Duration::from_secs(1)),
            roster,
            builder: Mutex::default(),
        }
    }

    /// Writes a value as a client would.
    pub fn set(&self, key: &str, value: &str) {
        let lane = usize::from(key.as_bytes()[0]) % LANES;
        let position = self
            .log
            .append(lane, self.wall, std::iter::once(key.as_bytes()));
        let version = Version {
            stamp: position.stamp,
            origin: self.identity.origin,
        };
        let deadline = Deadline { version, at: None };
        let body = Body::Bytes(value.as_bytes());
        let entry = EntryRef {
            key: key.as_bytes(),
            version,
            body,
            deadline,
            totals: Totals::EMPTY,
        };
        self.store
            .entries
            .borrow_mut()
            .insert(key.into(), layout::to_box(&entry));
    }

    /// Writes a value that its record carries, and has forgotten its end since, as every region had heard of it.
    pub fn set_and_forget(&self, key: &str) {
        let entry = |stamp| EntryRef {
            key: key.as_bytes(),
            body: Body::Bytes(b"dead"),
            ..EntryRef::absent(
                key.as_bytes(),
                Version {
                    stamp,
                    origin: self.identity.origin,
                },
            )
        };
        let position = self.log.append_value(0, self.wall, entry);
        self.store.settled.set(position.stamp);
    }

    pub fn handle(&mut self, now: Time, input: Input<'_>) -> Outbox {
        let (wall, mut out) = (self.wall, Outbox::new());
        let (peer, node) = self.session();
        peer.handle(now, wall, input, &node, &mut out);
        out
    }

    fn session(&mut self) -> (&mut Peer, Node<'_, Memory>) {
        let node = Node {
            identity: &self.identity,
            log: &self.log,
            store: &self.store,
            lives: &self.lives,
            roster: &self.roster,
            builder: &self.builder,
        };
        (&mut self.peer, node)
    }

    /// What becomes of this side's link when a rival of it says `hello`, and this is heard on the link.
    pub fn contest(&mut self, hello: &[u8], sign: Sign) -> Result<Contest, TurnedAway> {
        let wall = self.wall;
        let (peer, node) = self.session();
        peer.contest(wall, hello, sign, &node)
    }

    pub fn report(&self) -> Report {
        self.peer.report(&self.log, self.wall)
    }
}

/// Two nodes and what is under way between them.
pub struct Pair {
    pub sides: [Side; 2],
    pub now: Time,
    /// Whether acknowledgements are lost.
    pub loses_acks: bool,
    /// Batches that were sent, with their receiver.
    pub batches: Vec<(usize, Vec<u8>)>,
    queue: VecDeque<(usize, Output)>,
}

impl Pair {
    pub fn new(setup: &Setup) -> Self {
        let sides = [Side::new(1, setup), Side::new(2, setup)];
        Self {
            sides,
            now: Time(0),
            loses_acks: false,
            batches: Vec::new(),
            queue: VecDeque::new(),
        }
    }

    /// Opens a link and lets everything that is said on it arrive.
    pub fn connect(&mut self) {
        for side in 0..2 {
            self.tell(side, Input::Connected);
        }
        self.settle();
    }

    /// Loses the link and what is under way.
    pub fn disconnect(&mut self) {
        self.queue.clear();
        for side in 0..2 {
            self.tell(side, Input::Disconnected);
        }
    }

    pub fn tell(&mut self, side: usize, input: Input<'_>) {
        let out = self.sides[side].handle(self.now, input);
        self.queue
            .extend(out.into_iter().map(|output| (side, output)));
    }

    /// Drops batches under way instead of delivering them.
    pub fn lose_batches(&mut self) {
        self.queue
            .retain(|(_, output)| !matches!(output, Output::Batch(_)));
    }

    /// Delivers, and lets time pass, until 100 ms went by.
    pub fn settle(&mut self) {
        for _ in 0..100 {
            self.now = self.now + Duration::from_millis(1);
            for side in 0..2 {
                self.tell(side, Input::Tick);
            }
            self.deliver();
        }
    }

    /// Lets a millisecond pass.
    pub fn settle_briefly(&mut self) {
        self.now = self.now + Duration::from_millis(1);
        self.tell(0, Input::Tick);
        self.deliver();
    }

    /// Delivers control frames only; batches stay under way.
    pub fn deliver_control(&mut self) {
        while let Some(at) = self
            .queue
            .iter()
            .position(|(_, output)| matches!(output, Output::Control(_)))
        {
            if let Some((from, Output::Control(bytes))) = self.queue.remove(at) {
                self.tell(1 - from, Input::Control(&bytes));
            }
        }
    }

    /// Delivers everything under way.
    pub fn deliver(&mut self) {
        while let Some((from, output)) = self.queue.pop_front() {
            let to = 1 - from;
            match output {
                Output::Control(bytes) => {
                    use greenwich_proto::wire::control::Control;
                    let is_ack = matches!(Control::decode(&bytes), Ok(Some(Control::Ack(_))));
                    if !(is_ack && self.loses_acks) {
                        self.tell(to, Input::Control(&bytes));
                    }
                }
                Output::Batch(bytes) => {
                    self.tell(to, Input::Batch(&bytes));
                    self.batches.push((to, bytes));
                }
                Output::Established => self.sides[from].times_up += 1,
                Output::Close(turned_away) => self.sides[from].closed = Some(turned_away),
            }
        }
    }
}
