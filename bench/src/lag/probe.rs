//! Probes of one source region: a thread that writes them, and a thread for each region that looks for them.

use std::{
    collections::{BTreeSet, VecDeque},
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
/// When scenarios give up a probe.
pub const NEVER_AFTER: Duration = Duration::from_secs(30);
/// From one attempt to open a lost connection again to the next.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(50);
/// Probes live this long, so that they do not stay behind.
const PROBE_SECONDS: &str = "60";
/// A look asks for the oldest probes, and for no more than this: a server that is behind is not asked so much that it falls
/// further back. Some arrive before older ones that were lost on the way, but not so many.
const PROBES_OF_LOOK_MAX: usize = 64;

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
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Probe>> {
        // Nothing that holds it can leave it half-changed.
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
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
            let probe = Probe { number, due };
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
        let mut last_look = None;
        loop {
            let is_complete = way.is_complete.load(Ordering::Acquire);
            let now = self.start.elapsed();
            let due: Vec<Probe> = {
                let probes = way.lock();
                let due = probes.iter().take(PROBES_OF_LOOK_MAX);
                let due = due.take_while(|probe| probe.due + sooner <= now);
                due.copied().collect()
            };
            if is_complete && (stop.load(Ordering::Relaxed) || way.lock().is_empty()) {
                return Ok(lag);
            }
            if due.is_empty() {
                last_look = None;
                thread::sleep(LOOK_INTERVAL);
                continue;
            }
            requests.clear();
            for probe in &due {
                put_command(
                    &mut requests,
                    &[b"EXISTS", self.key(probe.number).as_bytes()],
                );
            }
            let looked = Instant::now();
            let mut found = Vec::with_capacity(due.len());
            let looking =
                client.exchange(&requests, due.len(), |reply| found.push(reply == b":1\r\n"));
            if let Err(error) = looking {
                client = self.reconnect(address, error, stop)?;
                continue;
            }
            let seen = self.start.elapsed();
            if let Some(last) = last_look.replace(looked) {
                lag.looks.saturating_record(nanos(looked - last));
            }
            self.settle(&due, &found, seen, way, &mut lag);
            thread::sleep((looked + LOOK_INTERVAL).saturating_duration_since(Instant::now()));
        }
    }

    /// Takes probes that were found, or are given up, off the way.
    fn settle(&self, due: &[Probe], found: &[bool], seen: Duration, way: &UnderWay, lag: &mut Lag) {
        let mut gone = BTreeSet::new();
        for (probe, &is_found) in due.iter().zip(found) {
            let took = seen - probe.due;
            if !is_found && took < self.never_after {
                continue;
            }
            gone.insert(probe.number);
            if probe.due < self.warm_up {
                continue;
            }
            match is_found {
                true => {
                    lag.seen_after.saturating_record(nanos(took));
                    lag.series.push((probe.due, took));
                }
                false => lag.never += 1,
            }
        }
        way.lock().retain(|probe| !gone.contains(&probe.number));
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
