use std::collections::VecDeque;

use greenwich_proto::rng::Rng;

use super::*;

const PACKET: u64 = 1400;
const ROUND_TRIP: Duration = Duration::from_millis(80);

/// A path with a rate and a queue, and a sender that always or sometimes has something to send.
struct Path {
    controller: Steady,
    start: Instant,
    now: Duration,
    idle_at: Duration,
    in_flight: VecDeque<Packet>,
    /// Bytes that may be sent at once, and how fast they become more: windows each round trip.
    burst: f64,
    pace: f64,
    waits: Vec<Duration>,
    delivered: u64,
    lost: u64,
    /// Bytes that the sender could not send yet.
    owed: f64,
    /// Nothing is acknowledged for the second time every first one: neither side runs.
    stalls: Option<(Duration, Duration)>,
    round_trip: Duration,
    /// A packet that would have to wait for longer is dropped.
    queue_max: Duration,
    /// The share that is lost at random.
    loss: f64,
    rng: Rng,
}

struct Packet {
    sent: Duration,
    /// When its acknowledgement arrives, or that of the one after it, which shows that it is lost.
    known_at: Duration,
    is_lost: bool,
}

impl Path {
    fn new() -> Self {
        let start = Instant::now();
        Self {
            controller: Steady::new(256 * 1024, 1400, start),
            start,
            now: Duration::ZERO,
            idle_at: Duration::ZERO,
            in_flight: VecDeque::new(),
            burst: 0.0,
            pace: f64::INFINITY,
            waits: Vec::new(),
            delivered: 0,
            lost: 0,
            owed: 0.0,
            stalls: None,
            round_trip: ROUND_TRIP,
            queue_max: Duration::MAX,
            loss: 0.0,
            rng: Rng::new(1),
        }
    }

    /// For `length`: `rate` is the path's in bytes per second, `offered` the sender's.
    fn run(&mut self, length: Duration, rate: f64, offered: Option<f64>) {
        let end = self.now + length;
        self.waits.clear();
        (self.delivered, self.lost) = (0, 0);
        while self.now < end {
            let step = Duration::from_micros(500);
            self.now += step;
            let more = |offered: f64| self.owed + offered * step.as_secs_f64();
            self.owed = offered.map_or(f64::MAX, more);
            let is_stalled = |(every, lasts): (Duration, Duration)| {
                self.now.as_micros() % every.as_micros() < lasts.as_micros()
            };
            if self.stalls.is_some_and(is_stalled) {
                continue;
            }
            let is_limited = self.send(step, rate);
            self.receive(is_limited);
        }
    }

    /// Whether there is nothing more to send.
    fn send(&mut self, step: Duration, rate: f64) -> bool {
        let window = self.controller.window();
        let more = window as f64 * self.pace * step.div_duration_f64(self.round_trip);
        self.burst = (self.burst + more).min((more * 4.0).max(PACKET as f64));
        while self.in_flight.len() as u64 * PACKET < window {
            if self.owed < PACKET as f64 {
                return true;
            }
            if self.burst < PACKET as f64 {
                return false;
            }
            self.burst -= PACKET as f64;
            self.owed -= PACKET as f64;
            let wait = self.idle_at.saturating_sub(self.now);
            let is_dropped = wait > self.queue_max;
            if !is_dropped {
                self.waits.push(wait);
                let spent = Duration::from_secs_f64(PACKET as f64 / rate);
                self.idle_at = self.idle_at.max(self.now) + spent;
            }
            self.in_flight.push_back(Packet {
                sent: self.now,
                known_at: self.idle_at + self.round_trip,
                is_lost: self.rng.chance(self.loss) || is_dropped,
            });
        }
        false
    }

    /// As real ones: one acknowledgement for several packets, then what it shows to be lost, which is to be sent again.
    fn receive(&mut self, is_limited: bool) {
        let now = self.start + self.now;
        let mut lost = None;
        while let Some(packet) = self
            .in_flight
            .pop_front_if(|packet| packet.known_at <= self.now)
        {
            let sent = self.start + packet.sent;
            if packet.is_lost {
                self.lost += PACKET;
                self.owed += PACKET as f64;
                lost = Some((sent, lost.map_or(0, |(_, bytes)| bytes) + PACKET));
            } else {
                self.delivered += PACKET;
                self.controller.acknowledge(now, sent, PACKET, is_limited);
            }
        }
        if let Some((sent, bytes)) = lost {
            self.controller.on_congestion_event(now, sent, false, bytes);
        }
    }

    fn used(&self, length: Duration, rate: f64) -> f64 {
        self.delivered as f64 / length.as_secs_f64() / rate
    }

    fn lost_share(&self) -> f64 {
        self.lost as f64 / (self.lost + self.delivered) as f64
    }

    fn wait_median(&mut self) -> Duration {
        self.waits.sort_unstable();
        self.waits[self.waits.len() / 2]
    }
}

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

#[test]
fn a_full_path_is_used_up_and_its_queue_is_short() {
    let mut path = Path::new();
    path.run(SECONDS(3), 1.3e6, None);
    path.run(SECONDS(30), 1.3e6, None);
    let used = path.delivered as f64 / 30.0 / 1.3e6;
    assert!(used > 0.95, "{used} of the path");
    let wait = path.wait_median();
    assert!(wait < ROUND_TRIP / 5, "{wait:?} in the queue");
    path.waits.sort_unstable();
    let worst = path.waits[path.waits.len() * 99 / 100];
    assert!(worst < ROUND_TRIP.mul_f64(0.35), "{worst:?} at p99");
}

