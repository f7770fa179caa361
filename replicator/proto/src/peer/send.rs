//! The sending half of a session: cursors in our log, batches in flight, and the sweep that catches up a peer which lacks
//! what the log cannot tell it.

use std::collections::BTreeMap;

use super::{
    Limits, Node,
    apart::Queue,
    build::{Built, sent_before},
    handshake::Refusal,
    push::Pushes,
    sweep::{Piece, Place, Sweep},
    window::{Sent, Window},
};
use crate::{
    hlc::Stamp,
    lives::Known,
    log::{Cursor, LANES, Log, PeerIndex},
    ranges::Ranges,
    settled::Settled,
    store::Store,
    time::Time,
    wire::{
        batch::{self, Range},
        control::Resume,
    },
};

/// Sweeps and repairs get at least one byte of this many that go out, however much the log holds.
const SWEEP_PART: u64 = 4;

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
pub(super) enum Part {
    /// The log.
    Log,
    /// Records of it that are too large for company.
    Apart,
    /// The sweep under way, from this place.
    Sweep(Place),
    /// The end of so many laps of the same: nothing follows.
    SweepEnd(u32),
    /// What a comparison showed to be missing at the peer.
    Push,
}

/// Whose link it is: what [`Sender::resume`] has to know of the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    /// Whether its life has agreed with ours before.
    pub(super) is_known: bool,
    /// Whether it was away for longer than anybody waits.
    pub(super) was_released: bool,
    /// Whether it asks for what it lacks. One of an older release is sent everything on its first link.
    pub(super) asks: bool,
    /// Whether it can be told of regions that are away.
    pub(super) knows_absence: bool,
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Sender {
    peer: PeerIndex,
    limits: Limits,
    cursors: [Cursor; LANES],
    applied: [Ranges; LANES],
    in_flight: BTreeMap<u64, InFlight>,
    /// Records that were read and not yet sent, because they are too large for company.
    apart: Queue,
    window: Window,
    sweep: Option<Sweep>,
    pub(super) pushes: Pushes,
    /// Bytes that are the sweep's, or the pushes', before the log is looked at again.
    background_short: u64,
    next_id: u64,
    next_flush: Time,
    /// Whether the last look at the log found nothing, so that the next append must be told.
    is_idle: bool,
    /// Whether the peer has agreed to our hello.
    is_started: bool,
    /// Whether it can be told of regions that are away.
    knows_absence: bool,
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
            apart: Queue::default(),
            window: Window::new(limits.window, now),
            sweep: None,
            pushes: Pushes::default(),
            background_short: 0,
            next_id: 1,
            next_flush: now,
            is_idle: false,
            is_started: false,
            knows_absence: false,
            stats: SendStats::default(),
        }
    }

    /// Places the cursors where the peer says that it stands. `ours` is our incarnation.
    pub(super) fn resume<S: Store>(
        &mut self,
        resume: &Resume,
        reader: Reader,
        node: &Node<'_, S>,
        now: Time,
    ) -> Result<(), Refusal> {
        let log = node.log;
        self.knows_absence = reader.knows_absence;
        let has_heard =
            resume.incarnation == node.identity.incarnation && resume.applied.len() == LANES;
        if !(has_heard && reader.is_known) {
            log.forget(self.peer);
        }
        // What a sweep brought to this life it still has; but what was written since it began may have ended while nobody
        // waited for this peer.
        let is_good = reader.is_known && !reader.was_released;
        self.sweep = self.sweep.take().filter(|_| is_good);
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
            let covered = self.sweep.as_ref().map(|sweep| sweep.covers_up_to(lane));
            self.applied[lane] = Ranges::up_to(applied);
            self.cursors[lane] = Cursor::after(applied.max(covered.unwrap_or(0)));
            log.acknowledge(self.peer, lane, applied);
        }
        self.in_flight.clear();
        self.apart.clear();
        self.window = Window::new(self.limits.window, now);
        self.next_flush = now;
        let lacks_all = !(has_heard && reader.is_known);
        // An old record may carry a value whose end was forgotten since, when every life that was waited for had heard of
        // it: a new one must not read it, and neither must one that was not waited for.
        let has_forgotten = node.store.settled().stamp() > Stamp::ZERO;
        let has_missed = has_forgotten && (lacks_all || reader.was_released);
        let is_owed = has_missed || lacks_all && !reader.asks;
        if is_owed && self.sweep.is_none() {
            self.start_sweep(log, node.lives.known());
        }
        Ok(())
    }

    /// The peer asks for everything that is held here.
    pub(super) fn ask(&mut self, log: &Log, known: Known) {
        if self.sweep.is_none() {
            self.start_sweep(log, known);
        }
    }

    /// Sends the whole keyspace, beside what is written from here on. It stands for what the log holds until now.
    fn start_sweep(&mut self, log: &Log, known: Known) {
        let covers = self.cover(log);
        self.stats.sweeps += 1;
        self.background_short = 0;
        self.sweep = Some(Sweep::begin(covers, known));
    }

    /// The log dropped records that this peer still needed.
    fn fall(&mut self, log: &Log, known: Known) {
        if self.sweep.is_none() {
            return self.start_sweep(log, known);
        }
        let covers = self.cover(log);
        if let Some(sweep) = &mut self.sweep {
            sweep.extend(covers);
        }
    }

    /// Moves the cursors to the end of the log. Returns what a sweep has to stand for: what waits apart, too.
    fn cover(&mut self, log: &Log) -> Vec<Range> {
        self.apart.clear();
        let cover = |lane| {
            let up_to = log.head(lane);
            self.cursors[lane] = Cursor::after(up_to);
            Range {
                lane,
                after: self.applied[lane].cumulative(),
                up_to,
            }
        };
        (0..LANES).map(cover).collect()
    }

    /// The peer has agreed to our hello and takes batches. Returns whether that is new.
    pub(super) fn start(&mut self) -> bool {
        !std::mem::replace(&mut self.is_started, true)
    }

    /// Whether the peer takes batches.
    pub(super) fn is_started(&self) -> bool {
        self.is_started
    }

    /// When to look for what to send: as soon as something waits that the window would let through, and once after each
    /// batch of the log.
    pub(super) fn flush_due(&self, log: &Log) -> Option<Time> {
        if !self.is_started || !self.window.has_room() {
            return None;
        }
        if self.background_may_go() || self.apart_may_go() {
            return Some(Time(0));
        }
        let unread = || (0..LANES).any(|lane| log.count_after(lane, self.cursors[lane].seq) > 0);
        (self.apart.has_room() && (!self.is_idle || unread())).then_some(self.next_flush)
    }

    /// Whether the last look at the log found nothing.
    pub(super) fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Whether there is a piece of a sweep or of a repair to send.
    fn has_background(&self) -> bool {
        self.sweep.as_ref().is_some_and(Sweep::is_due) || self.pushes.is_due()
    }

    /// Whether a piece of it, which may be large, may go out: a part of the window stays free for what is written
    /// meanwhile.
    fn background_may_go(&self) -> bool {
        let has_room = self.window.has_room_to_spare() || self.background_is_short();
        self.has_background() && has_room && self.window.has_room_for_large()
    }

    /// Whether the next of what waits apart may go out. Beside a sweep it goes one at a time, so that neither takes all the
    /// room that there is for what is large.
    fn apart_may_go(&self) -> bool {
        let is_apart = |batch: &InFlight| batch.part == Part::Apart;
        !self.apart.is_empty()
            && self.window.has_room_for_large()
            && !(self.has_background() && self.in_flight.values().any(is_apart))
    }

    /// Whether the log took so much of what went out that the sweep comes first.
    fn background_is_short(&self) -> bool {
        self.background_short >= self.limits.batch_bytes as u64
    }

    /// Calls `send` with each batch that may go out now.
    pub(super) fn fill<S: Store>(
        &mut self,
        now: Time,
        node: &Node<'_, S>,
        send: &mut dyn FnMut(Vec<u8>),
    ) {
        while self.is_started && self.window.has_room() {
            let Some(bytes) = self.next(now, node) else {
                return;
            };
            send(bytes);
        }
    }

    /// What waits apart has room for little at a time, and the link lets others pass it. Then the log goes first, and a
    /// sweep takes what it leaves; but never less than its part.
    fn next<S: Store>(&mut self, now: Time, node: &Node<'_, S>) -> Option<Vec<u8>> {
        if self.background_is_short()
            && let Some(bytes) = self.next_in_background(now, node)
        {
            return Some(bytes);
        }
        if let Some(bytes) = self.next_apart(now, node) {
            return Some(bytes);
        }
        if now >= self.next_flush && self.apart.has_room() {
            let from_log = self.next_from_log(now, node);
            // Of nothing else, it may have left out what goes at once.
            let next = from_log.or_else(|| self.next_apart(now, node));
            if next.is_some() {
                return next;
            }
        }
        self.next_in_background(now, node)
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
            self.apart.since(),
        ) else {
            self.is_idle = true;
            self.fall(node.log, node.lives.known());
            return None;
        };
        self.is_idle = built.ranges.is_empty() && built.apart.is_empty();
        built.apart.iter().for_each(|apart| self.apart.push(apart));
        if built.ranges.is_empty() {
            return None;
        }
        let bytes = encode(self.next_id, built, &built.ranges, self.knows_absence);
        self.stats.updates += built.updates;
        self.stats.coalesced += built.coalesced;
        self.stats.split += built.split;
        // What is left over goes out at once; what comes next waits for company.
        self.next_flush = match built.drained {
            false => now,
            true => now + self.limits.flush_interval,
        };
        // One that waits for room for what is large loses nothing to the log.
        if self.has_background() && self.window.has_room_for_large() {
            self.background_short += bytes.len() as u64 / SWEEP_PART;
        }
        self.note_sent(now, &bytes, built.ranges.clone(), Part::Log);
        Some(bytes)
    }

    /// The next of what waits apart, in its present state. What fits into no batch goes key by key.
    fn next_apart<S: Store>(&mut self, now: Time, node: &Node<'_, S>) -> Option<Vec<u8>> {
        if !self.apart_may_go() {
            return None;
        }
        let log = (
            node.log,
            sent_before(node.log, &self.cursors, self.apart.since()),
        );
        let builder = node.builder.lock();
        let was_split = self.apart.next_is_split();
        let (next, built) = self
            .apart
            .send_next(&mut |next| builder.alone(log, node.store, next))?;
        drop(builder);
        self.stats.split += u64::from(next.is_split() && !was_split);
        let bytes = encode(self.next_id, &built, &next.ranges, self.knows_absence);
        self.stats.updates += built.updates;
        self.stats.split += built.split;
        self.stats.coalesced += next.ranges.len() as u64 - 1;
        self.note_sent(now, &bytes, next.ranges, Part::Apart);
        Some(bytes)
    }

    fn next_in_background<S: Store>(&mut self, now: Time, node: &Node<'_, S>) -> Option<Vec<u8>> {
        if !self.background_may_go() {
            return None;
        }
        let limit_bytes = self.limits.batch_bytes;
        let held = (node.log.units(), node.store);
        let sweep = self.sweep.as_mut();
        let of_sweep = sweep.and_then(|sweep| sweep.next(held, limit_bytes));
        let piece = of_sweep.or_else(|| self.pushes.next(held, limit_bytes));
        let Piece { part, built } = piece?;
        let bytes = encode(self.next_id, &built, &built.ranges, self.knows_absence);
        self.stats.updates += built.updates;
        self.stats.split += built.split;
        self.background_short = self.background_short.saturating_sub(bytes.len() as u64);
        self.note_sent(now, &bytes, built.ranges, part);
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

    /// A batch was applied. Unknown numbers, such as those of an earlier link, mean nothing. Returns the lives that were
    /// known when a sweep began that is complete with this.
    pub(super) fn acknowledge<S>(
        &mut self,
        id: u64,
        node: &Node<'_, S>,
        now: Time,
    ) -> Option<Known> {
        let batch = self.in_flight.remove(&id)?;
        self.window.acknowledge(batch.sent, now);
        for range in batch.ranges {
            let applied = &mut self.applied[range.lane];
            applied.insert(range.after, range.up_to);
            node.log
                .acknowledge(self.peer, range.lane, applied.cumulative());
        }
        match batch.part {
            Part::Log | Part::Apart => None,
            Part::Sweep(_) => {
                self.sweep.as_mut()?.acknowledge();
                None
            }
            Part::SweepEnd(lap) => self.end_sweep(lap),
            Part::Push => {
                self.pushes.acknowledge();
                None
            }
        }
    }

    /// The end of the sweep has arrived. Where the log fell behind it once more, it is no end.
    fn end_sweep(&mut self, lap: u32) -> Option<Known> {
        if !self.sweep.as_mut()?.acknowledge_end(lap) {
            return None;
        }
        self.sweep.take().map(Sweep::finish)
    }

    /// The link is gone, and with it what was in flight.
    pub(super) fn disconnect(&mut self) {
        let lost = self.in_flight.values().find_map(|batch| match batch.part {
            Part::Sweep(place) => Some(place),
            Part::Log | Part::Apart | Part::SweepEnd(_) | Part::Push => None,
        });
        if let Some(sweep) = &mut self.sweep {
            sweep.go_back(lost);
        }
        self.pushes = Pushes::default();
        self.in_flight.clear();
        self.apart.clear();
        self.window.lose_all();
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

    /// Whether the peer lacks what only a sweep brings, on this link or the next.
    pub(super) fn is_sweeping(&self) -> bool {
        self.sweep.is_some()
    }

    /// Per lane, the number up to which everything was applied.
    pub(super) fn applied(&self) -> impl Iterator<Item = (usize, u64)> {
        self.applied.iter().map(Ranges::cumulative).enumerate()
    }
}

/// One of an older release is told no more than what was forgotten of everybody.
fn encode(id: u64, built: &Built, ranges: &[Range], knows_absence: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(built.items.len() + 16 + 12 * ranges.len());
    match knows_absence {
        true => batch::put_header(id, &built.forgotten, ranges, &mut bytes),
        false => {
            let of_everybody = Settled::up_to(built.forgotten.of_everybody());
            batch::put_header(id, &of_everybody, ranges, &mut bytes);
        }
    }
    bytes.extend_from_slice(&built.items);
    bytes
}
