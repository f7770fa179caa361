//! What other connections see of a client, and what they may do to it: deliver a message, end it.

use std::{
    net::SocketAddr,
    sync::atomic::{
        AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed,
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;
use greenwich_proto::time::Wall;
use parking_lot::Mutex;

use super::Doom;
use crate::resp::Reply;

/// One client, as the registry holds it.
#[derive(Debug)]
pub struct Handle {
    /// Unique in the life of the server, from 1.
    pub id: u64,
    /// Where the client is.
    pub address: SocketAddr,
    /// Where it connected to.
    pub local_address: SocketAddr,
    /// When it connected.
    pub connected: Wall,
    /// When its last requests came, as [`Wall`].
    pub active: AtomicU64,
    /// Which row of the table it ran last.
    pub command: AtomicU16,
    /// Whether it speaks RESP3.
    pub is_resp3: AtomicBool,
    /// Channels that it is subscribed to.
    pub channels: AtomicU32,
    /// Patterns that it is subscribed to.
    pub patterns: AtomicU32,
    /// Commands queued since MULTI; -1 outside a transaction.
    pub queued: AtomicI64,
    /// Whether it waits in WAIT.
    pub is_blocked: AtomicBool,
    /// Whether it asked for CLIENT NO-EVICT, which is remembered and means nothing here.
    pub is_unevictable: AtomicBool,
    /// What it calls itself.
    pub labels: Mutex<Labels>,
    outbox: Mutex<Vec<u8>>,
    outbox_bytes_max: usize,
    /// Whether the outbox holds anything; spares the connection its lock.
    has_mail: AtomicBool,
    doom: AtomicU8,
    waker: AtomicWaker,
}

/// What a client calls itself and its library.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// CLIENT SETNAME.
    pub name: Vec<u8>,
    /// CLIENT SETINFO LIB-NAME.
    pub library: Vec<u8>,
    /// CLIENT SETINFO LIB-VER.
    pub library_version: Vec<u8>,
}

impl Handle {
    /// A client that has just connected. At most `outbox_bytes_max` bytes of messages wait for it.
    #[must_use]
    pub fn new(
        id: u64,
        (address, local_address): (SocketAddr, SocketAddr),
        connected: Wall,
        outbox_bytes_max: usize,
    ) -> Self {
        Self {
            id,
            address,
            local_address,
            connected,
            active: AtomicU64::new(connected.0),
            command: AtomicU16::new(u16::MAX),
            is_resp3: AtomicBool::new(false),
            channels: AtomicU32::new(0),
            patterns: AtomicU32::new(0),
            queued: AtomicI64::new(-1),
            is_blocked: AtomicBool::new(false),
            is_unevictable: AtomicBool::new(false),
            labels: Mutex::default(),
            outbox: Mutex::default(),
            outbox_bytes_max,
            has_mail: AtomicBool::new(false),
            doom: AtomicU8::new(0),
            waker: AtomicWaker::new(),
        }
    }

    /// Whether it is subscribed to anything.
    #[must_use]
    pub fn is_subscriber(&self) -> bool {
        self.channels.load(Relaxed) + self.patterns.load(Relaxed) > 0
    }

    /// Adds a message, encoded in the client's protocol version. A client that has too many waiting is doomed.
    pub fn deliver(&self, message: &[u8]) {
        {
            let mut outbox = self.outbox.lock();
            if self.doom().is_some() {
                return;
            }
            if outbox.len() + message.len() > self.outbox_bytes_max {
                *outbox = Vec::new();
                drop(outbox);
                self.end(Doom::OutputLimit);
                return;
            }
            outbox.extend_from_slice(message);
            self.has_mail.store(true, Relaxed);
        }
        self.waker.wake();
    }

    /// Ends the connection as soon as its task looks. The first reason counts.
    pub fn end(&self, doom: Doom) {
        let _ = self.doom.compare_exchange(0, doom as u8, Relaxed, Relaxed);
        self.waker.wake();
    }

    /// Why the connection must end.
    #[must_use]
    pub fn doom(&self) -> Option<Doom> {
        Doom::from_number(self.doom.load(Relaxed))
    }

    /// Moves the messages that wait behind the replies that wait.
    pub fn collect_mail(&self, reply: &mut Reply) {
        if self.has_mail.load(Relaxed) {
            let mut outbox = self.outbox.lock();
            self.has_mail.store(false, Relaxed);
            reply.raw(&outbox);
            *outbox = Vec::new();
        }
    }

    /// Bytes of the messages that wait.
    #[must_use]
    pub fn mail_bytes(&self) -> usize {
        self.outbox.lock().len()
    }

    /// Whether messages wait.
    #[must_use]
    pub fn has_mail(&self) -> bool {
        self.has_mail.load(Relaxed)
    }

    /// Has the connection's task woken by messages and by its end. Look at both after this.
    pub fn wake_by_mail(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}
