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

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use greenwich_proto::{hlc::Stamp, time::Wall};
use greenwich_replicator::files::{self, write_whole};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

const FILE: &str = "life.toml";
/// What the release before this one left: the last incarnation, a bare number.
const FILE_BEFORE: &str = "incarnation";

/// The mark is kept ahead of the stamps by so much, less where peers tolerate little. After a crash the next life begins
/// with it, so its stamps lead until time has caught up.
const LEAD_MAX: Duration = Duration::from_secs(2);
/// A shorter one would keep the disk busy.
const LEAD_MIN: Duration = Duration::from_millis(500);
/// So many times while the mark is ahead by its lead, [`Life::renew`] is due.
const RENEWALS_PER_LEAD: u32 = 4;

/// How far a life went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Reach {
    incarnation: u64,
    /// Every stamp that it gave is from before this millisecond.
    stamps_before_ms: u64,
}

impl Reach {
    fn latest(self) -> Wall {
        Wall(self.incarnation.max(self.stamps_before_ms))
    }

    fn join(self, other: Self) -> Self {
        Self {
            incarnation: self.incarnation.max(other.incarnation),
            stamps_before_ms: self.stamps_before_ms.max(other.stamps_before_ms),
        }
    }
}

/// What the file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Of the last life, whoever heard of it.
    last: Reach,
    /// Of all lives, as far as a peer may have heard of it.
    heard: Reach,
}

impl Record {
    /// What a life that begins at `now` must go beyond, where peers refuse what is further ahead than `max_skew`.
    fn to_go_beyond(&self, now: Wall, max_skew: Duration) -> Reach {
        let latest_credible = now + max_skew;
        if self.heard.latest() > latest_credible {
            warn!(
                heard = %self.heard.latest(),
                %now,
                "peers have heard stamps of this node from beyond its present clock: either the clock is behind now, or it \
                 was ahead when they were given, and theirs with it; they are carried on"
            );
        }
        if self.last.latest() > latest_credible.max(self.heard.latest()) {
            warn!(
                last = %self.last.latest(),
                %now,
                "the clock was ahead in an earlier life of this node, of which no peer has heard: starting from the present"
            );
            return self.heard;
        }
        self.last.join(self.heard)
    }
}

/// This life, and where it is kept.
#[derive(Debug)]
pub(super) struct Life {
    file: PathBuf,
    lead: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the file holds, or is to hold as soon as it can be written.
    record: Record,
    /// Whether the file could not be written.
    is_failing: bool,
}

impl Life {
    /// Begins a life. Its stamps must be later than the second result.
    pub(super) fn begin(
        data_dir: &Path,
        now: Wall,
        max_skew: Duration,
    ) -> anyhow::Result<(Self, Stamp)> {
        let mut record = read(data_dir)?;
        let earlier = record.to_go_beyond(now, max_skew);
        let lead = (max_skew / 2).clamp(LEAD_MIN, LEAD_MAX);
        let first = now.max(Wall(earlier.stamps_before_ms));
        record.last = Reach {
            incarnation: now.0.max(earlier.incarnation.saturating_add(1)),
            stamps_before_ms: (first + lead).0,
        };
        let file = data_dir.join(FILE);
        write(&file, &record).with_context(|| format!("cannot write {}", file.display()))?;
        let state = Mutex::new(State {
            record,
            is_failing: false,
        });
        let life = Self { file, lead, state };
        Ok((life, Stamp::at(Wall(earlier.stamps_before_ms))))
    }

    /// Which life this is: no earlier one, and no later one, has the same.
    pub(super) fn incarnation(&self) -> u64 {
        self.state.lock().record.last.incarnation
    }

    /// The first stamp that may not be given yet.
    pub(super) fn reserved(&self) -> Stamp {
        self.state.lock().reserved()
    }

    /// How often to call [`Self::renew`].
    pub(super) fn renewal_interval(&self) -> Duration {
        self.lead / RENEWALS_PER_LEAD
    }

    /// Makes sure that no later life gives `stamp`, now that it is needed. As [`Self::reserved`].
    pub(super) fn reserve(&self, stamp: Stamp) -> Stamp {
        let mut state = self.state.lock();
        if stamp >= state.reserved() {
            state.record.last.stamps_before_ms = (stamp.wall() + self.lead).0;
            self.keep(&mut state);
        }
        state.reserved()
    }

    /// Does ahead of time what [`Self::reserve`] does. `newest` is the latest stamp, and `is_heard` says whether a peer
    /// agreed to a link since the last call.
    pub(super) fn renew(&self, newest: Stamp, is_heard: bool) -> Stamp {
        let mut state = self.state.lock();
        let before = state.record;
        let needed = newest.wall() + self.lead / 2;
        if needed >= Wall(before.last.stamps_before_ms) {
            state.record.last.stamps_before_ms = (newest.wall() + self.lead).0;
        }
        if is_heard {
            state.record.heard = state.record.last;
        }
        if state.record != before || state.is_failing {
            self.keep(&mut state);
        }
        state.reserved()
    }

    /// This life ends in order with `newest` as its latest stamp: the next one need not begin with a lead.
    pub(super) fn end(&self, newest: Stamp) {
        let mut state = self.state.lock();
        let before = newest.wall() + Duration::from_millis(1);
        let Record { last, heard } = &mut state.record;
        for reach in [last, heard] {
            reach.stamps_before_ms = reach.stamps_before_ms.min(before.0);
        }
        self.keep(&mut state);
    }

    /// Writes the file. A node whose disk is full goes on: only a clock that is set back as well would do harm.
    fn keep(&self, state: &mut State) {
        let written = write(&self.file, &state.record);
        let was_failing = std::mem::replace(&mut state.is_failing, written.is_err());
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
}

impl State {
    fn reserved(&self) -> Stamp {
        Stamp::at(Wall(self.record.last.stamps_before_ms))
    }
}

fn write(file: &Path, record: &Record) -> io::Result<()> {
    let text = toml::to_string(record).map_err(io::Error::other)?;
    let text =
        format!("# What this node did before. Keep it; OPERATIONS says when to remove it.\n{text}");
    write_whole(file, text.as_bytes(), files::PUBLIC)
}

/// What is known of earlier lives. A file that does not say it counts as none: a right clock is later than all of them.
fn read(data_dir: &Path) -> anyhow::Result<Record> {
    let damaged = |file: &Path| {
        warn!(
            file = %file.display(),
            "damaged: what earlier lives of this node did is not known; the clock must not have been set back since"
        );
        Record::default()
    };
    let (file, file_before) = (data_dir.join(FILE), data_dir.join(FILE_BEFORE));
    if let Some(text) = read_if_any(&file)? {
        return Ok(toml::from_str(&text).unwrap_or_else(|_| damaged(&file)));
    }
    let Some(text) = read_if_any(&file_before)? else {
        return Ok(Record::default());
    };
    Ok(match text.trim().parse() {
        Ok(incarnation) => Record {
            last: Reach {
                incarnation,
                stamps_before_ms: incarnation,
            },
            heard: Reach::default(),
        },
        Err(_) => damaged(&file_before),
    })
}

/// `None` when there is no such file. What is no text counts as empty.
fn read_if_any(file: &Path) -> anyhow::Result<Option<String>> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(String::from_utf8(bytes).unwrap_or_default())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

#[cfg(test)]
mod tests;
