//! The sending half of a session: cursors in our log, batches in flight, and the sweep that catches up a peer whose
//! place in the log is gone.

use std::collections::BTreeMap;

use super::{
    Limits, Node,
    handshake::Refusal,
    window::{Sent, Window},
};
use crate::{
    hlc::Version,
    log::{Cursor, LANES, Log, PeerIndex},
    ranges::Ranges,
    store::Store,
    time::Time,
    wire::{
        batch::{self, Range},
        control::Resume,
    },
};

/// Counters of the sending half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendStats {
    /// Batches sent.
    pub batches: u64,
    /// Entries sent.
    pub updates: u64,
    /// Records that needed no entry of their own, because a later state of their key was sent.
    pub coalesced: u64,
    /// Records whose keys were sent without others that belong to them, because all were too much for one batch.
    pub split: u64,
    /// Bytes of batches sent.
    pub bytes: u64,
    /// Sweeps over the whole keyspace that were started.
    pub sweeps: u64,
}

#[derive(Debug)]
struct InFlight {
    sent: Sent,
    ranges: Vec<Range>,
    part: Part,
}

/// What a batch is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The log.
    Log,
    /// The sweep under way.
    Sweep,
    /// The same, and nothing follows.
    SweepEnd,
}

/// A walk over the whole keyspace, for a peer whose place in the log is not held.
#[derive(Debug)]
struct Sweep {
    /// Where the walk stands; `None` at its end.
    position: Option<u64>,
    /// What the peer had applied when it started, and what it covers.
    covers: Vec<Range>,
    batches_in_flight: usize,
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Sender {
    peer: PeerIndex,
    limits: Limits,
    cursors: [Cursor; LANES],
    applied: [Ranges; LANES],
    in_flight: BTreeMap<u64, InFlight>,
    window: Window,
    sweep: Option<Sweep>,
    /// Whether the peer lacks what only a sweep brings: from the start of one until its end was acknowledged, on
    /// whichever link that is.
    owes_sweep: bool,
    next_id: u64,
    next_flush: Time,
    /// Whether the last look at the log found nothing, so that the next append must be told.
    is_idle: bool,
    /// Whether the peer has agreed to our hello.
    is_started: bool,
    pub(super) stats: SendStats,
}

impl Sender {
    pub(super) fn new(peer: PeerIndex, limits: Limits, now: Time) -> Self {
        Self {
            peer,
            limits,
            cursors: [Cursor::default(); LANES],
            applied: Default::default(),
            in_flight: BTreeMap::new(),
            window: Window::new(limits.window, now),
            sweep: None,
            owes_sweep: false,
            next_id: 1,
            next_flush: now,
            is_idle: false,
            is_started: false,
            stats: SendStats::default(),
        }
    }

    /// Places the cursors where the peer says that it stands. `ours` is our incarnation; `is_new` says that the peer's
    /// has not agreed with us before. Such a one may have heard of us, on a link that never came up, and yet lacks
    /// everything: only a sweep brings what is not in our log.
    pub(super) fn resume(
        &mut self,
        resume: &Resume,
        is_new: bool,
        ours: u64,
        log: &Log,
        now: Time,
    ) -> Result<(), Refusal> {
        let has_heard = resume.incarnation == ours && resume.applied.len() == LANES;
        let is_known = has_heard && !is_new;
        if !is_known {
            log.forget(self.peer);
        }
        let mut covers = Vec::new();
        for lane in 0..LANES {
            let applied = if has_heard { resume.applied[lane] } else { 0 };
            let head = log.head(lane);
            if applied > head {
                return Err(Refusal::Resume {
                    lane,
                    theirs: applied,
                    ours: head,
                });
            }
            self.applied[lane] = Ranges::up_to(applied);
            self.cursors[lane] = Cursor::after(applied);
            covers.push(Range {
                lane,
                after: applied,
                up_to: head,
            });
            log.acknowledge(self.peer, lane, applied);
        }
        self.in_flight.clear();
        self.window = Window::new(self.limits.window, now);
        self.next_flush = now;
        self.sweep = None;
        if !is_known || self.owes_sweep {
            self.start_sweep(covers);
        }
        Ok(())
    }

    fn start_sweep(&mut self, covers: Vec<Range>) {
        for range in &covers {
            self.cursors[range.lane] = Cursor::after(range.up_to);
        }
        self.stats.sweeps += 1;
        self.owes_sweep = true;
        self.sweep = Some(Sweep {
            position: Some(0),
            covers,
            batches_in_flight: 0,
        });
    }

    /// Starts over with a sweep: the log dropped records that this peer still needed.
    fn fall(&mut self, log: &Log) {
        let covers = (0..LANES)
            .map(|lane| Range {
                lane,
                after: self.applied[lane].cumulative(),
                up_to: log.head(lane),
            })
            .collect();
        for batch in self.in_flight.values_mut() {
            batch.part = Part::Log;
        }
        self.start_sweep(covers);
    }

    /// The peer has agreed to our hello and takes batches. Returns whether that is new.
    pub(super) fn start(&mut self) -> bool {
        !std::mem::replace(&mut self.is_started, true)
    }

    /// When to look at the log: as soon as something waits that the window would let through, and once after each batch.
    pub(super) fn flush_due(&self, log: &Log) -> Option<Time> {
        let unread = || (0..LANES).any(|lane| log.head(lane) > self.cursors[lane].seq);
        let has_work = || self.sweep_is_due() || !self.is_idle || unread();
        (self.is_started && self.window.has_room() && has_work()).then_some(self.next_flush)
    }

