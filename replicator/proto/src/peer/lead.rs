//! How far a peer's clock is ahead, as far as the times that it tells show it.
//!
//! What is told is older when it arrives, by a time that is not known here. The largest of the latest differences was the
//! least under way, so it is the best.

use std::collections::VecDeque;

use crate::time::Wall;

/// Differences that count: those of about two seconds. Fewer show more of what batches before them cost, more show a
/// change later.
const KEPT: usize = 8;

/// The latest differences of one link.
#[derive(Debug, Default)]
pub(super) struct Lead {
    heard_ms: VecDeque<i64>,
}

impl Lead {
    /// The peer's clock said `theirs`, which arrived when ours says `ours`.
    pub(super) fn hear(&mut self, theirs: Wall, ours: Wall) {
        self.heard_ms.truncate(KEPT - 1);
        let difference = theirs.0.checked_signed_diff(ours.0);
        // A peer may say anything.
        self.heard_ms.push_front(difference.unwrap_or(i64::MAX));
    }

    /// In milliseconds, less what the best of them took under way. Negative is behind; `None` before the first.
    pub(super) fn ms(&self) -> Option<i64> {
        self.heard_ms.iter().copied().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_delayed_of_the_latest_counts() {
        let mut lead = Lead::default();
        assert_eq!(lead.ms(), None);
        for delay_ms in [90, 40, 500] {
            lead.hear(Wall(10_000), Wall(10_000 + delay_ms));
        }
        assert_eq!(lead.ms(), Some(-40));
        for _ in 0..KEPT {
            lead.hear(Wall(13_000), Wall(10_000));
        }
        assert_eq!(lead.ms(), Some(3_000));
        for _ in 0..KEPT {
            lead.hear(Wall(10_000), Wall(10_100));
        }
        assert_eq!(
            lead.ms(),
            Some(-100),
            "what was heard long ago is forgotten"
        );
    }
}
