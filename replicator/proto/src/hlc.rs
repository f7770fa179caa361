//! Hybrid logical clock: the stamp that decides who wins.
//!
//! A [`Stamp`] is 48 bits of milliseconds and 16 bits of counter (Kulkarni et al., *Logical Physical Clocks*, 2014).
//! Stamps of one origin strictly increase; stamps of two origins may be equal, so a [`Version`] adds the origin and
//! orders every write in the cluster totally. Stamps say nothing about what has been delivered: that is a sequence
//! number's job.

use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::time::Wall;

const COUNTER_BITS: u32 = 16;

/// Hybrid time: milliseconds since the Unix epoch in the upper 48 bits, a counter in the lower 16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Before every write.
    pub const ZERO: Self = Self(0);

    /// The first stamp of a millisecond.
    #[must_use]
    pub const fn at(wall: Wall) -> Self {
        Self(wall.0 << COUNTER_BITS)
    }

    /// The millisecond part.
    #[must_use]
    pub const fn wall(self) -> Wall {
        Wall(self.0 >> COUNTER_BITS)
    }

    /// How many stamps of the same millisecond come before.
    #[must_use]
    pub const fn tick(self) -> u16 {
        self.0 as u16
    }

    /// The smallest later stamp.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}",
            self.wall().0,
            self.0 & ((1 << COUNTER_BITS) - 1)
        )
    }
}

/// The region whose node accepted a write: 1 to [`Origin::MAX`]. Zero is nobody: the base that expiry starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Origin(pub u8);

impl Origin {
    /// Nobody: an absent key, or one that expired.
    pub const NONE: Self = Self(0);
    /// No region, and after all of them: what is said to have ended, however it did.
    pub const ENDED: Self = Self(u8::MAX);
    /// The largest region id.
    pub const MAX: u8 = 63;
}

/// When and where something was written. Totally ordered: by stamp, then by origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// Hybrid time of the write.
    pub stamp: Stamp,
    /// Region that accepted it.
    pub origin: Origin,
}

impl Version {
    /// Before every write: the version of a key that never was.
    pub const ZERO: Self = Self {
        stamp: Stamp::ZERO,
        origin: Origin::NONE,
    };
}

/// A remote stamp lies further ahead of the local wall clock than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "clock skew: the peer's clock is {} ms ahead of ours, {} ms are allowed; check time synchronisation on both hosts",
    ahead.as_millis(), allowed.as_millis()
)]
pub struct Skew {
    /// How far ahead the remote stamp is.
    pub ahead: Duration,
    /// How far ahead it may be.
    pub allowed: Duration,
}

/// The clock of one node. Issues stamps and follows remote ones within a bound.
#[derive(Debug)]
pub struct Clock {
    last: AtomicU64,
    max_skew: Duration,
    /// The first stamp that may not be issued before more were reserved.
    reserved: AtomicU64,
    reserve: OnceLock<Reserve>,
}

/// Makes sure that a later life of the node issues neither this stamp nor an earlier one. Returns the first stamp of which
/// that is not sure.
struct Reserve(Box<dyn Fn(Stamp) -> Stamp + Send + Sync>);

impl fmt::Debug for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reserve")
    }
}

impl Clock {
    /// A clock that has issued nothing yet and refuses stamps more than `max_skew` ahead of the wall.
    #[must_use]
    pub fn new(max_skew: Duration) -> Self {
        Self {
            last: AtomicU64::new(0),
            max_skew,
            reserved: AtomicU64::new(u64::MAX),
            reserve: OnceLock::new(),
        }
    }

    /// Issues stamps before `until` only, and beyond that those that `reserve` has made room for, by its result. It is
    /// called under the locks of whoever wants a stamp. At most one function, set once.
    pub fn reserve_with(
        &self,
        until: Stamp,
        reserve: impl Fn(Stamp) -> Stamp + Send + Sync + 'static,
    ) {
        let set = self.reserve.set(Reserve(Box::new(reserve)));
        assert!(set.is_ok(), "one function reserves stamps");
        self.reserved.store(until.0, Ordering::Release);
    }

    /// Stamps before `until` may be issued: room was made ahead of time.
    pub fn note_reserved(&self, until: Stamp) {
        self.reserved.fetch_max(until.0, Ordering::AcqRel);
    }

    /// The latest stamp that was issued or observed.
    #[must_use]
    pub fn newest(&self) -> Stamp {
        Stamp(self.last.load(Ordering::Acquire))
    }

