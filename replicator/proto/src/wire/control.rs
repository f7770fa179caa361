//! Control frames: who we are, what has been applied, how far time has come.

use serde::{Deserialize, Serialize};

use crate::{hlc::Stamp, log::LANES, time::Wall, wire::CONTROL_BYTES_MAX};

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
    /// What the sender's clock says. A stamp does not: it follows the most advanced clock. Since wire version 2.
    Clock(Wall),
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

    /// Reads a frame.
    ///
    /// # Errors
    /// [`ControlError`] when it is too large or not a frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, ControlError> {
        if bytes.len() > CONTROL_BYTES_MAX {
            return Err(ControlError::TooLarge(bytes.len()));
        }
        let mut decoder = rmp_serde::Deserializer::from_read_ref(bytes);
        decoder.set_max_depth(16);
        Self::deserialize(&mut decoder).map_err(|error| ControlError::Malformed(error.to_string()))
    }
}
