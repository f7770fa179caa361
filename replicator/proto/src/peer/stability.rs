//! What every region has heard.
//!
//! A node *holds* everything up to a stamp once it has applied all that each peer wrote up to it. Peers tell each other
//! what they hold, and the smallest of these stamps is *settled*: no region will ever hear something older for the
//! first time, so what has been dead since may be forgotten.
//!
//! A peer's word counts only after everything that it wrote before saying it has been applied here. That makes the
//! settled stamp safe for counters too: an increment made in ignorance of a deletion is applied before that deletion is
//! forgotten.

use parking_lot::Mutex;

use crate::{hlc::Stamp, log::PeerIndex, wire::control::Watermark};

/// The accepted word of one peer.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    /// Everything that it wrote up to here has been applied here.
    delivered: Stamp,
    /// It holds everything of every origin up to here.
    holds: Stamp,
}

/// The accepted words of all peers of a node.
#[derive(Debug)]
pub struct Stability {
    words: Mutex<Box<[Word]>>,
}

impl Stability {
    /// Nothing heard yet.
    #[must_use]
    pub fn new(peers: usize) -> Self {
        Self {
            words: Mutex::new(vec![Word::default(); peers].into()),
        }
    }

    /// Everything that `peer` wrote before it sent `watermark` has been applied.
    pub(super) fn accept(&self, peer: PeerIndex, watermark: &Watermark) {
        let word = &mut self.words.lock()[peer.0];
        word.delivered = word.delivered.max(watermark.stamp);
        word.holds = word.holds.max(watermark.holds);
    }

    /// This node holds everything of every origin up to here, and nothing later than `now` was written here.
    #[must_use]
    pub fn holds(&self, now: Stamp) -> Stamp {
        self.words
            .lock()
            .iter()
            .map(|word| word.delivered)
            .fold(now, Stamp::min)
    }

    /// Every region holds everything up to here.
    #[must_use]
    pub fn settled(&self, now: Stamp) -> Stamp {
        self.words
            .lock()
            .iter()
            .map(|word| word.delivered.min(word.holds))
            .fold(now, Stamp::min)
    }
}
