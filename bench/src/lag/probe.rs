//! Probes of one source region: a thread that writes them, and a thread for each region that looks for them.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::Lag;
use crate::{
    interrupt,
    load::{client::Client, connection::ConnectionError, mix::put_command},
    priority::prefer_this_thread,
};

/// From one probe to the next.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(5);
/// From one look to the next, at least: looks cost the server something.
const LOOK_INTERVAL: Duration = Duration::from_micros(200);
/// When scenarios give up a probe, unless they say when, and when they must.
pub const NEVER_AFTER: Duration = Duration::from_secs(20);
pub const NEVER_AFTER_MAX: Duration = Duration::from_secs(50);
/// From one attempt to open a lost connection again to the next.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(50);
/// Probes live this long, so that they do not stay behind.
const PROBE_SECONDS: &str = "60";
/// A look asks for so many of the newest probes that are due, and for so many of all older ones, which take turns: a server
/// that is behind is not asked so much that it falls further back, and probes that were lost hide no later ones.
const NEWEST_OF_LOOK_MAX: usize = 32;
const OLDER_OF_LOOK_MAX: usize = 32;

/// What to probe.
#[derive(Clone, Debug)]
pub struct Probing {
    /// Where probes are written.
    pub source: SocketAddr,
    /// Distinguishes the keys of this source and this run from all others: what an earlier run wrote must not be found.
    pub label: String,
    /// Where they are looked for, and how soon that begins to make sense after a write.
    pub targets: Vec<(SocketAddr, Duration)>,
    /// When probing starts, and the time that probes count from.
    pub start: Instant,
    /// Probes that are due before this, since the start, do not count.
    pub warm_up: Duration,
    /// Probes are written until this, since the start.
    pub length: Duration,
    /// A probe that is not found within this counts as never seen; less than the minute that probes live.
    pub never_after: Duration,
    /// Whether connections that are lost are opened again; probing ends with an error otherwise.
    pub reconnects: bool,
}

