//! The simulator can fail: each bug that is planted here must be caught within a few seeds. A bug sits between the sessions
//! and the real keyspace, so the product knows nothing of it.

#[path = "common/flushes.rs"]
mod flushes;
#[path = "common/many_lives.rs"]
mod many_lives;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flushes::deadlines_and_flushes;
use greenwich::keyspace::Keyspace;
use greenwich_proto::{
    decimal::Decimal,
    entry::{
        Deadline, EntryRef, layout,
        totals::{Actor, Total, Totals},
    },
    fingerprint::{end_of, epoch_at, fingerprint},
    hlc::{Origin, Stamp, Version},
    lives::{Ended, Known},
    members::Members,
    settled::Settled,
    slots::{KeyHash, SLOTS},
    store::{Applied, Store},
    time::Wall,
    wire::control::{Compared, Control, Over, Regions, Verdict, Watermark},
};
use greenwich_sim::{Plant, Swarm, Trace, run_planted};
use many_lives::many_lives;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// None: the control of the experiment.
    None,
    /// What arrives last wins, whatever its version.
    LastArrivalWins,
    /// One entry in fifty is acknowledged and not applied.
    AcknowledgesUnapplied,
    /// Dead keys are forgotten long before every region has heard of their end.
    ForgetsAtOnce,
    /// Totals that arrive are added to those held.
    AddsTotals,
    /// The last key of a unit is not applied with the others.
    TearsUnits,
    /// A flush that arrives does nothing.
    IgnoresFlush,
    /// What is swept to a new life is nothing.
    SweepsNothing,
    /// A node says that it holds everything, whatever it has received.
    ClaimsWhatItLacks,
    /// Whoever is asked says that both held the same.
    SaysEqual,
    /// A node serves clients as soon as it starts.
    ServesAtOnce,
    /// The keys of a unit go one by one, wherever its own record does not bring them.
    SendsUnitsApart,
    /// What a sender has forgotten is taken for something that it never heard of.
    IgnoresWhatSendersForgot,
    /// A deadline that was set after a flush of its key arrived is dropped with the key.
    FlushDropsDeadlines,
    /// Whoever sweeps tells totals twice over.
    RelaysTwice,
    /// The fingerprint of an entry is the same whatever its deadline.
    ForgetsDeadlines,
    /// As [`Self::ClaimsWhatItLacks`], where no node dies and regions are added.
    ClaimsAtOnceWhenAdded,
    /// A node that ran before its region was added again is let in, with what it holds.
    AdmitsNodesFromBefore,
    /// What lives have counted that are not over is folded.
    FoldsWhatLives,
}

impl Bug {
    /// Whether it shows when nodes die.
    fn concerns_lives(self) -> bool {
        matches!(
            self,
            Self::SweepsNothing
                | Self::ClaimsWhatItLacks
                | Self::SaysEqual
                | Self::ServesAtOnce
                | Self::RelaysTwice
                | Self::ForgetsDeadlines
        )
    }

    /// Whether it shows when regions come and go.
    fn concerns_members(self) -> bool {
        matches!(
            self,
            Self::ClaimsAtOnceWhenAdded | Self::AdmitsNodesFromBefore
        )
    }
}

/// A keyspace with a bug.
struct Planted {
    keyspace: Arc<Keyspace>,
    bug: Bug,
    joins: AtomicU64,
}

impl Planted {
    fn held(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut held = None;
        self.keyspace
            .export(&[key], &mut |entry| held = Some(entry.to_vec()));
        held
    }

    /// The entry as if it had been written after what is held.
    fn as_last(&self, entry: &EntryRef<'_>) -> Box<[u8]> {
        let held = self.held(entry.key);
        let newest = held
            .as_deref()
            .map_or(Stamp::ZERO, |held| layout::view(held).newest());
        let mut late = *entry;
        if newest > entry.version.stamp {
            late.version.stamp = newest.next();
            late.deadline.version = late.version;
        }
        layout::to_box(&late)
    }