    /// Whether the last look at the log found nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.is_idle
    }

    fn sweep_is_due(&self) -> bool {
        self.sweep
            .as_ref()
            .is_some_and(|sweep| sweep.position.is_some() || sweep.batches_in_flight == 0)
    }

    /// Calls `send` with each batch that may go out now.
    pub(super) fn fill<S: Store>(
        &mut self,
        now: Time,
        node: &Node<'_, S>,
        send: &mut dyn FnMut(Vec<u8>),
    ) {
        while self.is_started && now >= self.next_flush && self.window.has_room() {
            let from_log = self.next_from_log(now, node);
            // The log goes first; a sweep takes what it leaves.
            let next = from_log.or_else(|| self.next_from_sweep(now, node.store));
            self.is_idle = next.is_none();
            let Some(bytes) = next else {
                return;
            };
            send(bytes);
        }
    }

    fn next_from_log<S>(&mut self, now: Time, node: &Node<'_, S>) -> Option<Vec<u8>>
    where
        S: Store,
    {
        let mut builder = node.builder.lock();
        let Ok(built) = builder.build(
            node.log,
            node.store,
            &mut self.cursors,
            self.limits.batch_bytes,
        ) else {
            self.fall(node.log);
            return None;
        };
        if built.ranges.is_empty() {
            return None;
        }
        let mut bytes = Vec::with_capacity(built.items.len() + 16 + 12 * built.ranges.len());
        batch::put_header(self.next_id, built.forgotten, &built.ranges, &mut bytes);
        bytes.extend_from_slice(&built.items);
        self.stats.updates += built.updates;
        self.stats.coalesced += built.coalesced;
        self.stats.split += built.split;
        // What is left over goes out at once; what comes next waits for company.
        self.next_flush = match built.drained {
            false => now,
            true => now + self.limits.flush_interval,
        };
        self.note_sent(now, &bytes, built.ranges.clone(), Part::Log);
        Some(bytes)
    }

    fn next_from_sweep<S: Store>(&mut self, now: Time, store: &S) -> Option<Vec<u8>> {
        let sweep = self
            .sweep
            .as_mut()
            .filter(|sweep| sweep.position.is_some() || sweep.batches_in_flight == 0)?;
        let mut items = Vec::new();
        let mut ranges = Vec::new();
        match sweep.position {
            Some(position) => {
                if position == 0 && store.flushed() > Version::ZERO {
                    batch::put_flush(store.flushed(), &mut items);
                }
                let mut updates = 0;
                sweep.position = store.sweep(position, self.limits.batch_bytes, &mut |entry| {
                    batch::put_entry(entry, &mut items);
                    updates += 1;
                });
                self.stats.updates += updates;
                sweep.batches_in_flight += 1;
            }
            // Everything swept has arrived: what the log held before the sweep counts as delivered.
            None => ranges = std::mem::take(&mut sweep.covers),
        }
        let mut part = Part::Sweep;
        if sweep.position.is_none() && !ranges.is_empty() {
            self.sweep = None;
            part = Part::SweepEnd;
        }
        let mut bytes = Vec::with_capacity(items.len() + 256);
        batch::put_header(self.next_id, store.settled(), &ranges, &mut bytes);
        bytes.extend_from_slice(&items);
        self.note_sent(now, &bytes, ranges, part);
        Some(bytes)
    }

    fn note_sent(&mut self, now: Time, bytes: &[u8], ranges: Vec<Range>, part: Part) {
        let sent = self.window.send(bytes.len() as u64, now);
        self.in_flight
            .insert(self.next_id, InFlight { sent, ranges, part });
        self.next_id += 1;
        self.stats.batches += 1;
        self.stats.bytes += bytes.len() as u64;
    }

    /// A batch was applied. Unknown numbers, such as those of an earlier link, mean nothing.
    pub(super) fn acknowledge(&mut self, id: u64, log: &Log, now: Time) {
        let Some(batch) = self.in_flight.remove(&id) else {
            return;
        };
        self.window.acknowledge(batch.sent, now);
        for range in batch.ranges {
            let applied = &mut self.applied[range.lane];
            applied.insert(range.after, range.up_to);
            log.acknowledge(self.peer, range.lane, applied.cumulative());
        }
        match (batch.part, &mut self.sweep) {
            (Part::Sweep, Some(sweep)) => sweep.batches_in_flight -= 1,
            (Part::SweepEnd, None) => self.owes_sweep = false,
            (Part::Log | Part::Sweep | Part::SweepEnd, _) => {}
        }
    }

    /// The link is gone, and with it what was in flight.
    pub(super) fn disconnect(&mut self) {
        self.in_flight.clear();
        self.window.lose_all();
        self.sweep = None;
        self.is_started = false;
    }

    pub(super) fn in_flight_bytes(&self) -> u64 {
        self.window.in_flight_bytes()
    }

    pub(super) fn set_path(&mut self, bytes: u64) {
        self.window.set_path(bytes);
    }

    pub(super) fn window_bytes(&self) -> u64 {
        self.window.size_bytes()
    }

    pub(super) fn is_sweeping(&self) -> bool {
        self.owes_sweep
    }

    /// Per lane, the number up to which everything was applied.
    pub(super) fn applied(&self) -> impl Iterator<Item = (usize, u64)> {
        self.applied.iter().map(Ranges::cumulative).enumerate()
    }
}
