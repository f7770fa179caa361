//! A UDP socket that treats outgoing datagrams as a wide-area link would: for rehearsals on one machine, without
//! privileges. Both ends emulate their own outgoing direction. It knows names of links, the addresses at their other ends
//! and proto's link model; it does not know QUIC packets, nor whose names they are.
//!
//! A datagram that is to be delayed is copied into a queue ordered by due time, from which a thread of its own sends
//! it: the runtime's timers have a precision of a millisecond, and a busy runtime would add its own delays.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    fmt, io,
    net::{IpAddr, SocketAddr, UdpSocket},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use greenwich_proto::{
    netem::{DropReason, Link, LinkProfile, Verdict},
    rng::Rng,
    time::Time,
};
use parking_lot::{Condvar, Mutex};
use quinn::{
    AsyncUdpSocket, UdpPoller,
    udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState},
};

/// What to emulate towards whom, from the start. Later changes go through [`Emulation`].
#[derive(Clone, Debug, Default)]
pub struct EmulationConfig {
    /// Links by name; others are not emulated until they are set.
    pub links: Vec<(String, LinkProfile)>,
    /// Decides every loss and every jitter.
    pub seed: u64,
}

/// What happened to outgoing datagrams of one emulated link, or of all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmulationCounters {
    /// Handed in by QUIC.
    pub offered: u64,
    /// Handed to the network; duplicates count.
    pub sent: u64,
    /// Lost at random.
    pub dropped_by_loss: u64,
    /// No room in the emulated router's queue, or in this socket's.
    pub dropped_by_queue: u64,
    /// Sent while the link was cut.
    pub dropped_by_cut: u64,
    /// The operating system did not take it.
    pub dropped_by_socket: u64,
    /// Under way at present.
    pub delayed_bytes: u64,
}

impl EmulationCounters {
    const fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.sent += other.sent;
        self.dropped_by_loss += other.dropped_by_loss;
        self.dropped_by_queue += other.dropped_by_queue;
        self.dropped_by_cut += other.dropped_by_cut;
        self.dropped_by_socket += other.dropped_by_socket;
        self.delayed_bytes += other.delayed_bytes;
    }
}

/// Datagrams under way, in all directions together. At the limit datagrams are dropped as by a full router.
const DELAYED_BYTES_MAX: usize = 256 * 1024 * 1024;
const DELAYED_DATAGRAMS_MAX: usize = 512 * 1024;

/// Datagrams that the thread sends between two looks at the queue.
const SEND_BURST: usize = 64;

/// Changes an emulated socket's links while it runs. Cheap to clone; outlives the socket harmlessly.
#[derive(Clone)]
pub struct Emulation {
    shared: Arc<Shared>,
}

struct Shared {
    started: Instant,
    state: Mutex<State>,
    /// Wakes the thread: the earliest due time changed, or the socket is gone.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seed: u64,
    /// Few: found by a walk.
    links: Vec<Lane>,
    /// The link that leads to an address, by its place among them.
    places: HashMap<SocketAddr, usize>,
    delayed: BinaryHeap<Reverse<Delayed>>,
    delayed_bytes: usize,
    next_order: u64,
    closed: bool,
}

struct Lane {
    name: String,
    link: Link,
    counters: EmulationCounters,
}

/// One datagram under way; ordered by due time, then by the order in which it was sent.
struct Delayed {
    due: Time,
    order: u64,
    /// Its link's place among the links.
    link: usize,
    destination: SocketAddr,
    src_ip: Option<IpAddr>,
    ecn: Option<EcnCodepoint>,
    contents: Box<[u8]>,
}

impl PartialEq for Delayed {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Delayed {}

impl PartialOrd for Delayed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delayed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.due, self.order).cmp(&(other.due, other.order))
    }
}

/// The form in which addresses are compared: a dual-stack socket sees IPv4 peers as mapped IPv6 ones.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

impl Emulation {
    /// Sets what the link called `name` does to datagrams sent from here on. [`LinkProfile::NONE`] ends the emulation
    /// of that link; a cut stays a cut.
    pub fn set_profile(&self, name: &str, profile: LinkProfile) {
        self.with(name, |lane| lane.link.set_profile(profile));
        tracing::warn!(link = name, %profile, "emulating a network: this is a rehearsal");
    }

    /// Has datagrams to these addresses pass the link called `name`, and those to others no longer. What is under way
    /// arrives.
    pub fn place(&self, name: &str, addresses: &[SocketAddr]) {
        let mut state = self.shared.state.lock();
        let place = state.place_of(name);
        state.places.retain(|_, other| *other != place);
        let placed = addresses.iter().map(|address| (canonical(*address), place));
        state.places.extend(placed);
    }

