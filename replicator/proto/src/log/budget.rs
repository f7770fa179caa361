//! The memory that the lanes of a log share.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Values are carried while the log is filled up to one part in this many. A reader that is further behind takes the
/// keys' newest state, which has often replaced several of theirs, and a long log takes little memory.
const CARRYING_PART: usize = 16;

/// How many bytes the full segments of all lanes may take together. The one that a lane is filling does not count: so a
/// write touches nothing that another lane's write does.
#[derive(Debug)]
pub(super) struct Budget {
    limit: AtomicUsize,
    used: AtomicUsize,
}

impl Budget {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit: AtomicUsize::new(limit),
            used: AtomicUsize::new(0),
        }
    }

    pub(super) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub(super) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_exceeded(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit.load(Ordering::Relaxed)
    }

    /// Whether a record may carry what its key became.
    #[inline]
    pub(super) fn lets_carry(&self) -> bool {
        self.used.load(Ordering::Relaxed) < self.limit.load(Ordering::Relaxed) / CARRYING_PART
    }
}
