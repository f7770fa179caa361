//! A thread that asks: takes slots from its schedule, spreads them over its connections, and records what comes back.
//!
//! In an open loop the latency of a request counts from the start that the schedule intended. A server that stalls
//! is charged for all that should have been asked meanwhile; a generator that is late charges itself.

use std::{
    collections::VecDeque,
    mem::MaybeUninit,
    net::SocketAddr,
    num::NonZeroU64,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rustix::{
    event::{
        Timespec,
        epoll::{self, CreateFlags, Event, EventData, EventFlags},
    },
    fd::OwnedFd,
    thread::set_current_timer_slack,
};

use super::{
    connection::{Connection, ConnectionError},
    mix::Requests,
    record::Record,
    schedule::Schedule,
};

/// The longest wait, so that a stop is noticed.
const WAIT_MAX: Duration = Duration::from_millis(20);
/// From one attempt to open a lost connection again to the next.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(50);
/// How long replies are awaited after the last slot.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// The kernel may wake a waiting thread this much late; it does by 50 µs if nobody asks.
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::MIN;

/// How requests follow each other.
#[derive(Clone, Debug)]
pub enum Pace {
    /// At their intended times, whatever the server does. A slot holds `pipeline` requests.
    Open(Schedule),
    /// As soon as the replies before them are there, until so long after the start. The latency that such a loop shows
    /// leaves out what waits while the server stalls.
    Closed(Duration),
}

/// One thread's share of a load.
#[derive(Clone, Debug)]
pub struct Share {
    /// Where the server listens.
    pub address: SocketAddr,
    /// Whether to speak RESP3.
    pub resp3: bool,
    /// Connections of this thread, at least one.
    pub connections: usize,
    /// Requests that are sent together on a connection.
    pub pipeline: usize,
    /// Requests that may wait for their replies on a connection; more wait in the schedule.
    pub in_flight_max: usize,
    /// How requests follow each other.
    pub pace: Pace,
    /// Requests intended before this are not recorded.
    pub warm_up: Duration,
    /// Whether connections that are lost are opened again; the load ends with an error otherwise.
    pub reconnects: bool,
}

/// What threads of a load share while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Requests answered so far, warm-up included.
    pub answered: AtomicU64,
    /// Set to end the load early.
    pub stop: AtomicBool,
}

/// Why a share had to give up, and what it recorded until then.
#[derive(Debug)]
pub struct GivenUp {
    /// What happened.
    pub error: ConnectionError,
    /// Its requests without a reply are counted as unanswered.
    pub record: Box<Record>,
}

/// Runs a share, and returns what it recorded. `start` says from when on, and is asked once the connections are open, or
/// cannot be opened.
///
/// # Errors
/// [`GivenUp`] when a connection cannot be opened or is lost.
pub fn run(
    share: Share,
    requests: Requests,
    start: impl FnOnce() -> Instant,
    progress: &Progress,
) -> Result<Record, GivenUp> {
    // It fails only where the kernel has no such setting: then wake-ups are late by its default, and that is recorded.
    let _default = set_current_timer_slack(Some(TIMER_SLACK_NS));
    let opened = open(&share);
    let start = start();
    let (epoll, connections) = opened.map_err(|error| GivenUp {
        error,
        record: Box::default(),
    })?;
    let mut generator = Generator {
        share,
        requests,
        start,
        epoll,
        connections,
        lost: VecDeque::new(),
        next: 0,
        is_full: false,
        room_at: Duration::ZERO,
        answers: 0,
        record: Record::default(),
    };
    let ended = generator.go_on(progress);
    let record = generator.finish();
    match ended {
        Ok(()) => Ok(record),
        Err(error) => Err(GivenUp {
            error,
            record: Box::new(record),
        }),
    }
}

struct Generator {
    share: Share,
    requests: Requests,
    start: Instant,
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Lost connections, and when to try again.
    lost: VecDeque<(usize, Duration)>,
    next: usize,
    /// No connection had room at the last look.
    is_full: bool,
    /// When there may have been room again, after none was.
    room_at: Duration,
    answers: u64,
    record: Record,
}

