//! Carries packets between the TUN devices of regions as the links' models say, and measures how well it does.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io::{self, ErrorKind},
    mem::MaybeUninit,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use greenwich_proto::{
    netem::{DropReason, Link, LinkProfile, Verdict},
    time::Time,
};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    thread::set_current_timer_slack,
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};
use tun_rs::SyncDevice;

use super::namespaces::destination;
use crate::load::record::histogram;

/// The longest packet that a TUN device gives.
const PACKET_BYTES_MAX: usize = 64 * 1024;
/// Packets taken from one region before the next one's turn.
const PACKETS_AT_ONCE: usize = 64;
/// Packets under way; more are dropped, as a router would.
const PACKETS_MAX: usize = 200_000;
/// The longest wait, so that a stop is noticed.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// A forwarder of its own thread; dropping it ends it.
#[derive(Debug)]
pub struct Forwarder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    links: Mutex<Links>,
    report: Mutex<Account>,
}

/// Links from each region to each, in rows.
#[derive(Debug)]
struct Links {
    regions: usize,
    links: Vec<Link>,
}

impl Links {
    fn at(&mut self, from: usize, to: usize) -> Option<&mut Link> {
        (from < self.regions && to < self.regions)
            .then(|| &mut self.links[from * self.regions + to])
    }
}

#[derive(Debug)]
struct Account {
    delay_error: Histogram<u64>,
    counts: ForwarderCounts,
    cpu: Duration,
    began: Instant,
}

/// What became of packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ForwarderCounts {
    /// Taken from a region.
    pub taken: u64,
    /// Given to a region.
    pub given: u64,
    /// Lost by chance, as planned.
    pub lost: u64,
    /// Dropped because the queue before a link's rate was full, as planned.
    pub queue_full: u64,
    /// Dropped by a cut.
    pub cut: u64,
    /// Dropped by the forwarder's own limits or by a region's device.
    pub own_fault: u64,
}

/// How well a forwarder did.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct ForwarderReport {
    /// What became of packets.
    pub counts: ForwarderCounts,
    /// How late packets were given to their region, in microseconds: median.
    pub error_us_p50: f64,
    /// The same, 99 of 100.
    pub error_us_p99: f64,
    /// The same, at worst.
    pub error_us_max: f64,
    /// Its share of one processor.
    pub cpu_share: f64,
}

/// A forwarder that was busier than this, or later, has measured itself.
const CPU_SHARE_MAX: f64 = 0.8;
const ERROR_US_P99_MAX: f64 = 2_000.0;

impl ForwarderReport {
    /// Why what was measured through it says more of it than of the servers, if so.
    #[must_use]
    pub fn bottleneck(&self) -> Option<String> {
        if self.cpu_share > CPU_SHARE_MAX {
            return Some(format!(
                "the forwarder used {:.0} % of a processor",
                self.cpu_share * 100.0
            ));
        }
        if self.error_us_p99 > ERROR_US_P99_MAX {
            return Some(format!(
                "the forwarder was late by {:.1} ms at p99",
                self.error_us_p99 / 1e3
            ));
        }
        let lost = self.counts.own_fault as f64 / self.counts.taken.max(1) as f64;
        (lost > 0.001).then(|| {
            format!(
                "the forwarder itself dropped {:.2} % of the packets",
                lost * 100.0
            )
        })
    }
}

impl Forwarder {
    /// Starts between `devices`; `profile` is asked for the link from one region to another.
    ///
    /// # Errors
    /// When the system refuses a thread or an event queue.
    pub fn start(
        devices: Vec<SyncDevice>,
        seed: u64,
        profile: impl Fn(usize, usize) -> LinkProfile,
    ) -> io::Result<Self> {
        let regions = devices.len();
        let pairs = (0..regions).flat_map(|from| (0..regions).map(move |to| (from, to)));
        let links = pairs.map(|(from, to)| {
            Link::new(
                profile(from, to),
                seed.wrapping_add((from * regions + to) as u64),
            )
        });
        let account = Account {
            delay_error: histogram(),
            counts: ForwarderCounts::default(),
            cpu: Duration::ZERO,
            began: Instant::now(),
        };
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            links: Mutex::new(Links {
                regions,
                links: links.collect(),
            }),
            report: Mutex::new(account),
        });
        let carrier = Carrier::new(devices, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("forwarder".to_owned())
            .spawn(move || carrier.run())?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Changes what all links do to packets that are sent from here on.
    pub fn set_profile(&self, profile: LinkProfile) {
        let mut links = self.shared.links.lock();
        links
            .links
            .iter_mut()
            .for_each(|link| link.set_profile(profile));
    }

    /// Cuts the link from one region to another, or heals it.
    pub fn set_cut(&self, from: usize, to: usize, cut: bool) {
        if let Some(link) = self.shared.links.lock().at(from, to) {
            link.set_cut(cut);
        }
    }

    /// How well it did since its start or the last call.
    #[must_use]
    pub fn take_report(&self) -> ForwarderReport {
        let mut account = self.shared.report.lock();
        let micros = |nanos: u64| nanos as f64 / 1e3;
        let error = |quantile| micros(account.delay_error.value_at_quantile(quantile));
        let report = ForwarderReport {
            counts: account.counts,
            error_us_p50: error(0.5),
            error_us_p99: error(0.99),
            error_us_max: micros(account.delay_error.max()),
            cpu_share: account.cpu.as_secs_f64() / account.began.elapsed().as_secs_f64().max(1e-9),
        };
        *account = Account {
            delay_error: histogram(),
            counts: ForwarderCounts::default(),
            cpu: Duration::ZERO,
            began: Instant::now(),
        };
        report
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => eprintln!("greenwich-bench: the forwarder failed: {error}"),
            Some(Err(_)) => eprintln!("greenwich-bench: the forwarder panicked"),
            Some(Ok(Ok(()))) | None => {}
        }
    }
}