#[test]
fn a_path_that_becomes_wider_or_narrower_is_followed() {
    let mut path = Path::new();
    path.run(SECONDS(5), 1.3e6, None);
    path.run(SECONDS(3), 10e6, None);
    path.run(SECONDS(5), 10e6, None);
    let used = path.delivered as f64 / 5.0 / 10e6;
    assert!(used > 0.9, "{used} of the wider path");
    path.run(SECONDS(5), 2e6, None);
    path.run(SECONDS(5), 2e6, None);
    let wait = path.wait_median();
    assert!(
        wait < ROUND_TRIP / 4,
        "{wait:?} in the queue of the narrower path"
    );
}

#[test]
fn a_sender_with_little_to_send_may_catch_up_at_once() {
    let mut path = Path::new();
    path.run(SECONDS(5), 20e6, Some(1e6));
    let window = path.controller.window();
    assert!(window >= 256 * 1024, "{window} bytes");
    assert_eq!(path.controller.phase, Phase::Start);
}

#[test]
fn hosts_that_stall_are_no_full_path() {
    let mut path = Path::new();
    path.stalls = Some((Duration::from_millis(700), Duration::from_millis(120)));
    path.run(SECONDS(30), 100e6, Some(4e6));
    assert!(path.owed < 4e6 * 0.3, "{} bytes wait", path.owed);
    path.stalls = Some((SECONDS(3), SECONDS(1)));
    path.run(SECONDS(31), 100e6, Some(4e6));
    assert!(path.owed < 4e6 * 0.3, "{} bytes wait", path.owed);
}

#[test]
fn a_path_that_becomes_longer_is_no_full_path_for_long() {
    let mut path = Path::new();
    path.run(SECONDS(5), 10e6, None);
    path.round_trip = ROUND_TRIP * 2;
    path.run(SECONDS(5), 10e6, None);
    path.run(SECONDS(5), 10e6, None);
    let used = path.delivered as f64 / 5.0 / 10e6;
    assert!(used > 0.9, "{used} of the path");
}

#[test]
fn silence_for_long_starts_over() {
    let mut path = Path::new();
    path.run(SECONDS(5), 1.3e6, None);
    let now = path.start + path.now;
    path.controller.on_congestion_event(now, now, true, 1400);
    assert_eq!(path.controller.window(), 256 * 1024);
}

/// A path whose packets are spread over the round trip, as quinn does: bursts alone would overflow a short queue.
fn paced() -> Path {
    Path {
        pace: 1.25,
        ..Path::new()
    }
}

#[test]
fn a_full_path_that_drops_instead_of_queueing_is_not_flooded() {
    for rate in [1.3e6, 10e6] {
        let mut path = paced();
        path.queue_max = Duration::from_millis(2);
        path.run(SECONDS(5), rate, None);
        path.run(SECONDS(30), rate, None);
        let (used, lost) = (path.used(SECONDS(30), rate), path.lost_share());
        assert!(lost < 0.05, "{lost} lost of what was sent at {rate}");
        assert!(used > 0.85, "{used} of the path of {rate}");
    }
}

#[test]
fn a_path_that_drops_and_becomes_wider_is_followed() {
    let mut path = paced();
    path.queue_max = Duration::from_millis(2);
    path.run(SECONDS(5), 1.3e6, None);
    path.run(SECONDS(15), 10e6, None);
    path.run(SECONDS(5), 10e6, None);
    let used = path.used(SECONDS(5), 10e6);
    assert!(used > 0.85, "{used} of the wider path");
    path.run(SECONDS(15), 2e6, None);
    path.run(SECONDS(15), 2e6, None);
    let lost = path.lost_share();
    assert!(lost < 0.1, "{lost} lost on the narrower path");
}

#[test]
fn random_loss_holds_up_no_sender_that_offers_less() {
    for loss in [0.01, 0.05, 0.2, 0.3] {
        let mut path = paced();
        path.loss = loss;
        path.run(SECONDS(5), 10e6, Some(5e6));
        for _ in 0..300 {
            path.run(Duration::from_millis(100), 10e6, Some(5e6));
            assert!(path.owed < 0.01 * 5e6, "{} bytes wait", path.owed);
            let window = path.controller.window();
            assert!(window >= 256 * 1024, "{window} bytes with loss of {loss}");
        }
    }
}

#[test]
fn random_loss_is_no_full_path() {
    for rate in [1.3e6, 10e6] {
        for loss in [0.01, 0.05, 0.2, 0.3] {
            let mut path = paced();
            path.loss = loss;
            path.run(SECONDS(5), rate, None);
            path.run(SECONDS(30), rate, None);
            let used = path.used(SECONDS(30), rate);
            assert!(used > 0.9 * (1.0 - loss), "{used} with loss of {loss}");
            let wait = path.wait_median();
            assert!(wait < ROUND_TRIP / 5, "{wait:?} with loss of {loss}");
        }
    }
}

#[test]
fn loss_in_bursts_is_no_full_path() {
    for (every_ms, lasts_ms) in [(1000, 20), (2000, 50), (5000, 300)] {
        let mut path = paced();
        let mut delivered = 0;
        for _ in 0..30_000 / every_ms {
            for (loss, length_ms) in [(0.0, every_ms - lasts_ms), (1.0, lasts_ms)] {
                path.loss = loss;
                path.run(Duration::from_millis(length_ms), 10e6, None);
                delivered += path.delivered;
            }
        }
        let used = delivered as f64 / 30.0 / 10e6;
        assert!(used > 0.9, "{used} with {lasts_ms} of {every_ms} ms lost");
    }
}