    /// The fingerprints of all slots at the end of an epoch, if deadlines were no part of them until they have passed.
    fn prints_without_deadlines(&self, epoch: u64) -> Vec<Option<u64>> {
        let mut prints = vec![Some(0); SLOTS];
        self.keyspace.list_slots(0..SLOTS, &mut |key, bytes| {
            let entry = layout::view(bytes);
            let has_ended = entry.deadline.at.is_some_and(|at| epoch_at(at) <= epoch);
            let without = EntryRef {
                deadline: Deadline {
                    version: entry.version,
                    at: None,
                },
                ..entry
            };
            let print = &mut prints[key.slot()];
            if entry.newest() >= end_of(epoch) {
                *print = None;
            } else if entry.has_value() && !has_ended {
                *print = print.map(|print| print ^ fingerprint(key, &without));
            }
        });
        prints
    }

    fn without_flushed_deadline(&self, entry: &EntryRef<'_>) -> Box<[u8]> {
        let mut without = *entry;
        if entry.version < self.keyspace.flushed() {
            without.deadline = Deadline {
                version: entry.version,
                at: None,
            };
        }
        layout::to_box(&without)
    }

    /// The entry with every total of another origin doubled by what is held of it.
    fn with_added_totals(&self, entry: &EntryRef<'_>) -> Box<[u8]> {
        let held = self.held(entry.key).unwrap_or_default();
        with_sums(entry, |total| {
            if held.is_empty() {
                return total.sum;
            }
            let of_held = layout::view(&held).totals.of(total.actor);
            total.sum.saturating_add(of_held)
        })
    }
}

/// The entry with other sums in its totals.
fn with_sums(entry: &EntryRef<'_>, sum: impl Fn(&Total) -> Decimal) -> Box<[u8]> {
    let mut totals = Vec::new();
    for total in entry.totals.iter() {
        let sum = sum(&total);
        let mut next = Vec::new();
        Totals::from_bytes(&totals)
            .expect("in order")
            .encode_with(&Total { sum, ..total }, &mut next);
        totals = next;
    }
    layout::to_box(&EntryRef {
        totals: Totals::from_bytes(&totals).expect("in order"),
        ..*entry
    })
}

fn with_totals_twice(entry: &EntryRef<'_>) -> Box<[u8]> {
    with_sums(entry, |total| total.sum.saturating_add(total.sum))
}

impl Store for Planted {
    fn export(&self, keys: &[&[u8]], visit: &mut dyn FnMut(&[u8])) {
        self.keyspace.export(keys, visit);
    }