/// Probes on their way to one target, the oldest first.
#[derive(Debug, Default)]
struct UnderWay {
    probes: Mutex<VecDeque<Probe>>,
    is_complete: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Probe {
    number: u64,
    /// When it was meant to be written, since the start: a source that stalls is charged for all probes that it holds up.
    due: Duration,
    /// When it was last asked for.
    asked: Option<Duration>,
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Probe>> {
        // Nothing that holds it can leave it half-changed.
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a look asks for. `turn` is the last of the older ones that was asked for.
    fn choose(&self, now: Duration, sooner: Duration, turn: &mut u64) -> Vec<Probe> {
        let probes = self.lock();
        let due = probes.partition_point(|probe| probe.due + sooner <= now);
        let older = due.saturating_sub(NEWEST_OF_LOOK_MAX);
        let next = probes.partition_point(|probe| probe.number <= *turn);
        let take_turns = (0..older.min(OLDER_OF_LOOK_MAX)).map(|step| (next + step) % older);
        let mut chosen: Vec<Probe> = take_turns.map(|index| probes[index]).collect();
        if let Some(last) = chosen.last() {
            *turn = last.number;
        }
        chosen.extend(probes.range(older..due));
        chosen
    }

    /// A probe that may not have been written says nothing.
    fn forget(&self, number: u64) {
        self.lock().retain(|probe| probe.number != number);
    }
}

impl Probing {
    /// Probes until the end, or until `stop`, and returns the lag to each target.
    ///
    /// # Errors
    /// [`ConnectionError`] when a server is not there or goes away.
    pub fn run(&self, stop: &AtomicBool) -> Result<Vec<Lag>, ConnectionError> {
        let ways: Vec<UnderWay> = self.targets.iter().map(|_| UnderWay::default()).collect();
        thread::scope(|scope| {
            let readers: Vec<_> = self
                .targets
                .iter()
                .zip(&ways)
                .map(|(&(address, sooner), way)| {
                    scope.spawn(move || self.look(address, sooner, way, stop))
                })
                .collect();
            let written = self.write(&ways, stop);
            ways.iter()
                .for_each(|way| way.is_complete.store(true, Ordering::Release));
            let lags = readers
                .into_iter()
                .map(|reader| reader.join().expect("a reader does not panic"));
            let lags = lags.collect::<Result<Vec<_>, _>>();
            written.and(lags)
        })
    }

    fn key(&self, probe: u64) -> String {
        format!("probe:{}:{probe}", self.label)
    }

    fn write(&self, ways: &[UnderWay], stop: &AtomicBool) -> Result<(), ConnectionError> {
        prefer_this_thread();
        let mut client = Client::connect(self.source)?;
        let mut request = Vec::new();
        for number in 0.. {
            let due = PROBE_INTERVAL * u32::try_from(number).unwrap_or(u32::MAX);
            if due > self.length || stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            thread::sleep((self.start + due).saturating_duration_since(Instant::now()));
            request.clear();
            put_command(
                &mut request,
                &[
                    b"SET",
                    self.key(number).as_bytes(),
                    b"1",
                    b"EX",
                    PROBE_SECONDS.as_bytes(),
                ],
            );
            let asked = None;
            let probe = Probe { number, due, asked };
            ways.iter().for_each(|way| way.lock().push_back(probe));
            if let Err(error) = client.exchange(&request, 1, |_| {}) {
                ways.iter().for_each(|way| way.forget(number));
                client = self.reconnect(self.source, error, stop)?;
            }
        }
        Ok(())
    }

    /// Another connection, for one that was lost.
    fn reconnect(
        &self,
        address: SocketAddr,
        mut error: ConnectionError,
        stop: &AtomicBool,
    ) -> Result<Client, ConnectionError> {
        let is_over = || {
            let is_late = self.start.elapsed() >= self.length + self.never_after;
            is_late || stop.load(Ordering::Relaxed) || interrupt::seen().is_some()
        };
        while self.reconnects && !is_over() {
            thread::sleep(RECONNECT_INTERVAL);
            match Client::connect(address) {
                Ok(client) => return Ok(client),
                Err(refused) => error = refused,
            }
        }
        Err(error)
    }

    fn look(
        &self,
        address: SocketAddr,
        sooner: Duration,
        way: &UnderWay,
        stop: &AtomicBool,
    ) -> Result<Lag, ConnectionError> {
        prefer_this_thread();
        let mut client = Client::connect(address)?;
        let mut lag = Lag::default();
        let mut requests = Vec::new();
        let mut turn = 0;
        loop {
            let is_complete = way.is_complete.load(Ordering::Acquire);
            let chosen = way.choose(self.start.elapsed(), sooner, &mut turn);
            if is_complete && (stop.load(Ordering::Relaxed) || way.lock().is_empty()) {
                return Ok(lag);
            }
            if chosen.is_empty() {
                thread::sleep(LOOK_INTERVAL);
                continue;
            }
            requests.clear();
            for probe in &chosen {
                put_command(
                    &mut requests,
                    &[b"EXISTS", self.key(probe.number).as_bytes()],
                );
            }
            let looked = self.start.elapsed();
            let mut found = Vec::with_capacity(chosen.len());
            let looking = client.exchange(&requests, chosen.len(), |reply| {
                found.push(reply == b":1\r\n");
            });
            if let Err(error) = looking {
                client = self.reconnect(address, error, stop)?;
                continue;
            }
            let look = Look {
                looked,
                seen: self.start.elapsed(),
                sooner,
            };
            for (probe, is_found) in chosen.iter().zip(found) {
                self.settle(*probe, is_found, look, way, &mut lag);
            }
            let next_look = self.start + looked + LOOK_INTERVAL;
            thread::sleep(next_look.saturating_duration_since(Instant::now()));
        }
    }

    /// Takes a probe that was found, or is given up, off the way.
    fn settle(&self, asked: Probe, is_found: bool, look: Look, way: &UnderWay, lag: &mut Lag) {
        let mut probes = way.lock();
        // It may have been forgotten meanwhile.
        let Ok(index) = probes.binary_search_by_key(&asked.number, |probe| probe.number) else {
            return;
        };
        let took = look.seen - asked.due;
        let is_given_up = took >= self.never_after;
        if !is_found && !is_given_up {
            probes[index].asked = Some(look.looked);
            return;
        }
        probes.remove(index);
        if asked.due < self.warm_up {
            return;
        }
        if is_given_up {
            lag.never += 1;
        } else {
            let since = asked.asked.unwrap_or(asked.due + look.sooner);
            lag.looks.saturating_record(nanos(look.looked - since));
            lag.seen_after.saturating_record(nanos(took));
            lag.series.push((asked.due, took));
        }
    }
}

/// When a look was sent and answered, since the start, and how long after a write the first one makes sense.
#[derive(Clone, Copy)]
struct Look {
    looked: Duration,
    seen: Duration,
    sooner: Duration,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lost_probes_take_turns_and_hide_no_new_one() {
        let way = UnderWay::default();
        for number in 0..200 {
            let due = PROBE_INTERVAL * number as u32;
            way.lock().push_back(Probe {
                number,
                due,
                asked: None,
            });
        }
        let (now, mut turn) = (PROBE_INTERVAL * 149, 0);
        let mut older = BTreeSet::new();
        for _ in 0..118_usize.div_ceil(OLDER_OF_LOOK_MAX) {
            let chosen = way.choose(now, Duration::ZERO, &mut turn);
            let numbers: Vec<u64> = chosen.iter().map(|probe| probe.number).collect();
            let (turns, newest) = numbers.split_at(OLDER_OF_LOOK_MAX);
            assert_eq!(newest, (118..150).collect::<Vec<_>>());
            older.extend(turns.iter().copied());
        }
        assert_eq!(older, (0..118).collect());
        let few = way.choose(PROBE_INTERVAL * 2, PROBE_INTERVAL, &mut turn);
        assert_eq!(few.iter().map(|probe| probe.number).max(), Some(1));
    }
}
