//! The wall clock of a node while the system's is set: it is *slewed*, as NTP calls it, and never jumps.
//!
//! Deadlines and stamps come from the wall. A system clock that is set forward by mistake would let keys expire and put
//! stamps where no peer follows; one that is set back would bring expired keys back to life. So the wall runs on with
//! monotonic time and makes up for a difference by a tenth of the time that passes, in either direction. That is a
//! compromise: a wrong setting that lasts a minute does six seconds of harm, of which peers tolerate five; a right one,
//! as after a pause of the machine, is followed within ten times its size. A larger difference has only one quick end,
//! a restart, so whoever reads the clock has to say that there is one.
//!
//! Nothing is read here: both readings come in as arguments.

use std::time::Duration;

use crate::time::{Time, Wall};

/// The wall makes up for one part in so many of the time that passes.
const PART: u64 = 10;

/// The wall from one look at the system's clock to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slew {
    looked: Time,
    /// What the wall said then, in microseconds since the Unix epoch.
    wall_us: i64,
    /// How far the system's clock was ahead of that; negative is behind.
    error_us: i64,
}

impl Slew {
    /// A wall that starts where the system's clock is: at no other time does it jump.
    #[must_use]
    pub fn start(now: Time, system: Duration) -> Self {
        Self {
            looked: now,
            wall_us: micros(system),
            error_us: 0,
        }
    }

    /// Goes on from here after another look at the system's clock, which shows `system` since the Unix epoch.
    #[must_use]
    pub fn look(&self, now: Time, system: Duration) -> Self {
        let wall_us = self.micros(now);
        Self {
            looked: now.max(self.looked),
            wall_us,
            error_us: micros(system).saturating_sub(wall_us),
        }
    }

    /// How long ago the last look was.
    #[must_use]
    pub fn age(&self, now: Time) -> Duration {
        now.since(self.looked)
    }

    /// The wall, in microseconds since the Unix epoch.
    #[must_use]
    pub fn micros(&self, now: Time) -> i64 {
        let (passed, made_up) = self.since_look(now);
        self.wall_us.saturating_add(passed).saturating_add(made_up)
    }

    /// The wall.
    #[must_use]
    pub fn wall(&self, now: Time) -> Wall {
        Wall(u64::try_from(self.micros(now) / 1_000).unwrap_or(0))
    }

    /// How far the system's clock is ahead of the wall, as far as the last look tells, in milliseconds; negative is
    /// behind.
    #[must_use]
    pub fn error_ms(&self, now: Time) -> i64 {
        (self.error_us - self.since_look(now).1) / 1_000
    }

    /// Microseconds that passed, and those that the wall has made up for meanwhile.
    fn since_look(&self, now: Time) -> (i64, i64) {
        let passed = now.0.saturating_sub(self.looked.0);
        let most = (passed / PART).cast_signed();
        (
            i64::try_from(passed).unwrap_or(i64::MAX),
            self.error_us.clamp(-most, most),
        )
    }
}

fn micros(since_epoch: Duration) -> i64 {
    i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START_US: u64 = 1_750_000_000_000_000;

    /// What happens next: so long after the last, the wall is read, and perhaps the system's clock is looked at.
    fn readings() -> impl Strategy<Value = Vec<(u64, Option<u64>)>> {
        let reading = (0u64..3_600_000_000, prop::option::of(0u64..2 * START_US));
        prop::collection::vec(reading, 1..200)
    }

    proptest! {
        #[test]
        fn the_wall_never_goes_back_and_never_runs_a_tenth_off(readings in readings()) {
            let mut now = Time(0);
            let mut slew = Slew::start(now, Duration::from_micros(START_US));
            let mut wall = slew.micros(now);
            for (passed, system) in readings {
                now.0 += passed;
                if let Some(system) = system {
                    slew = slew.look(now, Duration::from_micros(system));
                }
                let gained = slew.micros(now) - wall;
                let (least, most) = (passed - passed / PART, passed + passed / PART);
                // A reading between two looks rounds twice.
                let allowed = least.saturating_sub(1).cast_signed()..=(most + 1).cast_signed();
                prop_assert!(allowed.contains(&gained), "{gained} in {passed}");
                prop_assert!(gained >= 0);
                wall = slew.micros(now);
            }
        }

        #[test]
        fn the_wall_converges_to_where_the_system_was_set(
            set_by in -3_600_000_000i64..3_600_000_000,
            looks in prop::collection::vec(1_000u64..1_000_000_000, 1..50),
        ) {
            let system = |now: Time| Duration::from_micros((START_US + now.0).saturating_add_signed(set_by));
            let mut slew = Slew::start(Time(0), Duration::from_micros(START_US));
            let mut now = Time(0);
            slew = slew.look(now, system(now));
            let count = looks.len() as u64;
            for passed in looks {
                now.0 += passed;
                slew = slew.look(now, system(now));
            }
            // Each look rounds what was made up for before it.
            let left = set_by.unsigned_abs().saturating_sub(now.0 / PART) + count;
            prop_assert!(slew.micros(now).abs_diff(micros(system(now))) <= left);
            now.0 += set_by.unsigned_abs() * PART;
            prop_assert_eq!(slew.wall(now), Wall(u64::try_from(system(now).as_millis()).unwrap()));
            prop_assert_eq!(slew.error_ms(now), 0);
        }
    }

    #[test]
    fn the_wall_starts_where_the_system_is_and_tells_how_far_off_it_is_set() {
        let slew = Slew::start(Time(7), Duration::from_micros(START_US));
        assert_eq!(slew.wall(Time(7)), Wall(START_US / 1_000));
        let set_forward = slew.look(Time(7), Duration::from_micros(START_US + 86_400_000_000));
        assert_eq!(set_forward.wall(Time(7)), Wall(START_US / 1_000));
        assert_eq!(set_forward.error_ms(Time(7)), 86_400_000);
        assert_eq!(set_forward.error_ms(Time(1_000_007)), 86_400_000 - 100);
        let set_back = slew.look(Time(7), Duration::ZERO);
        assert_eq!(set_back.wall(Time(1_000_007)), Wall(START_US / 1_000 + 900));
    }
}
