//! Whether the lag probe tells the truth: a pair of servers that share their keys, of which one sees each key a known time
//! after it was written; and real replication over a link whose delay is known.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    sync::{Arc, atomic::AtomicBool},
    thread,
    time::{Duration, Instant},
};

use common::answer_all;
use greenwich_bench::{
    lag::{
        Lag,
        probe::{PROBE_INTERVAL, Probing},
    },
    load::record::histogram,
    server::{Adapter, find_program, redis::RedisLike},
    wan::{forwarder::Forwarder, namespaces::Namespaces, tcp::CUBIC},
};
use greenwich_proto::netem::LinkProfile;
use parking_lot::Mutex;
use tun_rs::SyncDevice;

const LENGTH: Duration = Duration::from_secs(2);
/// Probes that are written within it: one at its beginning, and one at its very end.
const PROBES: u64 = (LENGTH.as_millis() / PROBE_INTERVAL.as_millis()) as u64 + 1;
/// Longer than any delay here.
const NEVER_AFTER: Duration = Duration::from_secs(2);
const CONNECT_TIME: Duration = Duration::from_millis(300);
const TOLERANCE: f64 = 0.02;
/// A busy machine may keep a reader from an answer that is there. That spoils a run, but it makes no wrong probe right: one
/// run of these must be true. Delays are long for the same reason: a scheduler's milliseconds are no 2 % of them.
const RUNS: usize = 8;
/// Tests that measure do not disturb each other.
static MEASURING: Mutex<()> = Mutex::new(());

/// How long after its write a probe is seen, by its number; `None` is never.
type Delays = fn(u64) -> Option<Duration>;

/// The source takes so long for one of the probes, and the next ones wait for it.
#[derive(Clone, Copy)]
struct Stall {
    probe: u64,
    length: Duration,
}

impl Stall {
    /// How late a probe is written.
    fn holds_up(self, probe: u64) -> Duration {
        match probe.checked_sub(self.probe) {
            Some(after) => self.length.saturating_sub(PROBE_INTERVAL * after as u32),
            None => Duration::ZERO,
        }
    }
}

/// What a pair of servers does.
#[derive(Clone, Copy)]
struct Pair {
    delays: Delays,
    stall: Option<Stall>,
}

impl From<Delays> for Pair {
    fn from(delays: Delays) -> Self {
        let stall = None;
        Self { delays, stall }
    }
}

/// Where keys are written, or where they are seen.
#[derive(Clone, Copy)]
enum Role {
    Source(Option<Stall>),
    Target(Delays),
}

/// What the pair knows of each probe, by its number: when it was written, and when the target first said that it is there.
#[derive(Default)]
struct Known {
    written: Mutex<HashMap<u64, Instant>>,
    told: Mutex<HashMap<u64, Instant>>,
}

impl Role {
    /// What is answered to a request for a probe.
    fn answer(self, known: &Known, probe: u64) -> &'static [u8] {
        match self {
            Self::Source(stall) => {
                if let Some(stall) = stall.filter(|stall| stall.probe == probe) {
                    thread::sleep(stall.length);
                }
                known.written.lock().insert(probe, Instant::now());
                b"+OK\r\n"
            }
            Self::Target(delays) => {
                let written = known.written.lock().get(&probe).copied();
                let is_seen = written
                    .zip(delays(probe))
                    .is_some_and(|(at, delay)| at.elapsed() >= delay);
                if !is_seen {
                    return b":0\r\n";
                }
                known.told.lock().entry(probe).or_insert_with(Instant::now);
                b":1\r\n"
            }
        }
    }

    /// Answers one connection, until it ends.
    fn serve(self, known: Arc<Known>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            self.answer_all(stream, &known);
        });
        address
    }

    fn answer_all(self, stream: TcpStream, known: &Known) {
        answer_all(stream, |request| {
            let text = str::from_utf8(request).unwrap();
            // The number of words, then the length of each before it.
            let key = text.split("\r\n").nth(4).unwrap();
            let probe = key.rsplit(':').next().unwrap().parse().unwrap();
            self.answer(known, probe).to_vec()
        });
    }
}

