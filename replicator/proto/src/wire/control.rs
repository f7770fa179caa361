//! Control frames: who we are, what has been applied, how far time has come.

use serde::{Deserialize, Serialize};

use crate::{
    hlc::{Stamp, Version},
    lives::{Gap, Known},
    log::LANES,
    members::Members,
    time::Wall,
    wire::CONTROL_BYTES_MAX,
};

/// The first frame on a link, in both directions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The newest wire version that the sender speaks.
    pub wire: u32,
    /// The oldest one.
    pub wire_min: u32,
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the sender's region.
    pub region: String,
    /// Number of the sender's region.
    pub id: u8,
    /// Number of lanes of the sender's log.
    pub lanes: u32,
    /// Fingerprint of the sender's merge rules.
    pub rules: u64,
    /// Start of the sender's process, in milliseconds since the Unix epoch.
    pub incarnation: u64,
    /// The sender's wall clock.
    pub wall: Wall,
    /// What the sender has applied of the receiver's log.
    pub resume: Resume,
}

/// How far one node has applied another's log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The incarnation whose log it is; zero when none was heard of.
    pub incarnation: u64,
    /// Per lane, the number up to which everything was applied.
    pub applied: Vec<u64>,
}

/// Everything but the batches themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Control {
    /// Opens a link.
    Hello(Hello),
    /// The receiver's hello was agreed to. Batches may follow: they travel on other streams and would overtake it.
    Ready,
    /// Refuses a link, with the reason in words.
    Refuse(String),
    /// These batches were applied.
    Ack(Vec<u64>),
    /// How far time has come at the sender.
    Watermark(Watermark),
    /// Asks for everything that the receiver holds. Since wire version 2, as all that follow.
    Want,
    /// Everything that the sender held when it knew these lives was sent, and applied.
    Sent(Known),
    /// Asks to compare what both sides held at the end of an epoch.
    Compare(Compare),
    /// The answer.
    Compared(Compared),
    /// What the sender holds of slots that differ.
    Listing(Listing),
    /// Which of that the receiver lacks.
    Wanted(Listing),
    /// What so many listings showed to be missing at the receiver has arrived there.
    Pushed(u64),
    /// The repair after a comparison has ended at the sender, which had so many entries changed by it.
    Repaired(u64),
    /// What the sender's clock says. A stamp does not: it follows the most advanced clock.
    Clock(Wall),
    /// What the sender had heard of its peers when it sent the next frame. Since wire version 3, as all that follow.
    Hearsay(Hearsay),
    /// What the receiver sent has ended: every region that was not away has heard of it, and it is no more.
    Over(Vec<Over>),
    /// What the sender holds of slots that differ.
    Sketches(Sketches),
    /// What of that the receiver of these sketches lacks, and what it holds that may be newer.
    Found(Listing),
    /// Which of that has to come.
    Chosen(Listing),
    /// Which regions were added and removed.
    Regions(Regions),
    /// Another process of the receiver's region was turned away.
    Twin(Twin),
    /// About how many keys the sender holds. It answers [`Control::Want`], before the first of them.
    Count(u64),
}

/// Names of the frames that this release knows. A newer one may send others, which are skipped.
const KINDS: [&str; 22] = [
    "Hello",
    "Ready",
    "Refuse",
    "Ack",
    "Watermark",
    "Want",
    "Sent",
    "Compare",
    "Compared",
    "Listing",
    "Wanted",
    "Pushed",
    "Repaired",
    "Clock",
    "Hearsay",
    "Over",
    "Sketches",
    "Found",
    "Chosen",
    "Regions",
    "Twin",
    "Count",
];

/// What the sender knows of the cluster's regions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Regions {
    /// All that was decided while nodes ran.
    pub members: Members,
    /// Where the sender finds the receiver, as host:port.
    pub reached_at: String,
}

/// A process that claims a region of which another one has a link that lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Twin {
    /// When it started, in milliseconds since the Unix epoch.
    pub incarnation: u64,
    /// Where it dialled from.
    pub address: String,
}

/// What the sender held at the end of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compare {
    /// The epoch.
    pub epoch: u64,
    /// Where the sender stands.
    pub standing: Standing,
    /// A fingerprint for each group of slots.
    pub groups: Vec<u64>,
}

