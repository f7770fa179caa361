//! The clocks of this node: one that only goes on, and the one on the wall.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use greenwich_proto::time::{Time, Wall};

/// This node's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    start: Instant,
}

impl Clocks {
    pub(crate) fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    pub(crate) fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_micros(time.0)
    }
}

/// The wall clock of this machine.
pub(crate) fn wall() -> Wall {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Wall(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