/// A packet under way, the earliest first.
type UnderWay = Reverse<(Time, u64, usize, Vec<u8>)>;

struct Carrier {
    devices: Vec<SyncDevice>,
    shared: Arc<Shared>,
    epoll: rustix::fd::OwnedFd,
    start: Instant,
    under_way: BinaryHeap<UnderWay>,
    next_id: u64,
    cpu_seen: Duration,
}

impl Carrier {
    fn new(devices: Vec<SyncDevice>, shared: Arc<Shared>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        for (index, device) in devices.iter().enumerate() {
            device.set_nonblocking(true)?;
            epoll::add(
                &epoll,
                device,
                EventData::new_u64(index as u64),
                EventFlags::IN,
            )?;
        }
        let start = Instant::now();
        let (under_way, next_id, cpu_seen) = (BinaryHeap::new(), 0, Duration::ZERO);
        Ok(Self {
            devices,
            shared,
            epoll,
            start,
            under_way,
            next_id,
            cpu_seen,
        })
    }

    fn run(mut self) -> io::Result<()> {
        // Where the kernel has no such setting, wake-ups are late by its default, which the error shows.
        let _default = set_current_timer_slack(Some(std::num::NonZeroU64::MIN));
        self.cpu_seen = thread_cpu();
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.give_due();
            let timeout = Timespec::try_from(self.wait_time()).expect("it is at most WAIT_MAX");
            let mut events = [MaybeUninit::<Event>::uninit(); 16];
            let ready: Vec<usize> = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
                Ok((ready, _)) => ready
                    .iter()
                    .map(|event| event.data.u64() as usize)
                    .collect(),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for from in ready {
                self.take(from, &mut buffer)?;
            }
            self.note_cpu();
        }
        Ok(())
    }

    fn now(&self) -> Time {
        Time(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn wait_time(&self) -> Duration {
        let Some(Reverse((at, ..))) = self.under_way.peek() else {
            return WAIT_MAX;
        };
        let at = self.start + Duration::from_micros(at.0);
        at.saturating_duration_since(Instant::now()).min(WAIT_MAX)
    }

    /// Gives every packet that is due to its region.
    fn give_due(&mut self) {
        while let Some(Reverse((at, ..))) = self.under_way.peek()
            && *at <= self.now()
        {
            let Some(Reverse((at, _, to, packet))) = self.under_way.pop() else {
                return;
            };
            let given = self.devices[to].send(&packet).is_ok();
            let due = self.start + Duration::from_micros(at.0);
            let late = Instant::now().saturating_duration_since(due);
            let mut account = self.shared.report.lock();
            match given {
                true => account.counts.given += 1,
                false => account.counts.own_fault += 1,
            }
            account
                .delay_error
                .saturating_record(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX).max(1));
        }
    }

    /// Takes what a region has sent.
    fn take(&mut self, from: usize, buffer: &mut [u8]) -> io::Result<()> {
        for _ in 0..PACKETS_AT_ONCE {
            let bytes = match self.devices[from].recv(buffer) {
                Ok(bytes) => bytes,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            self.route(from, &buffer[..bytes]);
        }
        Ok(())
    }

    fn route(&mut self, from: usize, packet: &[u8]) {
        let now = self.now();
        let shared = Arc::clone(&self.shared);
        let mut links = shared.links.lock();
        // What is meant for no region, such as neighbour discovery, is nobody's loss.
        let Some((to, link)) = destination(packet).and_then(|to| Some((to, links.at(from, to)?)))
        else {
            return;
        };
        let verdict = match self.under_way.len() < PACKETS_MAX {
            true => Some(link.send(now, packet.len())),
            false => None,
        };
        drop(links);
        let mut account = shared.report.lock();
        let counts = &mut account.counts;
        counts.taken += 1;
        match verdict {
            Some(Verdict::Deliver { at, duplicate_at }) => {
                for at in [Some(at), duplicate_at].into_iter().flatten() {
                    self.under_way
                        .push(Reverse((at, self.next_id, to, packet.to_vec())));
                    self.next_id += 1;
                }
            }
            Some(Verdict::Drop(DropReason::Loss)) => counts.lost += 1,
            Some(Verdict::Drop(DropReason::Queue)) => counts.queue_full += 1,
            Some(Verdict::Drop(DropReason::Cut)) => counts.cut += 1,
            None => counts.own_fault += 1,
        }
    }

    fn note_cpu(&mut self) {
        let cpu = thread_cpu();
        self.shared.report.lock().cpu += cpu - self.cpu_seen;
        self.cpu_seen = cpu;
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
