//! Connections that a peer dials: each is heard first. One that comes while there is a link is its rival, and takes its
//! place only once the session says so; which of them stays is a rule of `greenwich_proto::peer::handshake`.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use greenwich_proto::peer::handshake::Sign;
use tokio::time::timeout;

use crate::{
    endpoint::Connection,
    error::LinkError,
    link::{Event, LinkReceiver, LinkSender, LinkStats},
};

/// The dialling side says its hello as soon as it has opened the link.
const GREETING_LIMIT: Duration = Duration::from_secs(5);

/// Something is said on the present link when its rival has said hello. With a process behind it, that is acknowledged
/// after a round trip; one that was not heard of for so many, and a pause in which a busy process is slow, has none.
const SILENCE_ROUND_TRIPS: u32 = 4;
const SILENCE_PAUSE: Duration = Duration::from_millis(500);

/// A link that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) sender: LinkSender,
    pub(crate) receiver: LinkReceiver,
    pub(crate) remote: SocketAddr,
    /// What the peer said first, where that was waited for.
    pub(crate) first: Option<Event>,
}

impl Opened {
    /// Opens the link of a connection that this side dialled: it speaks at once.
    pub(crate) async fn dialled(connection: Connection) -> Result<Self, LinkError> {
        let remote = connection.remote_addr();
        let (sender, receiver) = connection.open_link().await?;
        Ok(Self {
            sender,
            receiver,
            remote,
            first: None,
        })
    }

    /// Opens the link of a connection that the peer dialled, and hears what it says first.
    async fn greeted(connection: Connection) -> Result<Self, LinkError> {
        let remote = connection.remote_addr();
        let (sender, mut receiver) = connection.open_link().await?;
        let first = timeout(GREETING_LIMIT, receiver.next()).await;
        let first = first.map_err(|_| LinkError::OpenTimedOut {
            step: "waiting for the peer's hello",
            limit: GREETING_LIMIT,
        })?;
        match first {
            Event::Closed(error) => Err(error),
            first @ (Event::Control(_) | Event::Batch(_) | Event::Notice(_)) => Ok(Self {
                sender,
                receiver,
                remote,
                first: Some(first),
            }),
        }
    }
}

/// The place of at most one connection that the peer dialled.
#[derive(Default)]
pub(crate) struct Seat {
    taken: Option<Rival>,
}

enum Rival {
    /// It is being opened, and has said nothing.
    Silent(BoxFuture<'static, Result<Opened, LinkError>>),
    /// It has said its hello.
    Heard {
        link: Box<Opened>,
        /// What had been heard on the present link at the first look since, and when it said it.
        heard: Option<u64>,
        since: Instant,
    },
}

impl Seat {
    pub(crate) fn is_free(&self) -> bool {
        self.taken.is_none()
    }

    pub(crate) fn take_in(&mut self, connection: Connection) {
        self.taken = Some(Rival::Silent(Opened::greeted(connection).boxed()));
    }

    /// Waits until the rival has said its hello; for ever when there is no rival, or it has said it. An error empties the
    /// seat. Safe to cancel.
    pub(crate) async fn hear(&mut self) -> Result<(), LinkError> {
        let Some(Rival::Silent(opening)) = &mut self.taken else {
            return std::future::pending().await;
        };
        let opened = opening.await;
        self.taken = None;
        self.taken = Some(Rival::Heard {
            link: Box::new(opened?),
            heard: None,
            since: Instant::now(),
        });
        Ok(())
    }

    /// What the rival said first, and what the present link, which fares like this, gave to hear since then. `None` when it
    /// has said nothing.
    pub(crate) fn claim(&mut self, present: &LinkStats) -> Option<(&Event, Sign)> {
        let Some(Rival::Heard { link, heard, since }) = &mut self.taken else {
            return None;
        };
        let heard_before = *heard.get_or_insert(present.received_frames);
        let is_heard = present.received_frames > heard_before;
        let silence = SILENCE_PAUSE + SILENCE_ROUND_TRIPS * present.rtt;
        let sign = match (is_heard, since.elapsed() >= silence) {
            (true, _) => Sign::Life,
            (false, true) => Sign::Silence,
            (false, false) => Sign::None,
        };
        Some((link.first.as_ref()?, sign))
    }

    /// Takes the rival out.
    pub(crate) fn leave(&mut self) -> Option<Opened> {
        match self.taken.take() {
            Some(Rival::Heard { link, .. }) => Some(*link),
            Some(Rival::Silent(_)) | None => None,
        }
    }

    /// Takes the rival out once it has said its hello: there is no link beside it any more.
    pub(crate) async fn inherit(&mut self) -> Result<Opened, LinkError> {
        match self.taken.take() {
            Some(Rival::Heard { link, .. }) => Ok(*link),
            Some(Rival::Silent(opening)) => opening.await,
            None => std::future::pending().await,
        }
    }
}