    fn join(&self, entries: &[EntryRef<'_>], forgot: &Settled, now: Wall) -> Applied {
        let joins = self.joins.fetch_add(1, Ordering::Relaxed);
        let changed: Vec<Box<[u8]>> = match self.bug {
            Bug::AcknowledgesUnapplied if joins % 50 == 49 => return Applied::default(),
            Bug::TearsUnits if entries.len() > 1 => {
                return self
                    .keyspace
                    .join(&entries[..entries.len() - 1], forgot, now);
            }
            Bug::LastArrivalWins => entries.iter().map(|entry| self.as_last(entry)).collect(),
            Bug::AddsTotals => entries
                .iter()
                .map(|entry| self.with_added_totals(entry))
                .collect(),
            Bug::FlushDropsDeadlines => entries
                .iter()
                .map(|entry| self.without_flushed_deadline(entry))
                .collect(),
            Bug::IgnoresWhatSendersForgot => {
                return self.keyspace.join(entries, Settled::NOTHING, now);
            }
            Bug::None
            | Bug::AcknowledgesUnapplied
            | Bug::ForgetsAtOnce
            | Bug::TearsUnits
            | Bug::IgnoresFlush
            | Bug::SweepsNothing
            | Bug::ClaimsWhatItLacks
            | Bug::SaysEqual
            | Bug::ServesAtOnce
            | Bug::SendsUnitsApart
            | Bug::RelaysTwice
            | Bug::ForgetsDeadlines
            | Bug::ClaimsAtOnceWhenAdded
            | Bug::AdmitsNodesFromBefore
            | Bug::FoldsWhatLives => {
                return self.keyspace.join(entries, forgot, now);
            }
        };
        let changed: Vec<EntryRef<'_>> = changed.iter().map(|entry| layout::view(entry)).collect();
        self.keyspace.join(&changed, forgot, now)
    }

    fn flush(&self, version: Version) {
        if self.bug != Bug::IgnoresFlush {
            self.keyspace.flush(version);
        }
    }

    fn flushed(&self) -> Version {
        self.keyspace.flushed()
    }

    fn settle(&self, settled: Settled) {
        let as_of = settled.stamp();
        let early = Stamp(as_of.0 + (60_000 << 16));
        self.keyspace.settle(if self.bug == Bug::ForgetsAtOnce {
            Settled::up_to(early)
        } else if self.bug == Bug::FoldsWhatLives {
            settled.with_ended(Ended::before(all_lives(), as_of))
        } else {
            settled
        });
    }

    fn settled(&self) -> Settled {
        self.keyspace.settled()
    }

    fn bury(&self, over: &Over, now: Wall) -> bool {
        self.keyspace.bury(over, now)
    }

    fn sweep(&self, position: u64, bytes: usize, visit: &mut dyn FnMut(&[u8])) -> Option<u64> {
        if self.bug == Bug::SweepsNothing {
            return None;
        }
        if self.bug == Bug::RelaysTwice {
            let mut twice = |entry: &[u8]| visit(&with_totals_twice(&layout::view(entry)));
            return self.keyspace.sweep(position, bytes, &mut twice);
        }
        self.keyspace.sweep(position, bytes, visit)
    }

    fn prints(&self, epoch: u64, visit: &mut dyn FnMut(usize, Option<u64>)) {
        if self.bug == Bug::ForgetsDeadlines {
            let prints = self.prints_without_deadlines(epoch).into_iter();
            return prints
                .enumerate()
                .for_each(|(slot, print)| visit(slot, print));
        }
        self.keyspace.prints(epoch, visit);
    }

    fn list_slots(&self, slots: Range<usize>, visit: &mut dyn FnMut(KeyHash, &[u8])) {
        self.keyspace.list_slots(slots, visit);
    }
}

/// No life begins later.
fn all_lives() -> Known {
    let last = |origin| Actor {
        origin: Origin(origin),
        incarnation: u64::MAX,
    };
    (0..=u8::MAX).map(last).collect()
}

fn claim_what_it_lacks(frame: Control) -> Control {
    let Control::Watermark(word) = frame else {
        return frame;
    };
    Control::Watermark(Watermark {
        holds: word.stamp,
        ..word
    })
}

fn say_equal(frame: Control) -> Control {
    let Control::Compared(answer) = frame else {
        return frame;
    };
    Control::Compared(Compared {
        verdict: Verdict::Equal,
        groups: Vec::new(),
        prints: Vec::new(),
        goes_on: false,
        ..answer
    })
}

/// A region that is added is told of once more, as one whose nodes may have begun at any time.
fn admit_nodes_from_before(frame: Control) -> Control {
    let Control::Regions(regions) = frame else {
        return frame;
    };
    let mut members = Members::default();
    for mut member in regions.members.iter().cloned() {
        if member.address.is_some() && member.since > Stamp::ZERO {
            (member.stamp, member.since) = (member.stamp.next(), Stamp::ZERO);
        }
        members.put(member);
    }
    Control::Regions(Regions { members, ..regions })
}

/// What is wrong outside the keyspace.
fn plant(bug: Bug) -> Plant {
    let tamper: Option<fn(Control) -> Control> =
        if matches!(bug, Bug::ClaimsWhatItLacks | Bug::ClaimsAtOnceWhenAdded) {
            Some(claim_what_it_lacks)
        } else if bug == Bug::SaysEqual {
            Some(say_equal)
        } else if bug == Bug::AdmitsNodesFromBefore {
            Some(admit_nodes_from_before)
        } else {
            None
        };
    Plant {
        tamper,
        serves_at_once: bug == Bug::ServesAtOnce,
        forgets_units: bug == Bug::SendsUnitsApart,
    }
}

/// The first seed that catches the bug, and by which invariant.
fn caught(bug: Bug, seeds: u64) -> Option<(u64, &'static str)> {
    (0..seeds).find_map(|seed| {
        let wrap = |keyspace| Planted {
            keyspace,
            bug,
            joins: AtomicU64::new(0),
        };
        let mut swarm = if bug == Bug::FoldsWhatLives {
            many_lives(seed)
        } else {
            Swarm::draw(seed)
        };
        // Flushes are rare otherwise.
        swarm.mix.flush = if bug == Bug::IgnoresFlush {
            20
        } else {
            swarm.mix.flush
        };
        if bug.concerns_lives() {
            swarm.regions = swarm.regions.max(3);
            swarm.mix.delete = 6;
            swarm.faults.restart_every_ms = 300;
        }
        if bug == Bug::FlushDropsDeadlines {
            swarm = deadlines_and_flushes(seed);
        }
        if bug == Bug::ForgetsDeadlines {
            // Most deadlines are still to come when the regions are compared with the oracle.
            (swarm.mix.deadline, swarm.mix.keys) = (8, 40);
            swarm.mix.ttl_ms_max = 10_000_000;
        }
        if bug.concerns_members() {
            swarm.regions = swarm.regions.max(4);
            swarm.horizon_ms = 0;
            (swarm.mix.delete, swarm.mix.keys) = (6, 100);
            swarm.faults.restart_every_ms = 0;
            swarm.faults.members_every_ms = 200;
            // Whoever claims too much shows where few remember what it lacks; who was let in wrongly must live.
            let claims = bug == Bug::ClaimsAtOnceWhenAdded;
            swarm.faults.leaving_ms_max = if claims { 200 } else { 3_000 };
        }
        if bug == Bug::ClaimsWhatItLacks {
            // A key that has come back shows until it is written again.
            swarm.mix.keys = 100;
        }
        run_planted(swarm, wrap, plant(bug), &mut Trace::off())
            .err()
            .map(|failure| (seed, failure.broken.invariant))
    })
}

#[test]
fn without_a_bug_nothing_is_caught() {
    assert_eq!(caught(Bug::None, 40), None);
}

/// Bugs with the number of seeds within which each must be caught.
const BUGS: [(Bug, u64); 18] = [
    (Bug::LastArrivalWins, 20),
    (Bug::AcknowledgesUnapplied, 20),
    (Bug::ForgetsAtOnce, 20),
    (Bug::AddsTotals, 20),
    (Bug::TearsUnits, 20),
    (Bug::IgnoresFlush, 20),
    (Bug::SweepsNothing, 20),
    (Bug::ClaimsWhatItLacks, 40),
    (Bug::SaysEqual, 20),
    (Bug::ServesAtOnce, 20),
    (Bug::SendsUnitsApart, 20),
    (Bug::IgnoresWhatSendersForgot, 40),
    (Bug::FlushDropsDeadlines, 60),
    (Bug::RelaysTwice, 20),
    (Bug::ForgetsDeadlines, 40),
    (Bug::ClaimsAtOnceWhenAdded, 80),
    (Bug::AdmitsNodesFromBefore, 40),
    (Bug::FoldsWhatLives, 20),
];

#[test]
fn every_planted_bug_is_caught() {
    let missed: Vec<_> = BUGS
        .iter()
        .filter(|(bug, seeds)| {
            let found = caught(*bug, *seeds);
            println!("{bug:?}: {found:?}");
            found.is_none()
        })
        .collect();
    assert!(
        missed.is_empty(),
        "not caught within as many seeds: {missed:?}"
    );
}
