//! The time from a node's start until clients are served: until it holds what its peers held, how far that is, and how long
//! it may still take.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use greenwich_replicator::Replicator;
use parking_lot::Mutex;
use tokio::time::interval;

use crate::{
    server::{Server, process::wall},
    status::Loading,
};

/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// How often the keys are counted: that takes the lock of every shard.
const COUNT_INTERVAL: Duration = Duration::from_millis(200);
/// How often the log says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// Counts from which the rate is taken: those of about five seconds.
const COUNTS_KEPT: usize = 25;

/// Lets clients in once nothing is waited for, unless a later process of the region has them.
pub(super) async fn wait(server: Arc<Server>, replicator: Arc<Mutex<Option<Replicator>>>) {
    let (started, started_at_ms) = (Instant::now(), wall().0);
    let (mut counted, mut said) = (None, started);
    let mut pace = Pace::default();
    let mut looks = interval(LOOK_INTERVAL);
    loop {
        looks.tick().await;
        if server.door.superseded().is_some() {
            break;
        }
        let looked = {
            let replicator = replicator.lock();
            let look = |of: &Replicator| Some((of.awaited()?, of.refusals(), of.keys_told()));
            replicator.as_ref().and_then(look)
        };
        let Some((awaited, refused, told)) = looked else {
            break;
        };
        let now = Instant::now();
        if counted.is_some_and(|at| now.duration_since(at) < COUNT_INTERVAL) {
            continue;
        }
        counted = Some(now);
        let keys = server.keyspace.usage().keys as u64;
        pace.look(keys, now);
        let loading = Loading {
            started_at_ms,
            awaited,
            refused,
            ..pace.estimate(keys, told)
        };
        if now.duration_since(said) >= PROGRESS_INTERVAL {
            said = now;
            tracing::info!("{loading}");
        }
        server.door.tell_loading(Some(loading));
    }
    if !server.door.open() {
        return;
    }
    let Some(missing) = replicator.lock().as_ref().map(Replicator::missing) else {
        return;
    };
    let keys = server.keyspace.usage().keys;
    tracing::info!(keys, after = ?started.elapsed(), "clients are served");
    if !missing.is_empty() {
        tracing::warn!(
            peers = missing.join(", "),
            "these peers could not be reached in time: clients are served without keys that only they hold"
        );
    }
}

/// How fast keys have come lately.
#[derive(Debug, Default)]
struct Pace(VecDeque<(Instant, u64)>);

impl Pace {
    fn look(&mut self, keys: u64, now: Instant) {
        if self.0.len() == COUNTS_KEPT {
            self.0.pop_front();
        }
        self.0.push_back((now, keys));
    }

    /// `None` while none have come.
    fn keys_per_second(&self) -> Option<f64> {
        let ((first, before), (last, keys)) = (self.0.front()?, self.0.back()?);
        let seconds = last.duration_since(*first).as_secs_f64();
        let came = keys.checked_sub(*before).filter(|came| *came > 0)?;
        (seconds > 0.0).then(|| came as f64 / seconds)
    }

    /// Where a node stands that holds so many keys, and whose fullest peer said that it holds `told`. What others have beside
    /// these is not known.
    fn estimate(&self, keys: u64, told: Option<u64>) -> Loading {
        let keys_per_second = self.keys_per_second();
        let left = told
            .and_then(|told| told.checked_sub(keys))
            .filter(|left| *left > 0);
        let seconds = |(left, rate)| left as f64 / rate;
        Loading {
            keys,
            total_keys: told.map(|told| told.max(keys)),
            keys_per_second,
            seconds_left: left.zip(keys_per_second).map(seconds),
            ..Loading::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(counts: &[u64]) -> Pace {
        let mut pace = Pace::default();
        let start = Instant::now();
        for (at, keys) in (0..).zip(counts) {
            pace.look(*keys, start + COUNT_INTERVAL * at);
        }
        pace
    }

    #[test]
    fn the_rest_takes_as_long_as_the_latest_rate_says() {
        let loading = pace(&[0, 100, 200]).estimate(200, Some(1_000));
        assert_eq!((loading.keys, loading.total_keys), (200, Some(1_000)));
        assert_eq!(loading.percent(), Some(20.0));
        let told = (loading.keys_per_second, loading.seconds_left);
        assert_eq!(told, (Some(500.0), Some(1.6)));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let loading = pace(&[0]).estimate(0, Some(1_000));
        assert_eq!(
            (loading.keys_per_second, loading.seconds_left),
            (None, None)
        );
        let loading = pace(&[0, 100]).estimate(100, None);
        assert_eq!((loading.percent(), loading.seconds_left), (None, None));
        let loading = pace(&[900, 1_000]).estimate(1_000, Some(950));
        assert_eq!(
            (loading.percent(), loading.seconds_left),
            (Some(100.0), None)
        );
    }

    #[test]
    fn keys_that_came_long_ago_say_nothing_of_the_rate() {
        let counts: Vec<u64> = (0..100).map(|at| (at * 10).min(500)).collect();
        assert_eq!(pace(&counts).keys_per_second(), None);
    }
}
