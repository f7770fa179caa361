//! Whether the generator tells the truth: a server that delays and stalls knows when it answered what, and so knows every
//! latency, counted from the start that the schedule intended.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod common;

use std::{
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use common::answer_all;
use greenwich_bench::load::{
    Load,
    generator::Progress,
    record::{Record, Second, histogram},
    schedule::Schedule,
};
use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// The longest time to wait for a connection or a byte.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a server answers: after `delay`, and not at all while it stalls. Times are since the start of the run.
#[derive(Clone, Copy)]
struct Temper {
    delay: Duration,
    /// Until when it takes this long instead.
    slow: Option<(Duration, Duration)>,
    stall: Option<(Duration, Duration)>,
    /// From when on it never answers.
    silent_from: Duration,
}

impl Temper {
    fn steady(delay: Duration) -> Self {
        Self {
            delay,
            slow: None,
            stall: None,
            silent_from: Duration::MAX,
        }
    }

    fn answers_at(self, arrival: Duration) -> Option<Duration> {
        let at = match self.slow {
            Some((until, delay)) if arrival < until => arrival + delay,
            _ => arrival + self.delay,
        };
        let at = match self.stall {
            Some((from, length)) if (from..from + length).contains(&at) => from + length,
            _ => at,
        };
        (at < self.silent_from).then_some(at)
    }
}

/// What a server knows of a connection, in times since the start of the run.
struct Truth {
    first_arrival: Duration,
    answered: Vec<Duration>,
}

/// Serves so many connections until they end.
fn serve(
    temper: Temper,
    connections: usize,
    start: Instant,
) -> (SocketAddr, mpsc::Receiver<Truth>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, truths) = mpsc::channel();
    thread::spawn(move || {
        for _ in 0..connections {
            let (stream, _) = listener.accept().unwrap();
            let told = told.clone();
            // The test may have failed and gone.
            thread::spawn(move || told.send(serve_one(stream, temper, start)).ok());
        }
    });
    (address, truths)
}

fn serve_one(stream: TcpStream, temper: Temper, start: Instant) -> Truth {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut replies = stream.try_clone().unwrap();
    let (arrived, due) = mpsc::channel::<Duration>();
    let answering = thread::spawn(move || {
        let mut answered = Vec::new();
        for at in due.iter().filter_map(|arrival| temper.answers_at(arrival)) {
            thread::sleep((start + at).saturating_duration_since(Instant::now()));
            if replies.write_all(b"+PONG\r\n").is_ok() {
                answered.push(start.elapsed());
            }
        }
        answered
    });
    let mut first_arrival = Duration::MAX;
    answer_all(stream, |_| {
        let arrival = start.elapsed();
        first_arrival = first_arrival.min(arrival);
        arrived.send(arrival).unwrap();
        Vec::new()
    });
    drop(arrived);
    Truth {
        first_arrival,
        answered: answering.join().unwrap(),
    }
}

/// What a server is asked, by PINGs.
#[derive(Clone, Copy)]
struct Case {
    temper: Temper,
    rate: f64,
    length: Duration,
    warm_up: Duration,
    pipeline: usize,
    /// Each has a connection.
    threads: usize,
}

impl Case {
    fn plain(temper: Temper) -> Self {
        Self {
            temper,
            rate: 500.0,
            length: Duration::from_secs(3),
            warm_up: Duration::ZERO,
            pipeline: 1,
            threads: 1,
        }
    }

    /// What the generator says and what the server knows, a connection of each thread after the other.
    fn run(self) -> (Record, Vec<Truth>) {
        let start = Instant::now() + Duration::from_millis(100);
        let (address, truths) = serve(self.temper, self.threads, start);
        let load = Load {
            rate: Some(self.rate),
            length: self.length,
            warm_up: self.warm_up,
            connections: self.threads,
            pipeline: self.pipeline,
            threads: self.threads,
            ..Load::pings(address)
        };
        let record = load.run_from(start, &Progress::default()).unwrap();
        let truths = (0..self.threads).map(|_| truths.recv_timeout(PATIENCE).unwrap());
        let mut truths: Vec<Truth> = truths.collect();
        // The first thread has the first slot.
        truths.sort_by_key(|truth| truth.first_arrival);
        (record, truths)
    }

    /// What the generator says, and the true latencies, in nanoseconds, where every slot is answered.
    fn measure(self) -> (Record, Histogram<u64>) {
        let (record, truths) = self.run();
        let mut expected = histogram();
        let slots_per_second = self.rate / self.pipeline as f64;
        for (thread, truth) in truths.iter().enumerate() {
            let mut schedule = Schedule::new(slots_per_second, self.length, thread, self.threads);
            for slot in truth.answered.chunks(self.pipeline) {
                let intended = schedule
                    .take(Duration::MAX)
                    .expect("an answer for each slot");
                for answered in slot.iter().filter(|_| intended >= self.warm_up) {
                    let latency = answered
                        .checked_sub(intended)
                        .expect("answers follow their slots");
                    expected
                        .record(u64::try_from(latency.as_nanos()).unwrap())
                        .unwrap();
                }
            }
            assert_eq!(schedule.left(), 0, "every slot was answered");
        }
        let last = truths.iter().filter_map(|truth| truth.answered.last());
        let last = *last.max().expect("something was answered");
        // The server notes an answer when it was sent.
        assert!(record.last_at + Duration::from_millis(500) > last && record.last_at < PATIENCE);
        assert_eq!((record.missed, record.unanswered), (0, 0));
        assert_eq!(record.answered, expected.len());
        (record, expected)
    }
}