/// What decides whether a comparison proves that nothing of earlier lives is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The lives that the sender knows.
    pub known: Known,
    /// What it holds was in doubt until then.
    pub in_doubt_until: Stamp,
    /// The newest flush that it has heard of.
    pub flushed: Version,
}

/// How two sides compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// They held the same.
    Equal,
    /// They did not, as far as fingerprints tell.
    Different,
    /// The sender cannot say: it is too long ago.
    Unknown,
}

/// The answer to a [`Compare`], in as many frames as it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// The epoch.
    pub epoch: u64,
    /// Where the sender stands.
    pub standing: Standing,
    /// How they compare.
    pub verdict: Verdict,
    /// Groups that differ.
    pub groups: Vec<u8>,
    /// The sender's fingerprints of their slots, two bytes each; four before wire version 3.
    #[serde(with = "serde_bytes")]
    pub prints: Vec<u8>,
    /// Whether another frame follows.
    pub goes_on: bool,
}

/// Entries of some slots, as [`crate::peer`] packs them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// Slots and what of them.
    #[serde(with = "serde_bytes")]
    pub lists: Vec<u8>,
}

/// What the sender holds of some slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketches {
    /// A fingerprint of all other slots together.
    pub rest: u64,
    /// Slots and a sketch of each, as [`crate::peer`] packs them.
    #[serde(with = "serde_bytes")]
    pub slots: Vec<u8>,
}

/// What the sender has written and heard, so that receivers can tell what every region has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    /// The last number in each lane of the sender's log.
    pub heads: [u64; LANES],
    /// Everything that the sender wrote with an earlier stamp is within `heads`.
    pub stamp: Stamp,
    /// The sender holds everything, of every origin, up to this stamp.
    pub holds: Stamp,
}

/// What a node has heard of its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hearsay {
    /// Everything up to here is settled at the sender: what had ended of it may have been forgotten.
    pub settled: Stamp,
    /// What it heard of each.
    pub words: Vec<Word>,
}

/// What a node has heard of one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// The peer.
    pub id: u8,
    /// Its newest life, with how often its region was removed above bit 48; zero when none was heard of.
    pub incarnation: u64,
    /// Everything that it wrote up to here has been heard.
    pub heard: Stamp,
    /// What it claims to hold.
    pub holds: Stamp,
    /// What may be unknown of its earlier lives.
    pub gap: Gap,
}

/// A key that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// The key.
    #[serde(with = "serde_bytes")]
    pub key: Vec<u8>,
    /// As it was when nothing later was written to it than this.
    pub newest: Stamp,
    /// Up to where what it said has ended: what was written later counts on nothing.
    pub ended: Stamp,
}

/// Bytes that are not a control frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Larger than any frame that is sent.
    #[error("control frame of {0} bytes; {CONTROL_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// Not MessagePack, or not one of the frames.
    #[error("control frame is malformed: {0}")]
    Malformed(String),
}

impl Control {
    /// The frame's bytes.
    ///
    /// # Panics
    /// Never: every frame is plain data.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        rmp_serde::to_vec(self).expect("plain data encodes")
    }

    /// Reads a frame; `None` for one of a kind that only a newer release knows.
    ///
    /// # Errors
    /// [`ControlError`] when it is too large or not a frame.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, ControlError> {
        if bytes.len() > CONTROL_BYTES_MAX {
            return Err(ControlError::TooLarge(bytes.len()));
        }
        if kind(bytes).is_some_and(|kind| !KINDS.contains(&kind)) {
            return Ok(None);
        }
        let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
        decoder.set_max_depth(16);
        match Self::deserialize(&mut decoder) {
            Ok(frame) => Ok(Some(frame)),
            Err(error) => Err(ControlError::Malformed(error.to_string())),
        }
    }
}

/// The name of a frame: a short text, alone or as the one key of a map.
fn kind(bytes: &[u8]) -> Option<&str> {
    const MAP_OF_ONE: u8 = 0x81;
    const SHORT_TEXT: u8 = 0xa0;
    let bytes = bytes.strip_prefix(&[MAP_OF_ONE]).unwrap_or(bytes);
    let (&marker, rest) = bytes.split_first()?;
    let len = usize::from(marker & 0x1f);
    let name = rest.get(..len).filter(|_| marker & 0xe0 == SHORT_TEXT)?;
    str::from_utf8(name).ok()
}
