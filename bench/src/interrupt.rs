//! Ctrl-C, SIGTERM and a closed terminal: servers are killed at once, so that whatever waits for them fails and the
//! scenario ends as it does when a server dies, with its results and without its namespaces. What does not notice within
//! [`ENDING_LIMIT`], or a second signal, ends the process with what is left of the clean-ups.
//!
//! It does not know what is cleaned up, nor what a report is.

use std::{
    collections::BTreeMap,
    fmt, io,
    sync::atomic::{AtomicI32, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::notice::notice;

/// How long the main thread may take to end by itself.
const ENDING_LIMIT: Duration = Duration::from_secs(10);
/// A signal that comes this soon after the first is the same one: `timeout` sends it twice.
const SAME_SIGNAL: Duration = Duration::from_secs(1);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Shells and service managers expect this plus the signal.
const EXIT_CODE_BASE: i32 = 128;

/// The signal that came first; zero is none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static CLEAN_UPS: Jobs = Jobs(Mutex::new(BTreeMap::new()));
static NEXT: AtomicU64 = AtomicU64::new(0);

type Job = Box<dyn FnMut() + Send>;
/// Those of the first turn sort before those of the last.
type Key = (Turn, u64);

struct Jobs(Mutex<BTreeMap<Key, Job>>);

impl Jobs {
    fn add(&self, turn: Turn, job: Job) -> Key {
        let key = (turn, NEXT.fetch_add(1, Ordering::Relaxed));
        self.0.lock().insert(key, job);
        key
    }

    fn remove(&self, key: Key) {
        self.0.lock().remove(&key);
    }

    fn run(&self, is_due: impl Fn(Turn) -> bool) {
        let mut jobs = self.0.lock();
        let due = jobs.iter_mut().filter(|((turn, _), _)| is_due(*turn));
        due.for_each(|(_, job)| job());
    }
}

/// When a clean-up runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Turn {
    /// As soon as a signal comes.
    First,
    /// Only when the main thread does not end by itself.
    Last,
}

/// A clean-up that is taken back when this is dropped.
#[derive(Debug)]
pub struct CleanUp {
    key: Key,
}

/// Has `job` run when somebody interrupts, as long as the result lives. It may run twice.
#[must_use]
pub fn clean_up(turn: Turn, job: impl FnMut() + Send + 'static) -> CleanUp {
    CleanUp {
        key: CLEAN_UPS.add(turn, Box::new(job)),
    }
}

impl Drop for CleanUp {
    fn drop(&mut self) {
        CLEAN_UPS.remove(self.key);
    }
}

/// Somebody ended this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted {
    signal: i32,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = signal_hook::low_level::signal_name(self.signal).unwrap_or("a signal");
        write!(f, "interrupted by {name}")
    }
}

impl std::error::Error for Interrupted {}

impl Interrupted {
    /// What this program exits with.
    #[must_use]
    pub fn exit_code(self) -> i32 {
        EXIT_CODE_BASE + self.signal
    }
}

/// Whether, and by what, this program has been interrupted.
#[must_use]
pub fn seen() -> Option<Interrupted> {
    match SIGNAL.load(Ordering::Acquire) {
        0 => None,
        signal => Some(Interrupted { signal }),
    }
}

/// Takes the signals from here on.
///
/// # Errors
/// When the system refuses them.
pub fn watch() -> io::Result<()> {
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(move || end(signals))?;
    Ok(())
}

fn end(mut signals: Signals) {
    let Some(signal) = signals.forever().next() else {
        return;
    };
    SIGNAL.store(signal, Ordering::Release);
    let interrupted = Interrupted { signal };
    notice(format_args!("{interrupted}: ending what runs"));
    CLEAN_UPS.run(|turn| turn == Turn::First);
    let first = Instant::now();
    loop {
        thread::sleep(LOOK_INTERVAL);
        let is_again = signals.pending().next().is_some() && first.elapsed() > SAME_SIGNAL;
        if is_again || first.elapsed() > ENDING_LIMIT {
            break;
        }
    }
    notice("not waiting for the rest: its results are lost");
    CLEAN_UPS.run(|_| true);
    std::process::exit(interrupted.exit_code());
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn clean_ups_run_in_their_turn_until_taken_back() {
        let jobs = Jobs(Mutex::default());
        let runs = Arc::new(Mutex::new(Vec::new()));
        let note = |turn, name| {
            let runs = Arc::clone(&runs);
            jobs.add(turn, Box::new(move || runs.lock().push(name)))
        };
        note(Turn::Last, "last");
        note(Turn::First, "first");
        jobs.remove(note(Turn::First, "taken back"));
        jobs.run(|turn| turn == Turn::First);
        assert_eq!(*runs.lock(), ["first"]);
        jobs.run(|_| true);
        assert_eq!(*runs.lock(), ["first", "first", "last"]);
    }
}