    /// The largest lead of a remote stamp over the local wall clock that is followed.
    #[must_use]
    pub fn max_skew(&self) -> Duration {
        self.max_skew
    }

    /// A stamp later than every stamp that this clock issued or observed.
    pub fn stamp(&self, wall: Wall) -> Stamp {
        let physical = Stamp::at(wall).0;
        let advance = |last: u64| Some(physical.max(last.saturating_add(1)));
        let last = match self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, advance)
        {
            Ok(last) | Err(last) => last,
        };
        let stamp = Stamp(physical.max(last.saturating_add(1)));
        if stamp.0 >= self.reserved.load(Ordering::Acquire) {
            self.reserve(stamp);
        }
        stamp
    }

    #[cold]
    fn reserve(&self, stamp: Stamp) {
        if let Some(Reserve(reserve)) = self.reserve.get() {
            self.note_reserved(reserve(stamp));
        }
    }

    /// Makes later stamps later than `remote`, unless it lies too far ahead of the wall.
    ///
    /// # Errors
    /// [`Skew`] when `remote` is more than the allowed skew ahead of `wall`; the clock is unchanged then.
    pub fn observe(&self, remote: Stamp, wall: Wall) -> Result<(), Skew> {
        let ahead = remote.wall() - wall;
        if ahead > self.max_skew {
            return Err(Skew {
                ahead,
                allowed: self.max_skew,
            });
        }
        self.advance(remote);
        Ok(())
    }

    /// Makes later stamps later than `stamp`, which was derived from what this node already holds.
    pub fn advance(&self, stamp: Stamp) {
        self.last.fetch_max(stamp.0, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stamps_increase_whatever_the_wall_does(walls in prop::collection::vec(0u64..1 << 40, 1..200)) {
            let clock = Clock::new(Duration::MAX);
            let mut last = Stamp::ZERO;
            for wall in walls {
                let stamp = clock.stamp(Wall(wall));
                prop_assert!(stamp > last);
                prop_assert!(stamp.wall() >= Wall(wall));
                last = stamp;
            }
        }

        #[test]
        fn stamps_follow_what_was_observed(remote in 0u64..1 << 50, wall in 0u64..1 << 40) {
            let clock = Clock::new(Duration::MAX);
            clock.observe(Stamp(remote), Wall(wall)).unwrap();
            prop_assert!(clock.stamp(Wall(wall)) > Stamp(remote));
        }
    }

    #[test]
    fn no_stamp_is_issued_before_it_is_reserved() {
        let clock = Clock::new(Duration::from_secs(5));
        let (wall, step) = (Wall(1_000), Duration::from_millis(100));
        let reserved = Arc::new(AtomicU64::new(Stamp::at(wall).0));
        let asked = Arc::new(AtomicU64::new(0));
        let counted = (Arc::clone(&reserved), Arc::clone(&asked));
        clock.reserve_with(Stamp::at(wall), move |stamp| {
            let until = Stamp::at(stamp.wall() + step);
            counted.0.store(until.0, Ordering::Release);
            counted.1.fetch_add(1, Ordering::AcqRel);
            until
        });
        for passed in 0..1_000 {
            let stamp = clock.stamp(wall + Duration::from_millis(passed));
            assert!(stamp.0 < reserved.load(Ordering::Acquire));
        }
        assert_eq!(asked.load(Ordering::Acquire), 10, "once a step");
        // What a peer says is followed, and reserved before it is issued.
        let ahead = Stamp::at(wall + Duration::from_secs(5));
        clock.observe(ahead, wall).unwrap();
        assert!(clock.stamp(wall) > ahead && clock.newest().0 < reserved.load(Ordering::Acquire));
        assert_eq!(asked.load(Ordering::Acquire), 11);
    }

    #[test]
    fn a_stamp_too_far_ahead_is_refused_and_not_followed() {
        let clock = Clock::new(Duration::from_secs(5));
        let wall = Wall(1_000_000);
        let far = Stamp::at(wall + Duration::from_mins(10));
        let skew = clock.observe(far, wall).unwrap_err();
        assert_eq!(skew.ahead, Duration::from_mins(10));
        assert!(clock.stamp(wall) < far);
        assert!(
            clock
                .observe(Stamp::at(wall + Duration::from_secs(5)), wall)
                .is_ok()
        );
    }
}
