//! Whether the generator tells the truth: a server that delays and stalls knows when it answered what, and so knows every
//! latency, counted from the start that the schedule intended.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use greenwich_bench::load::{
    generator::{Pace, Progress, Share, run},
    keys::{KeySpread, Keys},
    mix::{Mix, Requests},
    record::{Record, histogram},
    reply,
    schedule::Schedule,
    values::{ValueContent, ValueSize, Values},
};
use hdrhistogram::Histogram;
use rand::{SeedableRng, rngs::StdRng};

const RATE: f64 = 500.0;
const LENGTH: Duration = Duration::from_secs(3);
/// Requests in flight, more than any server here has at a time.
const ROOM: usize = 4096;
/// The longest time to wait for a connection or a byte.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a server answers: after `delay`, and not at all while it stalls.
#[derive(Clone, Copy)]
struct Temper {
    delay: Duration,
    /// Since the start of the run.
    stall: Option<(Duration, Duration)>,
}

impl Temper {
    fn answers_at(self, arrival: Duration) -> Duration {
        let at = arrival + self.delay;
        match self.stall {
            Some((from, length)) if (from..from + length).contains(&at) => from + length,
            _ => at,
        }
    }
}

/// Serves one connection until it ends; tells when each request was answered, since `start`.
fn serve(temper: Temper, start: Instant) -> (SocketAddr, mpsc::Receiver<Vec<Duration>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, truth) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut replies = stream.try_clone().unwrap();
        let (arrived, due) = mpsc::channel::<Duration>();
        let answering = thread::spawn(move || {
            let mut answered = Vec::new();
            for arrival in due {
                let at = start + temper.answers_at(arrival);
                thread::sleep(at.saturating_duration_since(Instant::now()));
                if replies.write_all(b"+PONG\r\n").is_err() {
                    break;
                }
                answered.push(start.elapsed());
            }
            answered
        });
        let mut unread = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            unread.extend_from_slice(&buffer[..read]);
            while let Some(request) = reply::scan(&unread).unwrap() {
                unread.drain(..request.bytes);
                arrived.send(start.elapsed()).unwrap();
            }
        }
        drop(arrived);
        // The test may have failed and gone.
        let _gone = told.send(answering.join().unwrap());
    });
    (address, truth)
}

/// Runs a load of PINGs, and returns what the generator says and what the server knows, in nanoseconds.
fn measure(temper: Temper, in_flight_max: usize) -> (Record, Histogram<u64>) {
    let start = Instant::now() + Duration::from_millis(100);
    let (address, truth) = serve(temper, start);
    let schedule = Schedule::new(RATE, LENGTH, 0, 1);
    let share = Share {
        address,
        resp3: false,
        connections: 1,
        pipeline: 1,
        in_flight_max,
        pace: Pace::Open(schedule.clone()),
        warm_up: Duration::ZERO,
        reconnects: false,
    };
    let mut random = StdRng::seed_from_u64(1);
    let values = Values::new(ValueSize::Fixed(1), ValueContent::Random, &mut random);
    let keys = Keys::new(1, KeySpread::Uniform).unwrap();
    let requests = Requests::new(Mix::Ping, keys, values, 0, random);
    let record = run(share, requests, || start, &Progress::default()).unwrap();
    let mut expected = histogram();
    let mut schedule = schedule;
    let mut last = Duration::ZERO;
    for answered in truth.recv_timeout(PATIENCE).unwrap() {
        let intended = schedule
            .take(Duration::MAX)
            .expect("an answer for each slot");
        let latency = answered
            .checked_sub(intended)
            .expect("answers follow their slots");
        expected
            .record(u64::try_from(latency.as_nanos()).unwrap())
            .unwrap();
        last = last.max(answered);
    }
    // The server notes an answer after it was sent.
    assert!(record.last_at + Duration::from_millis(500) > last && record.last_at < PATIENCE);
    assert_eq!(schedule.left(), 0, "every slot was answered");
    assert_eq!((record.missed, record.unanswered), (0, 0));
    assert_eq!(record.answered, expected.len());
    (record, expected)
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
/// generator right: one run of these must be true.
const RUNS: usize = 5;

fn measure_truly(temper: Temper, in_flight_max: usize) -> Record {
    let mut found = Vec::new();
    for _ in 0..RUNS {
        let (record, expected) = measure(temper, in_flight_max);
        assert!(
            expected.min() + 1_000_000 >= temper.delay.as_nanos() as u64,
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
    let delay = Duration::from_millis(40);
    let record = measure_truly(Temper { delay, stall: None }, ROOM);
    assert_eq!(record.errors(), 0);
}

/// 600 ms at 500 a second: a fifth of all requests wait.
fn stalling() -> Temper {
    Temper {
        delay: Duration::from_millis(20),
        stall: Some((Duration::from_secs(1), Duration::from_millis(600))),
    }
}

/// The share of requests with more than 120 ms.
fn share_of_long(times: &Histogram<u64>) -> f64 {
    times.count_between(120_000_000, u64::MAX) as f64 / times.len() as f64
}

#[test]
fn a_stall_is_charged_for_everything_that_should_have_been_asked_meanwhile() {
    // They wait evenly from the whole stall down to nothing. A generator that waits with the server would have noticed
    // one of them.
    let share = share_of_long(&measure_truly(stalling(), ROOM).total());
    assert!(
        (0.14..0.20).contains(&share),
        "{share} of all requests waited for longer than 120 ms"
    );
}

#[test]
fn what_waits_for_room_is_the_latency_of_the_server_and_no_lateness_of_the_generator() {
    // At 500 a second and with 20 ms of delay ten are in flight, and the room for more is used up early in the stall.
    let record = measure_truly(stalling(), 32);
    let (waited, late) = (
        share_of_long(&record.total()),
        share_of_long(&record.lateness),
    );
    assert!(waited > 0.14, "{waited} of all requests waited");
    assert!(late < 0.05, "{late} of all requests were sent late");
}
