//! The thread of a forwarder: takes packets from devices, asks the model of their link, and gives them when they are due.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::File,
    io::{self, ErrorKind},
    mem::MaybeUninit,
    os::unix::fs::FileExt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use greenwich_proto::{netem::Verdict, time::Time};
use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    thread::set_current_timer_slack,
    time::{ClockId, clock_gettime},
};
use tun_rs::SyncDevice;

use super::Shared;
use crate::{priority::prefer_this_thread, wan::namespaces::destination};

/// The longest packet that a TUN device gives.
const PACKET_BYTES_MAX: usize = 64 * 1024;
/// Packets taken from one region before the next one's turn.
const PACKETS_AT_ONCE: usize = 64;
/// Packets under way; more are dropped, as a router would.
const PACKETS_MAX: usize = 200_000;
/// The longest wait, so that a stop is noticed.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// A packet under way, the earliest first: when it is due, its number, its link, how late it was taken, its bytes.
type UnderWay = Reverse<(Time, u64, (usize, usize), Duration, Vec<u8>)>;

pub(super) struct Carrier {
    devices: Vec<SyncDevice>,
    shared: Arc<Shared>,
    epoll: rustix::fd::OwnedFd,
    start: Instant,
    under_way: BinaryHeap<UnderWay>,
    next_id: u64,
    cpu_seen: Duration,
    /// How long the packets that are being taken have waited for this thread to get a processor.
    taken_late: Duration,
}

impl Carrier {
    pub(super) fn new(devices: Vec<SyncDevice>, shared: Arc<Shared>) -> io::Result<Self> {
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
        let (under_way, next_id) = (BinaryHeap::new(), 0);
        Ok(Self {
            devices,
            shared,
            epoll,
            start,
            under_way,
            next_id,
            cpu_seen: Duration::ZERO,
            taken_late: Duration::ZERO,
        })
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        prefer_this_thread();
        // Where the kernel has no such setting, wake-ups are late by its default, which the error shows.
        let _default = set_current_timer_slack(Some(std::num::NonZeroU64::MIN));
        self.cpu_seen = thread_cpu();
        let mut queueing = Queueing::new();
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.turn(&mut queueing, &mut buffer)?;
        }
        Ok(())
    }

    /// Gives what is due, and takes what has been sent, if need be after a wait.
    fn turn(&mut self, queueing: &mut Queueing, buffer: &mut [u8]) -> io::Result<()> {
        self.give_due();
        let timeout = Timespec::try_from(self.wait_time()).expect("it is at most WAIT_MAX");
        let mut events = [MaybeUninit::<Event>::uninit(); 16];
        let ready: Vec<usize> = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok((ready, _)) => ready
                .iter()
                .map(|event| event.data.u64() as usize)
                .collect(),
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.taken_late = queueing.since_last();
        for from in ready {
            self.take(from, buffer)?;
        }
        self.note_cpu();
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
            let Some(Reverse((at, _, link, taken_late, packet))) = self.under_way.pop() else {
                return;
            };
            let is_given = self.devices[link.1].send(&packet).is_ok();
            let due = self.start + Duration::from_micros(at.0);
            let late = taken_late + Instant::now().saturating_duration_since(due);
            self.shared.account.lock().give(link, late, is_given);
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
        let wait_us = link.wait_us(now);
        let has_room = self.under_way.len() < PACKETS_MAX;
        let verdict = has_room.then(|| link.send(now, packet.len()));
        drop(links);
        let pair = (from, to);
        let mut account = shared.account.lock();
        account.take(pair, packet.len(), wait_us, verdict);
        drop(account);
        if let Some(Verdict::Deliver { at, duplicate_at }) = verdict {
            for at in [Some(at), duplicate_at].into_iter().flatten() {
                let under_way = (at, self.next_id, pair, self.taken_late, packet.to_vec());
                self.under_way.push(Reverse(under_way));
                self.next_id += 1;
            }
        }
    }

    fn note_cpu(&mut self) {
        let cpu = thread_cpu();
        self.shared.account.lock().add_cpu(cpu - self.cpu_seen);
        self.cpu_seen = cpu;
    }
}

/// How long this thread waited for a processor, where the kernel tells: zero elsewhere.
struct Queueing {
    statistics: Option<File>,
    seen: u64,
}

impl Queueing {
    fn new() -> Self {
        let statistics = File::open("/proc/thread-self/schedstat").ok();
        let mut queueing = Self {
            statistics,
            seen: 0,
        };
        queueing.since_last();
        queueing
    }

