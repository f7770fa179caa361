//! This machine's clocks, read: the one wall that every part of a process shares, and time for timers.
//!
//! The wall starts where the system's clock is and follows it as [`Slew`] says. Monotonic time is the one that goes on while the
//! machine sleeps, so that sleeping is not mistaken for a system clock that was set forward.

use std::{
    cell::Cell,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use greenwich_proto::{
    slew::Slew,
    time::{Time, Wall},
};
use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

/// How often the system's clock is looked at. The wall may be off by a tenth of this when a look was held up between its
/// two readings.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The newest look. Taken by the first thread that finds it too old; the others copy it, so that reading the wall takes no
/// lock and shares no memory in between.
static LATEST: Mutex<Option<Slew>> = Mutex::new(None);

thread_local! {
    static SEEN: Cell<Option<Slew>> = const { Cell::new(None) };
}

/// The wall clock of this node.
#[must_use]
pub fn wall() -> Wall {
    let now = monotonic();
    slew(now).wall(now)
}

/// The same, in microseconds since the Unix epoch.
#[must_use]
pub fn wall_micros() -> u64 {
    let now = monotonic();
    u64::try_from(slew(now).micros(now)).unwrap_or(0)
}

/// How far the system's clock is ahead of [`wall`], in milliseconds; negative is behind.
#[must_use]
pub fn wall_error_ms() -> i64 {
    let now = monotonic();
    slew(now).error_ms(now)
}

#[inline]
fn slew(now: Time) -> Slew {
    match SEEN.get() {
        Some(seen) if seen.age(now) < LOOK_INTERVAL => seen,
        Some(_) | None => look(now),
    }
}

#[cold]
fn look(now: Time) -> Slew {
    let mut latest = LATEST.lock();
    let slew = match *latest {
        Some(slew) if slew.age(now) < LOOK_INTERVAL => slew,
        Some(slew) => slew.look(now, system()),
        None => Slew::start(now, system()),
    };
    *latest = Some(slew);
    SEEN.set(Some(slew));
    slew
}

fn system() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// A node's clock for timers.
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

fn monotonic() -> Time {
    let read = clock_gettime(ClockId::Boottime);
    let since_boot = Duration::try_from(read).unwrap_or_default();
    Time(u64::try_from(since_boot.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn all_threads_see_one_wall_that_never_goes_back() {
        let newest = Mutex::new(wall_micros());
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // Long enough for a few looks, whichever thread takes them.
                    let until = monotonic() + 3 * LOOK_INTERVAL;
                    while monotonic() < until {
                        let mut newest = newest.lock();
                        let read = wall_micros();
                        assert!(read >= *newest, "{read} after {newest}");
                        *newest = read;
                    }
                });
            }
        });
    }
}
