//! What peers say of each other.
//!
//! A region whose link to another one is broken learns what it needs from those that both have links to: which life the
//! other is in, how much was heard of it, and what it claims. Of that, only the life counts at once. The rest counts when
//! both sides are proved to have held the same, and only as far as that goes: a word of a region counts nowhere before
//! everything that it wrote earlier is there.

use super::{Inner, Lives, removals_and_incarnation};
use crate::{
    entry::totals::Actor,
    hlc::Stamp,
    log::PeerIndex,
    time::Wall,
    wire::control::{Hearsay, Word},
};

impl Lives {
    /// What this node has heard of its peers, and of its own earlier lives.
    pub(crate) fn hearsay(&self) -> Hearsay {
        let inner = self.inner.lock();
        let words = inner.present().map(|(_, peer)| Word {
            id: peer.origin.0,
            incarnation: peer.life().incarnation,
            heard: peer.heard,
            holds: peer.holds,
            gap: peer.gap,
        });
        let own = Word {
            id: self.own.origin.0,
            incarnation: self.own.incarnation,
            heard: Stamp::ZERO,
            holds: Stamp::ZERO,
            gap: inner.gap,
        };
        Hearsay {
            settled: inner.settled.stamp(),
            words: words.chain([own]).collect(),
        }
    }

    /// A peer tells what it has heard, at `now`. Lives that begin later than `latest` are not believed.
    pub(crate) fn listen(&self, peer: PeerIndex, hearsay: &Hearsay, now: Stamp, latest: Wall) {
        let mut inner = self.inner.lock();
        let before = std::mem::replace(&mut inner.peers[peer.0].settled, hearsay.settled);
        if hearsay.settled > inner.held.max(before) {
            // It may have forgotten what was never heard of here.
            inner.begin_to_doubt(peer.0, now);
        }
        for word in &hearsay.words {
            if let Some((of, incarnation)) = inner.whose(word)
                && incarnation <= latest.0
            {
                inner.hear_of(of, incarnation, now);
            }
        }
    }
}

impl Inner {
    /// Whose word it is, and the incarnation of which it was said. What is said of a region that was removed since, or was
    /// added again, is not heard.
    fn whose(&self, word: &Word) -> Option<(usize, u64)> {
        let (removals, incarnation) = removals_and_incarnation(word.incarnation);
        let is_of = |peer: &super::Peer| {
            peer.origin.0 == word.id && !peer.is_removed && u64::from(peer.removals) == removals
        };
        Some((self.peers.iter().position(is_of)?, incarnation))
    }

    /// Everything up to `end` of what `peer` had heard is here.
    pub(super) fn believe(&mut self, own: Actor, peer: usize, hearsay: &Hearsay, end: Stamp) {
        for word in &hearsay.words {
            if (word.id, word.incarnation) == (own.origin.0, own.incarnation) {
                self.gap.agree(word.gap);
            }
            let Some((of, incarnation)) = self.whose(word) else {
                continue;
            };
            if incarnation == 0 || self.peers[of].incarnation != incarnation {
                continue;
            }
            self.peers[of].gap.agree(word.gap);
            if of != peer {
                self.believe_word(of, word, end);
            }
        }
    }

    fn believe_word(&mut self, of: usize, word: &Word, end: Stamp) {
        let heard = word.heard.min(end);
        if heard > self.peers[of].heard {
            self.peers[of].heard = heard;
            self.take_back(of);
        }
        let peer = &mut self.peers[of];
        let counts = |&mut (from, _): &mut (Stamp, Stamp)| from <= peer.heard;
        if let Some((_, holds)) = peer.hearsay.take_if(counts)
            && !peer.is_linked
        {
            peer.holds = holds;
        }
        peer.hearsay = peer.hearsay.or(Some((word.heard, word.holds)));
    }
}