    /// Since the last call.
    fn since_last(&mut self) -> Duration {
        let mut text = [0; 64];
        let read = |file: &File| file.read_at(&mut text, 0).ok();
        let bytes = self.statistics.as_ref().and_then(read).unwrap_or(0);
        // Time on a processor, time waiting for one, both in nanoseconds, and turns.
        let text = str::from_utf8(&text[..bytes]).unwrap_or_default();
        let nanos = text
            .split_whitespace()
            .nth(1)
            .and_then(|nanos| nanos.parse().ok());
        let nanos = nanos.unwrap_or(self.seen);
        let since = nanos - std::mem::replace(&mut self.seen, nanos).min(nanos);
        Duration::from_nanos(since)
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write, net::UdpSocket, sync::atomic::AtomicBool};

    use greenwich_proto::netem::LinkProfile;
    use parking_lot::Mutex;
    use rustix::{
        fd::AsFd,
        thread::{
            CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_getaffinity,
            sched_setaffinity,
        },
    };

    use super::*;
    use crate::wan::{
        forwarder::{Links, account::Account},
        namespaces::Namespaces,
        tcp::CUBIC,
    };

    #[test]
    fn the_wait_for_a_processor_is_read_from_the_second_number() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"100 5000 3\n").unwrap();
        let statistics = Some(file.reopen().unwrap());
        let mut queueing = Queueing {
            statistics,
            seen: 1_000,
        };
        assert_eq!(queueing.since_last(), Duration::from_nanos(4_000));
        assert_eq!(queueing.since_last(), Duration::ZERO);
        fs::write(file.path(), "200 7000 4\n").unwrap();
        assert_eq!(queueing.since_last(), Duration::from_nanos(2_000));
        let (statistics, seen) = (None, 0);
        let mut unknown = Queueing { statistics, seen };
        assert_eq!(unknown.since_last(), Duration::ZERO);
    }

    #[test]
    fn a_thread_that_shares_a_processor_waits_for_it() {
        if !std::path::Path::new("/proc/thread-self/schedstat").exists() {
            eprintln!("not checked here: this kernel does not tell what threads wait");
            return;
        }
        let possible = sched_getaffinity(None).unwrap();
        let mut one = CpuSet::new();
        one.set(
            (0..CpuSet::MAX_CPU)
                .find(|&cpu| possible.is_set(cpu))
                .unwrap(),
        );
        let is_over = AtomicBool::new(false);
        let waited = std::thread::scope(|scope| {
            let contender = || {
                sched_setaffinity(None, &one).unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            };
            scope.spawn(contender);
            let waiting = scope.spawn(|| {
                sched_setaffinity(None, &one).unwrap();
                let mut queueing = Queueing::new();
                let deadline = Instant::now() + Duration::from_secs(60);
                let mut waited = Duration::ZERO;
                while waited < Duration::from_millis(10) && Instant::now() < deadline {
                    waited += queueing.since_last();
                }
                waited
            });
            let waited = waiting.join();
            is_over.store(true, Ordering::Relaxed);
            waited.unwrap()
        });
        assert!(waited >= Duration::from_millis(10), "{waited:?}");
    }

    /// A packet of the region `name`, as a server there would send it.
    fn send_from(name: &str, address: &str) {
        let namespace = File::open(format!("/run/netns/{name}")).unwrap();
        let send = || {
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), network).unwrap();
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.send_to(b"packet", (address, 9)).unwrap();
        };
        std::thread::scope(|scope| scope.spawn(send).join()).unwrap();
    }

    #[test]
    fn what_the_thread_waits_for_a_processor_makes_its_packets_late() {
        let (namespaces, devices) = match Namespaces::make(&["a", "b"], CUBIC) {
            Ok(made) => made,
            Err(error) => {
                assert!(error.is_forbidden(), "{error}");
                eprintln!("not checked here: {error}");
                return;
            }
        };
        let link = greenwich_proto::netem::Link::new(LinkProfile::NONE, 1);
        let shared = Arc::new(Shared {
            regions: 2,
            stop: false.into(),
            links: Mutex::new(Links {
                regions: 2,
                links: vec![link; 4],
            }),
            account: Mutex::new(Account::new(2)),
        });
        let mut carrier = Carrier::new(devices, Arc::clone(&shared)).unwrap();
        let waits = tempfile::NamedTempFile::new().unwrap();
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        send_from(
            &namespaces.sites[0].namespace.clone().unwrap(),
            "10.201.0.2",
        );
        // Each turn has waited for an hour.
        let mut waited = 0;
        let deadline = Instant::now() + Duration::from_secs(60);
        while shared.account.lock().report().total().given == 0 {
            assert!(Instant::now() < deadline, "the packet is not given");
            waited += 3_600_000_000_000_u64;
            fs::write(waits.path(), format!("0 {waited} 1\n")).unwrap();
            let statistics = Some(waits.reopen().unwrap());
            let seen = waited - 3_600_000_000_000;
            carrier
                .turn(&mut Queueing { statistics, seen }, &mut buffer)
                .unwrap();
        }
        let late_us = shared.account.lock().report().error_us_max;
        // The longest time that is kept is ten minutes.
        assert!(late_us > 590e6, "{late_us} us");
    }
}
