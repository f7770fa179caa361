//! The file that outlives the lives of a node: what it says, and what a new life makes of it.

use std::{fs, io, path::Path, time::Duration};

use anyhow::Context;
use greenwich_proto::{hlc::Stamp, time::Wall};
use greenwich_replicator::files::{self, write_whole};
use serde::{Deserialize, Serialize};
use tracing::warn;

pub(super) const FILE: &str = "life.toml";
/// What the release before this one left: the last incarnation, a bare number.
pub(super) const FILE_BEFORE: &str = "incarnation";

/// How far a life went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reach {
    pub(super) incarnation: u64,
    /// Every stamp that it gave is from before this millisecond.
    pub(super) stamps_before_ms: u64,
}

impl Reach {
    fn latest(self) -> Wall {
        Wall(self.incarnation.max(self.stamps_before_ms))
    }

    /// What of it is no later than `wall`.
    fn until(self, wall: Wall) -> Self {
        let until = |ms: u64| if ms > wall.0 { 0 } else { ms };
        Self {
            incarnation: until(self.incarnation),
            stamps_before_ms: until(self.stamps_before_ms),
        }
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
pub(super) struct Record {
    /// Of the last life, whoever heard of it.
    pub(super) last: Reach,
    /// Of all lives, as far as a peer may have heard of it.
    pub(super) heard: Reach,
}

impl Record {
    /// What a life that begins at `now` must go beyond, where peers refuse what is further ahead than `max_skew`.
    pub(super) fn to_go_beyond(self, now: Wall, max_skew: Duration) -> Reach {
        let credible = now + max_skew;
        let everything = self.last.join(self.heard);
        if self.heard.latest() > credible {
            warn!(
                heard = %self.heard.latest(),
                %now,
                "peers have heard stamps of this node from beyond its present clock: either the clock is behind now, or it \
                 was ahead when they were given, and theirs with it; they are carried on"
            );
            return everything;
        }
        let earlier = self.heard.join(self.last.until(credible));
        if earlier != everything {
            warn!(
                last = %self.last.latest(),
                %now,
                "the clock was ahead in an earlier life of this node, of which no peer has heard: starting from the present"
            );
        }
        earlier
    }

    /// The first stamp that may not be given yet.
    pub(super) fn reserved(&self) -> Stamp {
        Stamp::at(Wall(self.last.stamps_before_ms))
    }

    /// Makes room for stamps until `wall`.
    pub(super) fn reserve_until(&mut self, wall: Wall) {
        let before = &mut self.last.stamps_before_ms;
        *before = wall.0.max(*before);
    }

    /// Puts it on disk.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        let text = toml::to_string(self).map_err(io::Error::other)?;
        let text = format!(
            "# What this node did before. Keep it; OPERATIONS says when to remove it.\n{text}"
        );
        write_whole(file, text.as_bytes(), files::PUBLIC)
    }
}

/// What is known of earlier lives. A file that does not say it counts as none: a right clock is later than all of them.
pub(super) fn read(data_dir: &Path) -> anyhow::Result<Record> {
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