    /// Drops everything sent over the link called `name` from here on.
    pub fn cut(&self, name: &str) {
        self.with(name, |lane| lane.link.set_cut(true));
        tracing::warn!(
            link = name,
            "emulating a cut: nothing sent to this peer arrives"
        );
    }

    /// Ends a cut; the link's profile is as before.
    pub fn heal(&self, name: &str) {
        self.with(name, |lane| lane.link.set_cut(false));
        tracing::warn!(link = name, "the emulated cut is healed");
    }

    /// What the link called `name` does at present, and whether it is cut.
    #[must_use]
    pub fn link(&self, name: &str) -> (LinkProfile, bool) {
        self.with(name, |lane| (lane.link.profile(), lane.link.is_cut()))
    }

    /// What happened to datagrams sent over the link called `name`.
    #[must_use]
    pub fn counters(&self, name: &str) -> EmulationCounters {
        self.with(name, |lane| lane.counters)
    }

    fn with<T>(&self, name: &str, then: impl FnOnce(&mut Lane) -> T) -> T {
        then(self.shared.state.lock().lane(name))
    }

    /// What happened to datagrams on all emulated links together.
    #[must_use]
    pub fn total(&self) -> EmulationCounters {
        let mut total = EmulationCounters::default();
        for lane in &self.shared.state.lock().links {
            total.add(&lane.counters);
        }
        total
    }
}

impl fmt::Debug for Emulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulation")
            .field("total", &self.total())
            .finish_non_exhaustive()
    }
}

impl State {
    fn lane(&mut self, name: &str) -> &mut Lane {
        let place = self.place_of(name);
        &mut self.links[place]
    }

    /// The place of the link of this name, which from now on there is.
    fn place_of(&mut self, name: &str) -> usize {
        let found = self.links.iter().position(|lane| lane.name == name);
        found.unwrap_or_else(|| {
            let seed = self.seed ^ Rng::new(self.links.len() as u64).next_u64();
            self.links.push(Lane {
                name: name.to_owned(),
                link: Link::new(LinkProfile::NONE, seed),
                counters: EmulationCounters::default(),
            });
            self.links.len() - 1
        })
    }

    /// The place of the link that impairs datagrams to this address, if there is one.
    fn impairing(&self, destination: SocketAddr) -> Option<usize> {
        let place = *self.places.get(&canonical(destination))?;
        let link = &self.links[place].link;
        (link.is_cut() || !link.profile().is_none()).then_some(place)
    }

    /// True when the earliest due time became earlier.
    fn push(&mut self, place: usize, now: Time, transmit: &Transmit<'_>, datagram: &[u8]) -> bool {
        let full = self.delayed_bytes + datagram.len() > DELAYED_BYTES_MAX
            || self.delayed.len() >= DELAYED_DATAGRAMS_MAX;
        let lane = &mut self.links[place];
        lane.counters.offered += 1;
        let (at, duplicate_at) = match lane.link.send(now, datagram.len()) {
            Verdict::Deliver { .. } | Verdict::Drop(DropReason::Queue) if full => {
                lane.counters.dropped_by_queue += 1;
                return false;
            }
            Verdict::Deliver { at, duplicate_at } => (at, duplicate_at),
            Verdict::Drop(reason) => {
                match reason {
                    DropReason::Loss => lane.counters.dropped_by_loss += 1,
                    DropReason::Queue => lane.counters.dropped_by_queue += 1,
                    DropReason::Cut => lane.counters.dropped_by_cut += 1,
                }
                return false;
            }
        };
        let earliest = self.delayed.peek().map(|Reverse(first)| first.due);
        for due in std::iter::once(at).chain(duplicate_at) {
            self.delay(place, due, transmit, datagram);
        }
        earliest.is_none_or(|earliest| at < earliest)
    }

    fn delay(&mut self, place: usize, due: Time, transmit: &Transmit<'_>, datagram: &[u8]) {
        self.links[place].counters.delayed_bytes += datagram.len() as u64;
        self.delayed_bytes += datagram.len();
        self.next_order += 1;
        self.delayed.push(Reverse(Delayed {
            due,
            order: self.next_order,
            link: place,
            destination: transmit.destination,
            src_ip: transmit.src_ip,
            ecn: transmit.ecn,
            contents: datagram.into(),
        }));
    }