/// What differs by more than 2 %.
fn errors(record: &Record, expected: &Histogram<u64>) -> Vec<String> {
    let measured = record.total();
    let mut errors = Vec::new();
    for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        let (measured, expected) = (
            measured.value_at_quantile(quantile),
            expected.value_at_quantile(quantile),
        );
        let error = measured as f64 / expected as f64 - 1.0;
        if error.abs() > 0.02 {
            errors.push(format!(
                "{name}: {measured} ns measured, {expected} ns true"
            ));
        }
    }
    errors
}

/// A busy machine may keep the generator from reading a reply that is there. That spoils a run, but it makes no wrong
/// generator right: one run of these must be true. Delays are long for the same reason: a scheduler's milliseconds are no
/// 2 % of them.
const RUNS: usize = 8;
/// Tests that measure do not disturb each other.
static MEASURING: Mutex<()> = Mutex::new(());

fn measure_truly(case: Case) -> Record {
    let _alone = MEASURING.lock();
    let mut found = Vec::new();
    for _ in 0..RUNS {
        let (record, expected) = case.measure();
        assert!(
            expected.min() + 1_000_000 >= case.temper.delay.as_nanos() as u64,
            "the server delays"
        );
        let errors = errors(&record, &expected);
        if errors.is_empty() {
            return record;
        }
        found.push(errors);
    }
    panic!("no run is within 2 %: {found:?}")
}

#[test]
fn a_steady_delay_is_measured() {
    let case = Case::plain(Temper::steady(Duration::from_millis(200)));
    assert_eq!(measure_truly(case).errors(), 0);
}

#[test]
fn a_delay_is_measured_of_each_of_the_requests_that_threads_send_together() {
    let record = measure_truly(Case {
        pipeline: 4,
        threads: 2,
        ..Case::plain(Temper::steady(Duration::from_millis(200)))
    });
    assert_eq!((record.answered, record.errors()), (1500, 0));
}

#[test]
fn a_server_that_is_slow_during_the_warm_up_is_measured_without_it() {
    let slow = Duration::from_millis(600);
    let record = measure_truly(Case {
        warm_up: Duration::from_secs(2),
        ..Case::plain(Temper {
            slow: Some((Duration::from_secs(1), slow)),
            ..Temper::steady(Duration::from_millis(200))
        })
    });
    assert_eq!(record.answered, 500, "those of the last second");
    assert_eq!(record.seconds[..2], [Second::default(); 2]);
    assert!(u128::from(record.total().value_at_quantile(0.9)) < slow.as_nanos());
}

/// A fifth of all requests is due while it stalls.
fn stalling() -> Temper {
    Temper {
        stall: Some((Duration::from_secs(1), Duration::from_millis(600))),
        ..Temper::steady(Duration::from_millis(100))
    }
}

/// The share of requests with more than 200 ms.
fn share_of_long(times: &Histogram<u64>) -> f64 {
    times.count_between(200_000_000, u64::MAX) as f64 / times.len() as f64
}

#[test]
fn a_stall_is_charged_for_everything_that_should_have_been_asked_meanwhile() {
    // They wait evenly from the whole stall down to nothing: a sixth of all, or more on a machine that stalls by itself.
    // A generator that waits with the server would have noticed one of them.
    let share = share_of_long(&measure_truly(Case::plain(stalling())).total());
    assert!(
        share > 0.14,
        "{share} of all requests waited for longer than 200 ms"
    );
}

#[test]
fn what_waits_for_room_is_the_latency_of_the_server_and_no_lateness_of_the_generator() {
    // The 1024 requests that a connection has room for are 200 ms of the stall.
    let record = measure_truly(Case {
        rate: 5000.0,
        ..Case::plain(stalling())
    });
    let (waited, late) = (
        share_of_long(&record.total()),
        share_of_long(&record.lateness),
    );
    assert!(waited > 0.14, "{waited} of all requests waited");
    assert!(late < 0.05, "{late} of all requests were sent late");
}

#[test]
fn slots_that_are_never_sent_are_counted() {
    let case = Case {
        rate: 5000.0,
        length: Duration::from_secs(1),
        ..Case::plain(Temper {
            silent_from: Duration::from_millis(400),
            ..Temper::steady(Duration::from_millis(20))
        })
    };
    let (record, truths) = case.run();
    assert_eq!(record.answered, truths[0].answered.len() as u64);
    assert!(record.missed > 0, "room for 1024 requests is not enough");
    assert_eq!(record.unanswered, 1024, "all room is used");
    let slots = record.answered + record.unanswered + record.missed;
    assert_eq!(slots, 5000);
    assert!(record.last_at < case.length, "the last answer came before");
}

#[test]
fn a_generator_that_is_late_says_by_how_much() {
    // Everything is due when it begins, the first slot a second ago and the last one half a second ago.
    let start = Instant::now() - Duration::from_secs(1);
    let (address, _truths) = serve(Temper::steady(Duration::ZERO), 1, start);
    let load = Load {
        rate: Some(500.0),
        length: Duration::from_millis(500),
        ..Load::pings(address)
    };
    let record = load.run_from(start, &Progress::default()).unwrap();
    let ended = start.elapsed();
    assert_eq!((record.answered, record.lateness.len()), (250, 250));
    let late = |quantile| Duration::from_nanos(record.lateness.value_at_quantile(quantile));
    for (quantile, late_min) in [(0.0, 500), (0.5, 740), (0.99, 990)] {
        let found = late(quantile);
        // Histograms keep three digits.
        let (least, most) = (Duration::from_millis(late_min), ended.mul_f64(1.001));
        assert!(found >= least && found <= most, "{quantile}: {found:?}");
    }
}
