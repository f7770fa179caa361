//! The thread that keeps the mark of a life ahead of its stamps. A disk may take its time, so it is nobody else's.

use std::{io, sync::Arc, thread};

use greenwich_proto::log::Log;

use super::Life;

/// The running thread.
#[derive(Debug)]
pub(crate) struct Keeper {
    life: Arc<Life>,
    log: Arc<Log>,
    thread: thread::JoinHandle<()>,
}

impl Keeper {
    /// Starts it for the stamps of `log`. `was_heard` says whether a peer agreed to a link since it was asked last.
    pub(crate) fn start(
        life: Arc<Life>,
        log: Arc<Log>,
        was_heard: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<Self> {
        let (kept, clock) = (Arc::clone(&life), Arc::clone(&log));
        let run = move || {
            let clock = clock.clock();
            while kept.rest() {
                clock.note_reserved(kept.renew(clock.newest(), was_heard()));
            }
        };
        let thread = thread::Builder::new().name("life".to_owned()).spawn(run)?;
        Ok(Self { life, log, thread })
    }

    /// Ends without a last word, as a crash does, some time after a peer was linked.
    #[cfg(test)]
    pub(super) fn crash(self) {
        self.life.stop();
        self.thread.join().expect("it does not panic");
        self.life.renew(self.log.clock().newest(), true);
    }

    /// Ends the life in order; no stamp may be given from here on. `is_heard` is what `was_heard` said last.
    pub(crate) fn end(self, is_heard: bool) {
        self.life.stop();
        if self.thread.join().is_err() {
            tracing::error!("the thread that records stamps panicked");
        }
        self.life.end(self.log.clock().newest(), is_heard);
    }
}
