//! What was said of late, so that a peer or a stranger that is turned away again and again does not fill the log.
//!
//! It opens and closes nothing: a source and a reason are texts.

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
pub struct News {
    said: HashMap<(String, String), Instant>,
}

impl News {
    /// Whether `reason` is worth saying of `source` at `now`; if so, it counts as said. Reasons that differ in nothing but
    /// numbers, such as the exact skew of a clock, are the same.
    pub fn is_news(&mut self, source: &str, reason: &str, now: Instant) -> bool {
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

/// What was said of the link to one peer.
#[derive(Debug, Default)]
pub(crate) struct LinkNews {
    refusals: News,
    /// Other ends, since the link was last up.
    losses: News,
    /// Whether the last thing that was said is that the link is up.
    told_up: bool,
}

impl LinkNews {
    /// Whether to say that the link is up: not if its end was not said.
    pub(crate) fn up(&mut self) -> bool {
        self.losses.forget();
        !std::mem::replace(&mut self.told_up, true)
    }

    /// Whether to say that the link was refused.
    pub(crate) fn refused(&mut self, reason: &str, now: Instant) -> bool {
        let is_news = self.refusals.is_news("", reason, now);
        self.told_up &= !is_news;
        is_news
    }

    /// Whether to say that the link was lost, or could not be had.
    pub(crate) fn lost(&mut self, reason: &str, now: Instant) -> bool {
        let is_news = self.losses.is_news("", reason, now);
        self.told_up &= !is_news;
        is_news
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
    fn a_link_that_is_refused_each_time_soon_after_it_came_up_is_said_once_a_minute() {
        let (mut news, now) = (LinkNews::default(), Instant::now());
        assert!(news.up() && news.refused("skew 18 ms", now));
        assert!(!news.refused("skew 17 ms", now), "the next dial");
        assert!(
            news.up(),
            "the log does not end with a refusal that is over"
        );
        assert!(!news.refused("skew 16 ms", now) && !news.up());
        assert!(news.refused("skew 15 ms", now + QUIET) && news.up());
    }

    #[test]
    fn every_loss_of_a_link_that_was_up_is_said() {
        let (mut news, now) = (LinkNews::default(), Instant::now());
        for _ in 0..3 {
            assert!(news.up() && news.lost("idle", now));
            assert!(!news.lost("idle", now), "the next dial");
        }
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