    /// Takes up to `burst` datagrams that are due.
    fn take_due(&mut self, now: Time, burst: usize, due: &mut Vec<Delayed>) {
        while due.len() < burst {
            match self.delayed.peek() {
                Some(Reverse(first)) if first.due <= now => {}
                Some(_) | None => return,
            }
            let Some(Reverse(datagram)) = self.delayed.pop() else {
                return;
            };
            self.delayed_bytes -= datagram.contents.len();
            due.push(datagram);
        }
    }

    fn record_sent(&mut self, datagram: &Delayed, taken: bool) {
        let counters = &mut self.links[datagram.link].counters;
        counters.delayed_bytes -= datagram.contents.len() as u64;
        match taken {
            true => counters.sent += 1,
            false => counters.dropped_by_socket += 1,
        }
    }
}

impl Shared {
    fn now(&self) -> Time {
        Time(0) + self.started.elapsed()
    }

    /// Sends what is due until the socket is gone and nothing is under way: what has left arrives.
    fn run(&self, socket: &UdpSocket, sender: &UdpSocketState) {
        let mut due = Vec::with_capacity(SEND_BURST);
        let mut taken = Vec::with_capacity(SEND_BURST);
        loop {
            let mut state = self.state.lock();
            for (datagram, taken) in due.drain(..).zip(taken.drain(..)) {
                state.record_sent(&datagram, taken);
            }
            let now = self.now();
            state.take_due(now, SEND_BURST, &mut due);
            if due.is_empty() {
                match state.delayed.peek() {
                    Some(Reverse(first)) => {
                        let wait: Duration = first.due.since(now);
                        self.changed.wait_for(&mut state, wait);
                    }
                    None if state.closed => return,
                    None => self.changed.wait(&mut state),
                }
                continue;
            }
            drop(state);
            taken.extend(
                due.iter()
                    .map(|datagram| send(socket, sender, datagram).is_ok()),
            );
        }
    }
}

fn send(socket: &UdpSocket, sender: &UdpSocketState, datagram: &Delayed) -> io::Result<()> {
    let transmit = Transmit {
        destination: datagram.destination,
        ecn: datagram.ecn,
        contents: &datagram.contents,
        segment_size: None,
        src_ip: datagram.src_ip,
    };
    sender.try_send(socket.into(), &transmit)
}

/// A socket for quinn whose outgoing datagrams pass through emulated links.
pub struct EmulatedSocket {
    inner: Arc<dyn AsyncUdpSocket>,
    shared: Arc<Shared>,
}

impl EmulatedSocket {
    /// Wraps `inner`, which must be a clone of `socket` in quinn's form, and starts the thread that sends.
    ///
    /// # Errors
    /// When the socket cannot be cloned or the thread not started.
    pub fn new(
        socket: UdpSocket,
        inner: Arc<dyn AsyncUdpSocket>,
        config: &EmulationConfig,
    ) -> io::Result<(Self, Emulation)> {
        let mut state = State {
            seed: config.seed,
            ..State::default()
        };
        for (name, profile) in &config.links {
            state.lane(name).link.set_profile(*profile);
            tracing::warn!(link = name, %profile, "emulating a network: this is a rehearsal");
        }
        let shared = Arc::new(Shared {
            started: Instant::now(),
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let sender = UdpSocketState::new((&socket).into())?;
        let runner = Arc::clone(&shared);
        thread::Builder::new()
            .name("emulation".to_owned())
            .spawn(move || runner.run(&socket, &sender))?;
        let emulation = Emulation {
            shared: Arc::clone(&shared),
        };
        Ok((Self { inner, shared }, emulation))
    }
}

impl AsyncUdpSocket for EmulatedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Arc::clone(&self.inner).create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let Some(place) = state.impairing(transmit.destination) else {
            drop(state);
            return self.inner.try_send(transmit);
        };
        let now = self.shared.now();
        let segment = transmit
            .segment_size
            .unwrap_or(transmit.contents.len())
            .max(1);
        let mut earlier = false;
        for datagram in transmit.contents.chunks(segment) {
            earlier |= state.push(place, now, transmit, datagram);
        }
        drop(state);
        if earlier {
            self.shared.changed.notify_one();
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [io::IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        self.inner.poll_recv(cx, bufs, meta)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// One, so that every datagram is decided on its own; a link without emulation pays for that too.
    fn max_transmit_segments(&self) -> usize {
        1
    }

    fn max_receive_segments(&self) -> usize {
        self.inner.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.inner.may_fragment()
    }
}

impl Drop for EmulatedSocket {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.changed.notify_one();
    }
}

impl fmt::Debug for EmulatedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatedSocket")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
