//! How far each peer has read a log, and which of them read it at present. Places are never moved, so that all may be
//! looked at without a lock while peers come and go.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{LANES, Marks, PeerIndex};
use crate::hlc::Origin;

/// Peers that a node may have: every region but its own.
pub const PEERS_MAX: usize = Origin::MAX as usize - 1;

/// All peers, one bit each.
#[derive(Debug, Default)]
struct Set(AtomicU64);

impl Set {
    fn put(&self, peer: PeerIndex, is_in: bool) {
        let bit = 1 << peer.0;
        // A look is cheaper, and mostly enough.
        if (self.bits() & bit != 0) == is_in {
            return;
        }
        match is_in {
            true => self.0.fetch_or(bit, Ordering::AcqRel),
            false => self.0.fetch_and(!bit, Ordering::AcqRel),
        };
    }

    fn bits(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

fn members(bits: u64) -> impl Iterator<Item = usize> {
    (0..PEERS_MAX).filter(move |at| bits >> at & 1 == 1)
}

/// The peers of one log.
#[derive(Debug)]
pub(super) struct Readers {
    /// Per peer, the last number in each lane that it has applied together with everything before.
    applied: Box<[[AtomicU64; LANES]]>,
    /// Those that read.
    reading: Set,
    /// Those that could be asked at this moment.
    linked: Set,
}

impl Default for Readers {
    fn default() -> Self {
        Self {
            applied: (0..PEERS_MAX).map(|_| Default::default()).collect(),
            reading: Set::default(),
            linked: Set::default(),
        }
    }
}

impl Readers {
    pub(super) fn admit(&self, peer: PeerIndex) {
        self.forget(peer);
        self.reading.put(peer, true);
    }

    pub(super) fn dismiss(&self, peer: PeerIndex) {
        self.reading.put(peer, false);
        self.linked.put(peer, false);
    }

    pub(super) fn count(&self) -> usize {
        self.reading.bits().count_ones() as usize
    }

    pub(super) fn acknowledge(&self, peer: PeerIndex, lane: usize, seq: u64) {
        self.applied[peer.0][lane].fetch_max(seq, Ordering::AcqRel);
    }

    /// Up to where all have read a lane; `None` when nobody reads.
    pub(super) fn slowest(&self, lane: usize) -> Option<u64> {
        members(self.reading.bits())
            .map(|at| self.applied[at][lane].load(Ordering::Acquire))
            .min()
    }

    pub(super) fn forget(&self, peer: PeerIndex) {
        for applied in &self.applied[peer.0] {
            applied.store(0, Ordering::Release);
        }
    }

    pub(super) fn applied(&self, peer: PeerIndex, lane: usize) -> u64 {
        self.applied[peer.0][lane].load(Ordering::Acquire)
    }

    pub(super) fn set_linked(&self, peer: PeerIndex, is_linked: bool) {
        self.linked.put(peer, is_linked);
    }

    pub(super) fn holders(&self, marks: &Marks) -> usize {
        let holds = |lanes: &[AtomicU64; LANES]| {
            lanes
                .iter()
                .zip(&marks.0)
                .all(|(applied, mark)| applied.load(Ordering::Acquire) >= *mark)
        };
        members(self.linked.bits() & self.reading.bits())
            .filter(|&at| holds(&self.applied[at]))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use std::iter::once;

    use crate::log::{
        Cursor, Fallen, PeerIndex,
        tests::{WALL, log, long_key},
    };

    #[test]
    fn nothing_is_held_for_a_peer_that_was_dismissed() {
        let log = log();
        log.admit(PeerIndex(7));
        for n in 0..100 {
            log.append(3, WALL, once(&long_key(n)[..]));
        }
        log.acknowledge(PeerIndex(0), 3, 100);
        assert!(log.bytes() > 100_000, "one has read nothing");
        log.dismiss(PeerIndex(7));
        assert_eq!((log.bytes(), log.peers()), (0, 1));
        log.dismiss(PeerIndex(0));
        for n in 0..1_000 {
            log.append(3, WALL, once(&long_key(n)[..]));
        }
        assert!(log.bytes() < 100_000, "nobody reads: {}", log.bytes());
        log.admit(PeerIndex(0));
        let mut cursor = Cursor::default();
        assert_eq!(
            log.read(3, &mut cursor, |_| true),
            Err(Fallen),
            "a sweep tells it"
        );
        log.append(3, WALL, once(&long_key(0)[..]));
        assert_eq!(log.applied(PeerIndex(0), 3), 0);
    }
}