/// Probes a pair of servers. What it says must always be no less than the truth, and all that was written. Returns that, and
/// from when each probe was due until the target first said that it is there.
fn probe(pair: Pair, sooner: Duration) -> (Lag, Vec<Duration>) {
    let known = Arc::new(Known::default());
    let source = Role::Source(pair.stall).serve(Arc::clone(&known));
    let target = Role::Target(pair.delays).serve(Arc::clone(&known));
    let probing = Probing {
        source,
        label: "test".to_owned(),
        targets: vec![(target, sooner)],
        start: Instant::now() + CONNECT_TIME,
        warm_up: Duration::ZERO,
        length: LENGTH,
        never_after: NEVER_AFTER,
        reconnects: false,
    };
    let lag = probing.run(&AtomicBool::new(false)).unwrap().remove(0);
    assert_eq!(known.written.lock().len() as u64, PROBES);
    let truth = truth(pair);
    assert_eq!(lag.seen_after.len(), truth.len() as u64);
    assert_eq!(lag.never, PROBES - truth.len() as u64);
    let mut measured: Vec<Duration> = lag.series.iter().map(|(_, took)| *took).collect();
    measured.sort_unstable();
    assert_eq!(measured.len(), truth.len());
    for (measured, truth) in measured.iter().zip(&truth) {
        assert!(measured >= truth, "{measured:?} is before {truth:?}");
    }
    let told = known.told.lock();
    let told = told.iter().map(|(&probe, &at)| {
        let due = probing.start + PROBE_INTERVAL * probe as u32;
        at - due
    });
    (lag, told.collect())
}

/// From when each probe was due until it is seen, of all that are, in order.
fn truth(pair: Pair) -> Vec<Duration> {
    let held_up = |probe| {
        pair.stall
            .map_or(Duration::ZERO, |stall| stall.holds_up(probe))
    };
    let after = |probe| Some((pair.delays)(probe)? + held_up(probe));
    let mut truth: Vec<Duration> = (0..PROBES).filter_map(after).collect();
    truth.sort_unstable();
    truth
}

/// Of all probes, of which those that are missing took longest.
fn quantile_ms(delays: &[Duration], quantile: f64) -> f64 {
    let quantile = (quantile * PROBES as f64 / delays.len() as f64).min(1.0);
    let mut histogram = histogram();
    for delay in delays {
        histogram.record(delay.as_nanos() as u64).unwrap();
    }
    histogram.value_at_quantile(quantile) as f64 / 1e6
}

/// What differs by more than 2 % from what the target has told, and the median also from what it should have told: looks
/// that are too rare find everything late.
fn errors(lag: &Lag, told: &[Duration], pair: Pair) -> Vec<String> {
    let measured = lag.figures();
    let told_ms = |quantile| quantile_ms(told, quantile);
    let figures = [
        (
            "p50 of all",
            measured.p50_ms,
            quantile_ms(&truth(pair), 0.5),
        ),
        ("p50", measured.p50_ms, told_ms(0.5)),
        ("p90", measured.p90_ms, told_ms(0.9)),
        ("p99", measured.p99_ms, told_ms(0.99)),
        ("max", measured.max_ms, told_ms(1.0)),
    ];
    let wrong = figures.iter().filter_map(|(name, measured_ms, truth_ms)| {
        let is_wrong = (measured_ms - truth_ms).abs() > truth_ms * TOLERANCE;
        is_wrong.then(|| format!("{name}: {measured_ms} ms measured, {truth_ms} ms true"))
    });
    wrong
        .chain((measured.probes == 0).then(|| "nothing was measured".to_owned()))
        .collect()
}

fn probe_truly(pair: impl Into<Pair>, sooner: Duration) {
    let _alone = MEASURING.lock();
    let pair = pair.into();
    let mut found = Vec::new();
    for _ in 0..RUNS {
        let (lag, told) = probe(pair, sooner);
        let errors = errors(&lag, &told, pair);
        if errors.is_empty() {
            return;
        }
        found.push(errors);
    }
    panic!("no run is within 2 %: {found:?}")
}

#[test]
fn a_constant_lag_is_measured() {
    let delays: Delays = |_| Some(Duration::from_millis(400));
    probe_truly(delays, Duration::from_millis(350));
}

