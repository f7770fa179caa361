//! Every write has a version of its own; the stamps of a region increase; and none is further ahead than the wall clock
//! that it has seen plus the lead that it follows.

use std::{collections::BTreeSet, time::Duration};

use greenwich_proto::{
    hlc::{Stamp, Version},
    time::Wall,
};

use super::Broken;

/// What is remembered of the stamps of all regions.
#[derive(Debug)]
pub struct Stamps {
    last: Vec<Stamp>,
    latest_wall: Vec<Wall>,
    seen: BTreeSet<Version>,
    max_skew: Duration,
}

impl Stamps {
    /// Nothing written yet.
    #[must_use]
    pub fn new(regions: usize, max_skew_ms: u64) -> Self {
        Self {
            last: vec![Stamp::ZERO; regions],
            latest_wall: vec![Wall(0); regions],
            seen: BTreeSet::new(),
            max_skew: Duration::from_millis(max_skew_ms),
        }
    }

    /// A restarted region begins anew; its versions stay taken.
    pub fn restart(&mut self, region: usize) {
        self.last[region] = Stamp::ZERO;
    }

    /// The wall clock of a region showed `wall` while it took something in.
    pub fn see(&mut self, region: usize, wall: Wall) {
        self.latest_wall[region] = wall.max(self.latest_wall[region]);
    }

    /// A region accepted one write, or one unit, with `version` while its wall clock showed `wall`.
    ///
    /// # Errors
    /// When the version is not what it must be.
    pub fn note(&mut self, region: usize, version: Version, wall: Wall) -> Result<(), Broken> {
        let broken = |text: String| {
            Err(Broken::new(
                "stamps",
                format!("{}: {text}", crate::region::name(region)),
            ))
        };
        self.see(region, wall);
        let latest_wall = self.latest_wall[region];
        if usize::from(version.origin.0) != region + 1 {
            return broken(format!("{version:?} names another origin"));
        }
        if version.stamp <= self.last[region] {
            return broken(format!("{version:?} after {:?}", self.last[region]));
        }
        if version.stamp.wall() > latest_wall + self.max_skew {
            return broken(format!(
                "{version:?} is ahead of {latest_wall:?} by more than {:?}",
                self.max_skew
            ));
        }
        if !self.seen.insert(version) {
            return broken(format!("{version:?} was given twice"));
        }
        self.last[region] = version.stamp;
        Ok(())
    }
}
