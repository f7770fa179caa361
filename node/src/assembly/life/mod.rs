//! What earlier lives of this node did, so that this one repeats nothing: a life is a node from its start to its end.
//!
//! Peers know a life by its *incarnation* and refuse an earlier one; entries everywhere carry the *stamps* that it gave.
//! Both come from a clock that may be set back meanwhile, so a file keeps the last incarnation and a mark above every
//! stamp. The mark is written before a stamp goes beyond it, a little ahead so that hardly any stamp waits for the disk.
//!
//! A clock may also have been ahead. What a life did then is carried on only if a peer heard of it: peers refuse what lies
//! beyond their own clock, nothing else outlives a node, and a node that carried the lead on would be refused until time
//! has caught up with it.
//!
//! It does not know what an incarnation or a stamp is used for, nor how links are made.

mod keeper;
mod record;

use std::{
    io, mem,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use greenwich_proto::{hlc::Stamp, time::Wall};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing::{info, warn};

pub(super) use self::keeper::Keeper;
use self::record::{FILE, Reach, Record, read};

/// The mark is kept ahead of the stamps by so much, less where peers tolerate little. After a crash the next life begins
/// with it, so its stamps lead until time has caught up.
const LEAD_MAX: Duration = Duration::from_secs(2);
/// A shorter one would keep the disk busy.
const LEAD_MIN: Duration = Duration::from_millis(500);
/// So many times while the mark is ahead by its lead, it is looked at.
const LOOKS_PER_LEAD: u32 = 4;

/// So long a stamp beyond the mark waits for the disk. One that is slower, or full, does not stop the node.
const PATIENCE: Duration = Duration::from_millis(250);

/// This life, and where it is kept.
#[derive(Debug)]
pub(super) struct Life {
    file: PathBuf,
    lead: Duration,
    state: Mutex<State>,
    /// The file is to be written, or the life has ended.
    wanted: Condvar,
    /// The file was written, or could not be.
    written: Condvar,
}

#[derive(Debug)]
struct State {
    /// What the file is to hold.
    record: Record,
    /// What it holds.
    kept: Record,
    /// Whether the disk failed, or was too slow for a stamp: none waits for it then.
    is_failing: bool,
    has_ended: bool,
}

impl Life {
    /// Begins a life. Its stamps must be later than the second result.
    pub(super) fn begin(
        data_dir: &Path,
        now: Wall,
        max_skew: Duration,
    ) -> anyhow::Result<(Self, Stamp)> {
        let before = read(data_dir)?;
        let earlier = before.to_go_beyond(now, max_skew);
        let lead = (max_skew / 2).clamp(LEAD_MIN, LEAD_MAX);
        let first = now.max(Wall(earlier.stamps_before_ms));
        let last = Reach {
            incarnation: now.0.max(earlier.incarnation.saturating_add(1)),
            stamps_before_ms: (first + lead).0,
        };
        let record = Record { last, ..before };
        let file = data_dir.join(FILE);
        record
            .write(&file)
            .with_context(|| format!("cannot write {}", file.display()))?;
        let life = Self {
            file,
            lead,
            state: Mutex::new(State {
                record,
                kept: record,
                is_failing: false,
                has_ended: false,
            }),
            wanted: Condvar::new(),
            written: Condvar::new(),
        };
        Ok((life, Stamp::at(Wall(earlier.stamps_before_ms))))
    }

    /// Which life this is: no earlier one, and no later one, has the same.
    pub(super) fn incarnation(&self) -> u64 {
        self.state.lock().record.last.incarnation
    }

    /// The first stamp that may not be given yet.
    pub(super) fn reserved(&self) -> Stamp {
        self.state.lock().kept.reserved()
    }

    /// Waits until no later life can give `stamp`, which is needed now. As [`Self::reserved`].
    pub(super) fn reserve(&self, stamp: Stamp) -> Stamp {
        let mut state = self.state.lock();
        state.record.reserve_until(stamp.wall() + self.lead);
        if !state.is_failing {
            self.wanted.notify_one();
            let is_awaited =
                |state: &mut State| stamp >= state.kept.reserved() && !state.is_failing;
            let waited = self
                .written
                .wait_while_for(&mut state, is_awaited, PATIENCE);
            if waited.timed_out() {
                self.note(&mut state, Err(io::ErrorKind::TimedOut.into()));
            }
        }
        match state.is_failing {
            true => state.record.reserved(),
            false => state.kept.reserved(),
        }
    }

    /// Keeps the mark ahead of `newest`, the latest stamp. `is_heard` says whether a peer agreed to a link since the last
    /// call. As [`Self::reserved`]; to be called by one thread only.
    fn renew(&self, newest: Stamp, is_heard: bool) -> Stamp {
        let mut state = self.state.lock();
        if newest.wall() + self.lead / 2 >= Wall(state.record.last.stamps_before_ms) {
            state.record.reserve_until(newest.wall() + self.lead);
        }
        if is_heard {
            state.record.heard = state.record.last;
        }
        if state.record != state.kept {
            self.write(&mut state);
        }
        state.kept.reserved()
    }

    /// This life ended in order with `newest` as its latest stamp: the next one need not begin with a lead.
    fn end(&self, newest: Stamp, is_heard: bool) {
        let mut state = self.state.lock();
        if is_heard {
            state.record.heard = state.record.last;
        }
        let before = newest.wall() + Duration::from_millis(1);
        let Record { last, heard } = &mut state.record;
        for reach in [last, heard] {
            reach.stamps_before_ms = reach.stamps_before_ms.min(before.0);
        }
        self.write(&mut state);
    }

    /// Writes the file; the state is unlocked meanwhile.
    fn write(&self, state: &mut MutexGuard<'_, State>) {
        let record = state.record;
        let written = MutexGuard::unlocked(state, || record.write(&self.file));
        if written.is_ok() {
            state.kept = record;
        }
        self.note(state, written);
        self.written.notify_all();
    }

    /// Says when the disk begins to fail and when it no longer does. A node goes on meanwhile: only a clock that is set back
    /// as well would do harm.
    fn note(&self, state: &mut State, written: io::Result<()>) {
        let was_failing = mem::replace(&mut state.is_failing, written.is_err());
        let file = self.file.display();
        match written {
            Ok(()) if was_failing => info!(%file, "stamps are recorded again"),
            Err(error) if !was_failing => warn!(
                %file,
                %error,
                "stamps are not recorded: do not restart this node with a clock that was set back"
            ),
            Ok(()) | Err(_) => {}
        }
    }

    /// No more is to be written by the thread that keeps the mark.
    fn stop(&self) {
        self.state.lock().has_ended = true;
        self.wanted.notify_all();
    }

    /// Waits until it is time to look at the mark again. Returns whether the life goes on.
    fn rest(&self) -> bool {
        let mut state = self.state.lock();
        let is_wanted = state.record != state.kept && !state.is_failing;
        if !is_wanted && !state.has_ended {
            self.wanted.wait_for(&mut state, self.lead / LOOKS_PER_LEAD);
        }
        !state.has_ended
    }
}

#[cfg(test)]
mod tests;
