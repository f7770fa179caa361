//! What was said of late, so that a peer or a stranger that is turned away again and again does not fill the log.
//!
//! It knows nothing of links: a source and a reason are texts.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// A reason that goes on is said again after this long.
const QUIET: Duration = Duration::from_mins(1);
/// So many sources and reasons are said in that time; of more, nothing is said.
const SAID_MAX: usize = 64;

/// Sources and reasons that were said.
#[derive(Debug, Default)]
pub(crate) struct News {
    said: HashMap<(String, String), Instant>,
}

impl News {
    /// Whether `reason` is worth saying of `source` at `now`; if so, it counts as said. Reasons that differ in nothing but
    /// numbers, such as the exact skew of a clock, are the same.
    pub(crate) fn is_news(&mut self, source: &str, reason: &str, now: Instant) -> bool {
        self.said
            .retain(|_, said| now.saturating_duration_since(*said) < QUIET);
        let what = (
            source.to_owned(),
            reason.replace(|c: char| c.is_ascii_digit(), ""),
        );
        if self.said.len() >= SAID_MAX || self.said.contains_key(&what) {
            return false;
        }
        self.said.insert(what, now);
        true
    }

    /// What was said is over: when it happens again, it is news.
    pub(crate) fn forget(&mut self) {
        self.said.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_said_once_a_minute_and_another_at_once() {
        let (mut news, start) = (News::default(), Instant::now());
        let mut said = |source: &str, reason: &str, seconds: u64| {
            news.is_news(source, reason, start + Duration::from_secs(seconds))
        };
        assert!(said("eu", "clock 600 ms ahead", 0));
        assert!(!said("eu", "clock 612 ms ahead", 5));
        assert!(said("eu", "wrong cluster", 10));
        assert!(said("ap", "clock 600 ms ahead", 10));
        assert!(
            !said("eu", "clock 600 ms ahead", 59),
            "between two reasons, too"
        );
        assert!(said("eu", "clock 600 ms ahead", 60));
        assert!(!said("eu", "clock 600 ms ahead", 61));
    }

    #[test]
    fn what_is_forgotten_is_said_again() {
        let (mut news, now) = (News::default(), Instant::now());
        assert!(news.is_news("eu", "idle", now));
        news.forget();
        assert!(news.is_news("eu", "idle", now));
    }

    #[test]
    fn many_sources_do_not_fill_the_log_nor_the_memory() {
        let (mut news, now) = (News::default(), Instant::now());
        let sources = (0..10_000).map(|source| source.to_string());
        let said = sources.filter(|source| news.is_news(source, "no certificate", now));
        assert_eq!(said.count(), SAID_MAX);
        assert!(news.is_news("another", "no certificate", now + QUIET));
    }
}