#[test]
fn each_percentile_is_its_own() {
    // 7 of 8 take once as long, of the others most three times, and one of 50 six times.
    let delays: Delays = |probe| {
        let times = match probe {
            probe if probe % 50 == 49 => 6,
            probe if probe % 8 == 7 => 3,
            _ => 1,
        };
        Some(Duration::from_millis(200) * times)
    };
    let truth = truth(delays.into());
    let at = |share: f64| truth[(truth.len() as f64 * share) as usize].as_millis();
    assert_eq!([at(0.5), at(0.9), at(0.99)], [200, 600, 1200]);
    probe_truly(delays, Duration::from_millis(150));
}

#[test]
fn what_is_never_seen_is_counted_and_beyond_all_others() {
    let delays: Delays = |probe| (probe != 100).then_some(Duration::from_millis(400));
    assert_eq!(truth(delays.into()).len() as u64, PROBES - 1);
    probe_truly(delays, Duration::ZERO);
}

#[test]
fn many_that_are_lost_hide_none_behind_them() {
    let delays: Delays =
        |probe| (!(50..200).contains(&probe)).then_some(Duration::from_millis(200));
    assert_eq!(truth(delays.into()).len() as u64, PROBES - 150);
    probe_truly(delays, Duration::from_millis(150));
}

#[test]
fn a_source_that_stalls_is_charged_for_all_that_it_holds_up() {
    let pair = Pair {
        delays: |_| Some(Duration::from_millis(300)),
        stall: Some(Stall {
            probe: 100,
            length: Duration::from_millis(500),
        }),
    };
    let truth = truth(pair);
    let held_up = truth.iter().filter(|truth| truth.as_millis() > 300).count();
    assert_eq!(held_up, 100, "the probes of half a second");
    probe_truly(pair, Duration::from_millis(250));
}

/// Of a link that says how long it takes.
const ONE_WAY: Duration = Duration::from_millis(60);
/// What a primary, the emulation and a replica may take beside: much for them, and less than another way.
const BESIDE: Duration = Duration::from_millis(10);

/// Probes redis-server's replication over an emulated link.
fn probe_replication(namespaces: &Namespaces, devices: Vec<SyncDevice>, home: &Path) -> Lag {
    let profile = LinkProfile::with_rtt_us(2 * ONE_WAY.as_micros() as u64);
    let _forwarder = Forwarder::start(devices, 1, |_, _| profile).unwrap();
    let running = RedisLike::redis().start(&namespaces.sites, home).unwrap();
    let probing = Probing {
        source: running[0].site.client,
        label: "test".to_owned(),
        targets: vec![(running[1].site.client, Duration::ZERO)],
        start: Instant::now() + CONNECT_TIME,
        warm_up: Duration::ZERO,
        length: LENGTH,
        never_after: Duration::from_secs(20),
        reconnects: false,
    };
    probing.run(&AtomicBool::new(false)).unwrap().remove(0)
}

#[test]
fn no_write_is_seen_before_the_link_has_carried_it() {
    if find_program("redis-server").is_none() {
        eprintln!("skipped: redis-server is not installed");
        return;
    }
    let _alone = MEASURING.lock();
    let mut medians_ms = Vec::new();
    for run in 0..RUNS {
        let home = tempfile::tempdir().unwrap();
        let (namespaces, devices) = match Namespaces::make(&["a", "b"], CUBIC) {
            Ok(made) => made,
            Err(error) => {
                assert!(error.is_forbidden(), "{error}");
                eprintln!("skipped: {error}");
                return;
            }
        };
        let lag = probe_replication(&namespaces, devices, home.path());
        assert_eq!((lag.figures().probes, lag.never), (PROBES, 0), "run {run}");
        let least = lag.series.iter().map(|(_, took)| *took).min().unwrap();
        assert!(least >= ONE_WAY, "{least:?} over a link of {ONE_WAY:?}");
        let median_ms = lag.figures().p50_ms;
        if median_ms <= (ONE_WAY + BESIDE).as_secs_f64() * 1e3 {
            return;
        }
        medians_ms.push(median_ms);
    }
    panic!("no median is near {ONE_WAY:?}: {medians_ms:?} ms")
}