impl Generator {
    fn go_on(&mut self, progress: &Progress) -> Result<(), ConnectionError> {
        while !self.is_finished() && !progress.stop.load(Ordering::Relaxed) {
            self.reconnect();
            self.ask()?;
            let before = self.answers;
            let heard = self.wait_and_hear();
            let answers = self.answers - before;
            progress.answered.fetch_add(answers, Ordering::Relaxed);
            heard?;
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Gives up a connection, or the load with it. Its requests stay unanswered.
    fn lose(&mut self, index: usize, error: ConnectionError) -> Result<(), ConnectionError> {
        if !self.share.reconnects {
            return Err(error);
        }
        self.keep_error(index);
        self.record.unanswered += self.connections[index].give_up() as u64;
        let retry_at = self.now() + RECONNECT_INTERVAL;
        self.lost.push_back((index, retry_at));
        Ok(())
    }

    fn keep_error(&mut self, index: usize) {
        let error = self.connections[index].first_error();
        let kept = self.record.an_error.take();
        self.record.an_error = kept.or_else(|| error.map(str::to_owned));
    }

    /// Opens lost connections again whose time has come.
    fn reconnect(&mut self) {
        let now = self.now();
        while let Some((index, _)) = self.lost.pop_front_if(|(_, at)| *at <= now) {
            match connect(&self.share, &self.epoll, index) {
                Ok(connection) => {
                    self.connections[index] = connection;
                    self.see_room();
                }
                Err(_) => self.lost.push_back((index, now + RECONNECT_INTERVAL)),
            }
        }
    }

    /// What waited for room counts as late from here on: it has been made, or is about to be by replies.
    fn see_room(&mut self) {
        if self.is_full {
            self.room_at = self.now();
        }
    }

    /// Whether nothing is to be asked and nothing awaited any more.
    fn is_finished(&self) -> bool {
        let now = self.now();
        let (is_over, end) = match &self.share.pace {
            Pace::Open(schedule) => (schedule.next_at().is_none(), schedule.end()),
            Pace::Closed(end) => (now >= *end, *end),
        };
        let is_idle = self
            .connections
            .iter()
            .all(|connection| connection.in_flight() == 0);
        (is_over && is_idle) || now >= end + DRAIN_LIMIT
    }

    /// Sends what is due and has room.
    fn ask(&mut self) -> Result<(), ConnectionError> {
        if self.start > Instant::now() {
            return Ok(());
        }
        loop {
            let free = self.free_connection();
            self.is_full = free.is_none();
            let Some(index) = free else {
                return Ok(());
            };
            let now = self.now();
            let intended = match &mut self.share.pace {
                Pace::Open(schedule) => schedule.take(now),
                Pace::Closed(end) => (now < *end).then_some(now),
            };
            let Some(intended) = intended else {
                return Ok(());
            };
            let connection = &mut self.connections[index];
            for _ in 0..self.share.pipeline {
                connection.queue(intended, |out| self.requests.put_next(out));
            }
            if let Err(error) = connection.send() {
                self.lose(index, error)?;
            }
            if intended >= self.share.warm_up {
                let due = intended.max(self.room_at);
                self.record.send(self.start.elapsed().saturating_sub(due));
            }
            self.next = index + 1;
        }
    }

    /// The next connection, in turn, that has room for a slot.
    fn free_connection(&self) -> Option<usize> {
        let limit = match self.share.pace {
            Pace::Open(_) => self.share.in_flight_max.max(self.share.pipeline),
            Pace::Closed(_) => self.share.pipeline,
        };
        let count = self.connections.len();
        (0..count)
            .map(|offset| (self.next + offset) % count)
            .find(|&index| {
                let connection = &self.connections[index];
                !connection.is_given_up() && connection.in_flight() + self.share.pipeline <= limit
            })
    }

    /// Waits until the next slot or the next reply, and takes in what has arrived.
    fn wait_and_hear(&mut self) -> Result<(), ConnectionError> {
        let timeout = Timespec::try_from(self.wait_time()).expect("it is at most WAIT_MAX");
        let mut events = [MaybeUninit::<Event>::uninit(); 256];
        let ready = match epoll::wait(&self.epoll, &mut events, Some(&timeout)) {
            Ok((ready, _)) => &*ready,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(std::io::Error::from(error).into()),
        };
        self.see_room();
        for event in ready {
            let index = usize::try_from(event.data.u64()).expect("it is an index of ours");
            let flags = event.flags;
            if self.connections[index].is_given_up() {
                continue;
            }
            let is_readable = flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR);
            if let Err(error) = self.hear(index, flags.contains(EventFlags::OUT), is_readable) {
                self.lose(index, error)?;
            }
        }
        Ok(())
    }

    fn hear(
        &mut self,
        index: usize,
        is_writable: bool,
        is_readable: bool,
    ) -> Result<(), ConnectionError> {
        let connection = &mut self.connections[index];
        if is_writable {
            connection.send()?;
        }
        if !is_readable {
            return Ok(());
        }
        let (record, start, warm_up) = (&mut self.record, self.start, self.share.warm_up);
        let answers = &mut self.answers;
        connection.receive(|answer| {
            *answers += 1;
            if answer.intended >= warm_up {
                let latency = start.elapsed().saturating_sub(answer.intended);
                record.answer(answer, latency);
            }
        })
    }

    fn wait_time(&self) -> Duration {
        let next_at = match &self.share.pace {
            Pace::Open(schedule) if self.free_connection().is_some() => schedule.next_at(),
            Pace::Open(_) | Pace::Closed(_) => None,
        };
        let next_at = next_at.map(|at| self.start + at);
        next_at.map_or(WAIT_MAX, |at| {
            at.saturating_duration_since(Instant::now()).min(WAIT_MAX)
        })
    }

    fn finish(mut self) -> Record {
        if let Pace::Open(schedule) = &self.share.pace {
            self.record.missed = schedule.overdue(self.now()) * self.share.pipeline as u64;
        }
        self.record.unanswered += self
            .connections
            .iter()
            .map(|connection| connection.in_flight() as u64)
            .sum::<u64>();
        (0..self.connections.len()).for_each(|index| self.keep_error(index));
        self.record
    }
}

/// All connections of a share, and what waits for them.
fn open(share: &Share) -> Result<(OwnedFd, Vec<Connection>), ConnectionError> {
    let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
    let count = share.connections.max(1);
    let connections = (0..count).map(|index| connect(share, &epoll, index));
    let connections = connections.collect::<Result<_, _>>()?;
    Ok((epoll, connections))
}

fn connect(share: &Share, epoll: &OwnedFd, index: usize) -> Result<Connection, ConnectionError> {
    let connection = Connection::open(share.address, share.resp3)?;
    let data = EventData::new_u64(index as u64);
    let interest = EventFlags::IN | EventFlags::OUT | EventFlags::ET;
    epoll::add(epoll, connection.stream(), data, interest).map_err(std::io::Error::from)?;
    Ok(connection)
}
